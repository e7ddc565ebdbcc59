package redshift

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/redshift/internal/fakeredshift"
	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

func wantLoaded(t *testing.T, result copyResult, f *failure, already string) {
	t.Helper()
	if f != nil {
		t.Fatalf("not loaded: %s: %v", f.code, f.err)
	}
	for id := range strings.FieldsSeq(already) {
		if !result.already[batch.ID(id)] {
			t.Errorf("%s is not found in the ledger", id)
		}
	}
	wantEqual(t, "the number of objects found in the ledger", len(result.already), len(strings.Fields(already)))
}

func TestACopyAndItsNoteAreOne(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	l, stream := wh.loader(), wh.stream()
	result, f := l.load(t.Context(), stream, wh.objects("a b"), always)
	wantLoaded(t, result, f, "")
	wantEqual(t, "the table", wh.rows(), "a b")
	wantEqual(t, "the ledger", wh.noted(), "a b")

	result, f = l.load(t.Context(), stream, wh.objects("b c"), always)
	wantLoaded(t, result, f, "b")
	wantEqual(t, "the table after a COPY of what is there", wh.rows(), "a b")
	wantEqual(t, "the COPYs", len(wh.front.Copies()), 2)

	_, f = l.load(t.Context(), stream, wh.objects("c bad"), always)
	wantFailure(t, f, codeDataLoad, ofSome)
	wantEqual(t, "the table after a COPY that failed", wh.rows(), "a b")
	wantEqual(t, "the ledger after a COPY that failed", wh.noted(), "a b")
	result, f = l.load(t.Context(), stream, wh.objects("c"), always)
	wantLoaded(t, result, f, "")
	wantEqual(t, "the table", wh.rows(), "a b c")
	wantEqual(t, "the connections", wh.front.Connections(), 1)
}

func wantFailure(t *testing.T, f *failure, code string, of scope) {
	t.Helper()
	if f == nil {
		t.Fatalf("it was loaded, want %s", code)
	}
	if f.code != code || f.scope != of || f.stopping {
		t.Errorf("it failed with %s of scope %d (stopping %v): %v; want %s", f.code, f.scope, f.stopping, f.err, code)
	}
	for _, secret := range []string{fakeredshift.Password, s3test.SecretKey, "aws_secret_access_key=l"} {
		if strings.Contains(f.err.Error(), secret) {
			t.Errorf("a secret is in %q", f.err)
		}
	}
}

// TestAnAnswerIsLost has the transaction carried out and nobody told.
func TestAnAnswerIsLost(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	l, stream := wh.loader(), wh.stream()
	wh.front.Next(fakeredshift.Lose)
	_, f := l.load(t.Context(), stream, wh.objects("a b"), always)
	wantFailure(t, f, codeConnection, ofAll)
	wantEqual(t, "the table", wh.rows(), "a b")
	result, f := l.load(t.Context(), stream, wh.objects("a b"), always)
	wantLoaded(t, result, f, "a b")
	wantEqual(t, "the table after another try", wh.rows(), "a b")

	wh.front.Next(fakeredshift.Break)
	_, f = l.load(t.Context(), stream, wh.objects("c"), always)
	wantFailure(t, f, codeConnection, ofAll)
	wantEqual(t, "the table after a query that was lost", wh.rows(), "a b")
	result, f = l.load(t.Context(), stream, wh.objects("c"), always)
	wantLoaded(t, result, f, "")
	wantEqual(t, "the table", wh.rows(), "a b c")
}

// TestTwoLoadTheSame has several processes load the same objects, and others, at once: none ends before each has begun.
func TestTwoLoadTheSame(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	stream := wh.stream()
	l, f := wh.loader().load(t.Context(), stream, wh.objects("before"), always)
	wantLoaded(t, l, f, "")
	var racing sync.WaitGroup
	defer racing.Wait()
	wh.front.Do(func(copy string) string { return "SELECT pg_advisory_xact_lock_shared(1); " + wh.inserts(copy) })
	letGo := wh.hold("SELECT pg_advisory_lock(1)")
	defer letGo()
	for _, text := range []string{"a b c", "b c d", "c d a", "d", "a b c d"} {
		l, objects := wh.loader(), wh.objects(text)
		racing.Go(func() {
			r := &round{now: time.Now, retry: time.Hour, told: func(*failure) {}, load: func(ctx context.Context, objects []*object) (copyResult, *failure) {
				return l.load(ctx, stream, objects, always)
			}}
			r.run(t.Context(), objects)
			for _, o := range objects {
				if !o.loaded {
					t.Errorf("%s of %s is not loaded: %v", o.Batch, text, o.failed.err)
				}
			}
		})
	}
	await(t, "five wait, for the ledger or in their COPYs", func() bool {
		return len(wh.column("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")) == 5
	})
	letGo()
	racing.Wait()
	wantEqual(t, "the table", wh.rows(), "a b before c d")
	wantEqual(t, "the ledger", wh.noted(), "a b before c d")
}

// TestAProcessWakesLate stops one that has sent its COPY and does not hear the answer, and one that has not sent it yet.
func TestAProcessWakesLate(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	stream := wh.stream()
	l, other := wh.loader(), wh.loader()
	sent := wh.front.Next(fakeredshift.Stall)
	ended := make(chan *failure)
	go func() {
		_, f := l.load(t.Context(), stream, wh.objects("a"), always)
		ended <- f
	}()
	<-sent
	await(t, "the first has loaded", func() bool { return wh.noted() == "a" })
	// Nobody holds the lock while the first does not read its answer.
	result, f := other.load(t.Context(), stream, wh.objects("a b"), always)
	wantLoaded(t, result, f, "a")
	result, f = other.load(t.Context(), stream, wh.objects("b"), always)
	wantLoaded(t, result, f, "")
	wh.front.LetGo()
	if f := <-ended; f != nil {
		t.Errorf("what it loaded is told as %v", f.err)
	}
	// One that was stopped before it sent its COPY, and did not notice, finds that its objects are loaded.
	result, f = l.load(t.Context(), stream, wh.objects("b"), always)
	wantLoaded(t, result, f, "b")
	wantEqual(t, "the table", wh.rows(), "a b")
}

func TestWhatIsNotHeldIsNotLoaded(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	calls := 0
	_, f := wh.loader().load(t.Context(), wh.stream(), wh.objects("a"), func() error {
		if calls++; calls < 2 {
			return nil // the manifest
		}
		return delivery.ErrNotHeld
	})
	if f == nil || !f.stopping || !errors.Is(f.err, delivery.ErrNotHeld) {
		t.Errorf("it ended with %+v", f)
	}
	wantEqual(t, "the table", wh.rows(), "")
}

// TestTheServiceStops has the context end while a COPY runs: the server is asked to give it up, and does.
func TestTheServiceStops(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	l, stream := wh.loader(), wh.stream()
	ctx, cancel := context.WithCancel(t.Context())
	wh.front.Do(func(string) string { cancel(); return "SELECT pg_sleep(600)" })
	_, f := l.load(ctx, stream, wh.objects("a"), always)
	if f == nil || !f.stopping {
		t.Fatalf("it ended with %+v", f)
	}
	wh.front.Do(wh.inserts)
	result, f := wh.loader().load(t.Context(), stream, wh.objects("a"), always)
	wantLoaded(t, result, f, "")
	await(t, "the connection that was given up is closed", func() bool { return wh.front.Connections() == 1 })
}

// TestAStatementTakesTooLong has the server end it by itself.
func TestAStatementTakesTooLong(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	wh.cfg.CopyTimeout = time.Second
	wh.front.Do(func(string) string { return "SELECT pg_sleep(600)" })
	_, f := wh.loader().load(t.Context(), wh.stream(), wh.objects("a"), always)
	wantFailure(t, f, codeInternal, ofAll)
	if !strings.Contains(f.err.Error(), "statement timeout") {
		t.Errorf("the reason is %v", f.err)
	}
}

// TestIdleConnectionsAreClosed waits for the database's side of it.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	wh.cfg.IdleTime = time.Millisecond
	result, f := wh.loader().load(t.Context(), wh.stream(), wh.objects("a"), always)
	wantLoaded(t, result, f, "")
	await(t, "the connection is closed", func() bool { return wh.front.Connections() == 0 })
}

// TestFailuresOfTheGuide has PostgreSQL itself fail in each way of the guide's list that it knows.
func TestFailuresOfTheGuide(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	wh.exec("CREATE TABLE strict (n INT NOT NULL); CREATE TABLE short (s VARCHAR(3))")
	table := func(name string) func(*types.RedshiftDestinationDescription) {
		return func(d *types.RedshiftDestinationDescription) { d.CopyCommand.DataTableName = &name }
	}
	url := func(change func(string) string) func(*types.RedshiftDestinationDescription) {
		return func(d *types.RedshiftDestinationDescription) {
			d.ClusterJDBCURL = aws.String(change(*d.ClusterJDBCURL))
		}
	}
	for _, c := range []struct {
		name   string
		change func(*types.RedshiftDestinationDescription)
		do     string
		code   string
		of     scope
	}{
		{name: "no such table", change: table("absent"), code: codeTableNotFound},
		{name: "no such schema", change: table("absent.events"), code: codeTableNotFound},
		{name: "no such column", do: "INSERT INTO events (absent) VALUES ('x')", code: codeColumnNotFound},
		{name: "syntax", do: "COPY events FORM 'x' CREDENTIALS 'aws_secret_access_key=localsecret'", code: codeSyntaxError},
		{name: "no such user", change: func(d *types.RedshiftDestinationDescription) { d.Username = aws.String("absent") }, code: codeAuthentication},
		{name: "no such database", change: url(func(u string) string { return strings.Replace(u, "/d", "/absent_d", 1) }), code: codeDatabaseNotFound},
		{name: "nobody listens", change: url(func(u string) string { return regexpPort(u, "1") }), code: codeConnection},
		{name: "no encryption", change: url(func(u string) string { return strings.TrimSuffix(u, "?ssl=false") }), code: codeConnection},
		{name: "not an address", change: url(func(string) string { return "jdbc:mysql://x" }), code: codeConnection},
		{name: "no value for a column", do: "INSERT INTO strict VALUES (NULL)", code: codeMissingColumn, of: ofSome},
		{name: "not a number", do: "INSERT INTO strict SELECT 'hidden record'::text::int", code: codeDataLoad, of: ofSome},
		{name: "too long", do: "INSERT INTO short VALUES ('hidden record')", code: codeDataLoad, of: ofSome},
		{name: "a division by zero that is not the guard's", do: "SELECT 1/0", code: codeDataLoad, of: ofSome},
		{name: "read only", do: "SET TRANSACTION READ ONLY; INSERT INTO events VALUES ('x')", code: codeReadOnly},
		{name: "something unknown", do: raise("XX000", "out of luck"), code: codeInternal, of: ofSome},
		{name: "a deadlock", do: raise("40P01", "deadlock detected"), code: codeInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			wh.front.Do(wh.inserts)
			if c.do != "" {
				wh.front.Do(func(string) string { return c.do })
			}
			stream := wh.stream()
			if c.change != nil {
				c.change(&stream.Destination.Redshift.Description)
			}
			l := wh.loader()
			_, f := l.load(t.Context(), stream, wh.objects("a b"), always)
			wantFailure(t, f, c.code, c.of)
			if strings.Contains(f.err.Error(), "hidden") {
				t.Errorf("a record is in %q", f.err)
			}
			if e := f.describe(); e.Message == "" || e.Code != c.code {
				t.Errorf("it is told as %+v", e)
			}
			wantEqual(t, "the table", wh.rows(), "")
		})
	}
}

func regexpPort(url, port string) string {
	return regexp.MustCompile(`:\d+/`).ReplaceAllString(url, ":"+port+"/")
}

// TestPrivileges has a user who may load and not make tables, and one who may do neither.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	wh.exec("CREATE ROLE " + wh.database + "_loader LOGIN PASSWORD 'l0ader-pw'; GRANT SELECT ON events TO " + wh.database + "_loader")
	stream := wh.stream(func(d *types.RedshiftDestinationDescription) { d.Username = aws.String(wh.database + "_loader") })
	stream.Destination.Redshift.Password = catalog.NewPassword("l0ader-pw")
	l := wh.loader()
	_, f := l.load(t.Context(), stream, wh.objects("a"), always)
	wantFailure(t, f, codePrivilege, ofAll)
	wantEqual(t, "that there is no ledger", l.without, true)

	wh.exec("GRANT INSERT ON events TO " + wh.database + "_loader")
	for range 2 {
		result, f := l.load(t.Context(), stream, wh.objects("a"), always)
		wantLoaded(t, result, f, "")
	}
	wantEqual(t, "the table, at least once", wh.rows(), "a a")

	// A table that somebody else made and whose use is granted does.
	wh.exec(l.ledger.create() + "; GRANT ALL ON hydrant_ledger TO " + wh.database + "_loader")
	l = wh.loader()
	for _, already := range []string{"", "b"} {
		result, f := l.load(t.Context(), stream, wh.objects("b"), always)
		wantLoaded(t, result, f, already)
	}
	wantEqual(t, "that there is no ledger", l.without, false)
	wantEqual(t, "the table", wh.rows(), "a a b")
}

// TestTheLedgerIsRemoved has somebody drop it while it is in use: it is made anew, and no failure of the table to load into.
func TestTheLedgerIsRemoved(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	l, stream := wh.loader(), wh.stream()
	result, f := l.load(t.Context(), stream, wh.objects("a"), always)
	wantLoaded(t, result, f, "")
	wh.exec("DROP TABLE hydrant_ledger")
	_, f = l.load(t.Context(), stream, wh.objects("b"), always)
	wantFailure(t, f, codeLedger, ofAll)
	result, f = l.load(t.Context(), stream, wh.objects("b"), always)
	wantLoaded(t, result, f, "")
	wantEqual(t, "the ledger", wh.noted(), "b")

	wh.exec("DROP TABLE hydrant_ledger; CREATE TABLE hydrant_ledger (other INT)")
	l.probed = false
	_, f = l.load(t.Context(), stream, wh.objects("c"), always)
	wantFailure(t, f, codeLedger, ofAll)
	wantEqual(t, "the table", wh.rows(), "a b")
}

func TestOldRowsOfTheLedger(t *testing.T) {
	t.Parallel()
	wh := newWarehouse(t)
	l, stream := wh.loader(), wh.stream()
	_, f := l.load(t.Context(), stream, wh.objects("new"), always)
	wantLoaded(t, copyResult{}, f, "")
	now := time.Now()
	for name, row := range map[string]string{
		"mine":           "'" + string(stream.ID) + "', 'mine', " + timestamp(now.Add(-73*time.Hour)) + ", FALSE",
		"redriven":       "'" + string(stream.ID) + "', 'redriven', " + timestamp(now.Add(-73*time.Hour)) + ", TRUE",
		"other's":        "'other', 'others', " + timestamp(now.Add(-73*time.Hour)) + ", FALSE",
		"older redriven": "'" + string(stream.ID) + "', 'old', " + timestamp(now.Add(-337*time.Hour)) + ", TRUE",
		"older other's":  "'other', 'oldest', " + timestamp(now.Add(-337*time.Hour)) + ", FALSE",
	} {
		wh.exec("INSERT INTO hydrant_ledger (stream_id, batch_id, loaded_at, redriven) VALUES (" + row + ") -- " + name)
	}
	check(t, l.tidy(t.Context(), stream.ID, now))
	wantEqual(t, "the ledger", wh.noted(), "new others redriven")
}
