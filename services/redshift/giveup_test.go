package redshift

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"hydrant/services/redshift/internal/fakeredshift"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/redrive"
	"hydrant/shared/staging"
)

// wantLoadedOnly wants the objects in the table, and in no error manifest.
func (p *plant) wantLoadedOnly(objects string) {
	p.t.Helper()
	p.emptied()
	wantEqual(p.t, "the table", p.rows(), objects)
	wantEqual(p.t, "the outcomes", p.summary(), strings.Join(strings.Fields(objects), ":delivered ")+":delivered")
	wantEqual(p.t, "the error manifests", fmt.Sprint(p.aside()), "[]")
}

// TestWhatIsLoadedIsNotSetAside loses the answer of the last try that the retry duration allows.
func TestWhatIsLoadedIsNotSetAside(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Next(fakeredshift.Lose)
	p.stage("a b")
	p.start()
	p.wantLoadedOnly("a b")
	wantEqual(t, "the COPYs", len(p.front.Copies()), 1)
	wantEqual(t, "the error log", len(p.log()), 0)
}

// TestWhatIsNotLoadedIsSetAside loses the COPY itself: the ledger says that it was not carried out.
func TestWhatIsNotLoadedIsSetAside(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Next(fakeredshift.Break)
	p.stage("a")
	p.start()
	p.emptied()
	wantEqual(t, "the table", p.rows(), "")
	wantEqual(t, "the outcomes", p.summary(), "a:set_aside")
	wantEqual(t, "the error manifests", fmt.Sprint(p.aside()), "[a: Redshift.ConnectionFailed]")
	if e := p.log()[0]; strings.Contains(e.Detail, "may be loaded") {
		t.Errorf("it is known that it is not loaded, and told is %q", e.Detail)
	}
}

// TestATransactionStillRuns has the server at it while its client is gone and the retry duration over: what it commits then is seen.
func TestATransactionStillRuns(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Do(func(copy string) string { return "SELECT pg_advisory_xact_lock(1); " + p.inserts(copy) })
	letGo := p.hold("SELECT pg_advisory_lock(1)")
	defer letGo()
	p.front.Next(fakeredshift.Leave)
	p.stage("a")
	p.start()
	await(t, "the ledger's lock is waited for", func() bool {
		return len(p.column("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'")) == 1
	})
	wantEqual(t, "what waits", p.messages(names.StagingStream), 1)
	letGo()
	p.wantLoadedOnly("a")
}

// TestTheLedgerCannotBeAsked loses the last answer, and the database with it: the object waits until it is known.
func TestTheLedgerCannotBeAsked(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Next(fakeredshift.Vanish)
	p.stage("a")
	p.start()
	await(t, "several tries are kept", func() bool { return len(p.log()) > 0 && p.failures("a").Attempts > 2 })
	wantEqual(t, "the outcomes", p.summary(), "")
	if e := p.log()[0]; e.ErrorCode != codeConnection || !strings.Contains(e.Detail, "may be loaded, and are not set aside") {
		t.Errorf("the entry is %+v", e)
	}
	p.front.Return()
	p.wantLoadedOnly("a")
	wantEqual(t, "the COPYs that were carried out", len(p.column("SELECT object FROM events")), 1)
}

// TestTheDatabaseWasNeverThere sets aside without asking: nothing can have been loaded.
func TestTheDatabaseWasNeverThere(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Away()
	p.stage("a")
	p.start()
	p.emptied()
	wantEqual(t, "the outcomes", p.summary(), "a:set_aside")
	if e := p.log()[0]; e.ErrorCode != codeConnection || strings.Contains(e.Detail, "may be loaded") {
		t.Errorf("the entry is %+v", e)
	}
}

// TestNobodyEverAnswers sets aside what may be loaded, when the ledger could not be asked for long, and says so.
func TestNobodyEverAnswers(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Away()
	p.keepFailure("a", time.Now().Add(-leastDoubt-time.Second), progress{Unanswered: true})
	p.stage("a")
	p.start()
	p.emptied()
	wantEqual(t, "the outcomes", p.summary(), "a:set_aside")
	entries := p.log()
	if e := entries[len(entries)-1]; e.SetAsideAt == "" || !strings.HasPrefix(e.Detail, "the objects may be loaded") {
		t.Errorf("the entry is %+v", e)
	}
	for _, key := range p.s3.Keys("data") {
		if _, object := p.s3.Content("data", key); strings.HasPrefix(key, "errors/") && !strings.HasPrefix(object.Metadata[redrive.MetadataReason], "the objects may be loaded") {
			t.Errorf("the reason beside the manifest is %q", object.Metadata[redrive.MetadataReason])
		}
	}
}

// failures is what is kept of an object.
func (p *plant) failures(id batch.ID) delivery.Failures {
	retries, err := delivery.OpenRetries(p.t.Context(), p.js)
	check(p.t, err)
	f, err := retries.Read(p.t.Context(), retryKey(id))
	check(p.t, err)
	return f
}

// keepFailure has an object have failed once, at a time.
func (p *plant) keepFailure(id batch.ID, at time.Time, so progress) {
	p.t.Helper()
	kv, err := p.js.KeyValue(p.t.Context(), names.RetriesBucket)
	check(p.t, err)
	kept, err := json.Marshal(so)
	check(p.t, err)
	entry, err := json.Marshal(map[string]any{"format": delivery.RetriesFormat, "first_failure": at, "attempts": 1, "progress": kept})
	check(p.t, err)
	_, err = kv.Create(p.t.Context(), string(retryKey(id)), entry)
	check(p.t, err)
}

// TestHowLongItIsAsked counts from the end of the retry duration.
func TestHowLongItIsAsked(t *testing.T) {
	t.Parallel()
	p, now := newPlant(t), time.Now()
	for i, c := range []struct {
		name         string
		ago, retry   time.Duration
		first, waits bool
	}{
		{name: "the first failure", first: true, waits: true},
		{name: "no retry duration", ago: 9 * time.Minute, waits: true},
		{name: "no retry duration, late", ago: 10 * time.Minute},
		{name: "a short one", ago: 10 * time.Minute, retry: time.Minute, waits: true},
		{name: "a short one, late", ago: 11 * time.Minute, retry: time.Minute},
		{name: "a long one", ago: 119 * time.Minute, retry: time.Hour, waits: true},
		{name: "a long one, late", ago: 2 * time.Hour, retry: time.Hour},
	} {
		o := &object{Object: &staging.Object{}}
		if !c.first {
			id := batch.ID(fmt.Sprint("o", i))
			p.keepFailure(id, now.Add(-c.ago), progress{})
			o.before = p.failures(id)
		}
		wantEqual(t, c.name, o.waits(now, c.retry), c.waits)
	}
}

// TestSomebodyDidNotSay takes an object for one that may be loaded when it was in the hands of somebody who was killed.
func TestSomebodyDidNotSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		attempt, written int
		kept             string
		want             bool
	}{
		{attempt: 1}, {attempt: 2, want: true}, {attempt: 2, written: 1}, {attempt: 3, written: 1, want: true}, {attempt: 1, written: 3},
		{attempt: 2, written: 1, kept: `{"unanswered":true}`, want: true},
	} {
		from := &staging.Object{Attempt: c.attempt}
		o, err := recalled(from, delivery.Failures{Attempts: c.written, Progress: []byte(c.kept)})
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, fmt.Sprintf("%+v", c), o.progress.Unanswered, c.want)
	}
}

// TestProgressOfANewerVersion is left as it is: the next failure written down would drop what is not known of it.
func TestProgressOfANewerVersion(t *testing.T) {
	t.Parallel()
	kept := []byte(`{"format":2,"unanswered":{"since":"yesterday"}}`)
	if o, err := recalled(&staging.Object{Attempt: 2}, delivery.Failures{Attempts: 1, Progress: kept}); !errors.Is(err, format.ErrNewer) || o != nil {
		t.Errorf("recalled %+v, %v", o, err)
	}
}

// TestWhatIsAnAnswer takes nothing for one that may come after the commit.
func TestWhatIsAnAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		severity, state string
		want            bool
	}{
		{"ERROR", "XX000", true}, {"ERROR", "42P01", true}, {"ERROR", "22012", true},
		{"ERROR", "57014", false}, {"ERROR", "08006", false}, {"FATAL", "XX000", false}, {"FATAL", "57P01", false}, {"PANIC", "XX000", false}, {"", "42P01", false},
	} {
		wantEqual(t, c.severity+" "+c.state, answered(fmt.Errorf("load: %w", &pq.Error{Severity: c.severity, Code: pqerror.Code(c.state)})), c.want)
	}
	wantEqual(t, "a lost connection", answered(errBroken), false)
}
