package redshift

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/services/redshift/internal/fakeredshift"
	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
	"hydrant/shared/s3test"
)

// yard is a warehouse with a delivery stream of which something was set aside.
type yard struct {
	*warehouse
	doc *catalog.DeliveryStream
}

func newYard(t *testing.T) *yard {
	t.Helper()
	wh := newWarehouse(t)
	return &yard{warehouse: wh, doc: wh.stream(stagedUnder)}
}

// stagedUnder gives the staged objects a folder of their own.
func stagedUnder(d *types.RedshiftDestinationDescription) {
	d.S3DestinationDescription.Prefix = aws.String("staged/")
}

// batchOf is the batch that a staged object of the delivery stream is of.
func (y *yard) batchOf(name string) batch.ID { return batch.ID(string(y.doc.ID) + ".s3.0." + name) }

// stagedObjects puts objects into the bucket, as the S3 sink does.
func (y *yard) stagedObjects(names string) []*object {
	y.t.Helper()
	objects := y.objects(names)
	for _, o := range objects {
		o.Batch = y.batchOf(string(o.Batch))
		y.put(strings.TrimPrefix(o.Location, "s3://data/"), "{}", map[string]string{
			objectstore.MetadataBatch: string(o.Batch), objectstore.MetadataRecords: "10", objectstore.MetadataBytes: "1000",
		})
	}
	return objects
}

func (y *yard) put(key, content string, metadata map[string]string) {
	y.t.Helper()
	_, err := y.s3.Client.PutObject(y.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("data"), Key: &key, Body: strings.NewReader(content), Metadata: metadata,
	})
	check(y.t, err)
}

func (y *yard) remove(key string) {
	y.t.Helper()
	_, err := y.s3.Client.DeleteObject(y.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("data"), Key: &key})
	check(y.t, err)
}

// setAside names staged objects in an error manifest, as the service does, and returns its key.
func (y *yard) setAside(names string) string {
	y.t.Helper()
	objects := y.stagedObjects(names)
	m := y.loader().manifests
	at, err := m.object(y.doc, skipped, objects)
	check(y.t, err)
	at.Metadata = asideMetadata(&failure{verdict: verdict{codeTableNotFound, ofAll}, err: errors.New("no table")}, objects)
	check(y.t, m.write(y.t.Context(), at, objects, always))
	return at.Key
}

func (y *yard) redriver(change ...func(*Redriver)) *Redriver {
	y.t.Helper()
	r, err := newRedriver(y.cfg, y.loader().manifests, y.doc, false, testLog(y.t))
	check(y.t, err)
	for _, c := range change {
		c(r)
	}
	y.t.Cleanup(r.loader.close)
	return r
}

func (y *yard) walk(change ...func(*redrive.Walk)) redrive.Walk {
	w := redrive.Walk{Store: y.store}
	for _, c := range change {
		c(&w)
	}
	return w
}

// run is a whole run, which must not end with an error.
func (y *yard) run() redrive.Report {
	y.t.Helper()
	report, err := y.walk().Run(y.t.Context(), y.redriver())
	check(y.t, err)
	return report
}

// keys are those under a folder, each without it and what is random in it.
func (y *yard) keys(folder string) (found []string) {
	for _, key := range y.s3.Keys("data") {
		if rest, ok := strings.CutPrefix(key, folder); ok {
			found = append(found, rest)
		}
	}
	return found
}

func wantReport(t *testing.T, got, want redrive.Report) {
	t.Helper()
	if got != want {
		t.Errorf("the report is %+v, want %+v", got, want)
	}
}

func TestRedriveLoadsOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	first, second := y.setAside("a b"), y.setAside("c")
	wantReport(t, y.run(), redrive.Report{Items: 2, Done: 2, Records: 30, Delivered: 30})
	wantEqual(t, "the table", y.rows(), "a b c")
	wantEqual(t, "what the ledger keeps longer", strings.Join(y.column("SELECT batch_id FROM hydrant_ledger WHERE redriven"), " "),
		fmt.Sprintf("%s %s %s", y.batchOf("a"), y.batchOf("b"), y.batchOf("c")))
	wantEqual(t, "what is set aside", len(y.keys("errors/")), 0)
	wantEqual(t, "what is moved aside", fmt.Sprint(y.keys("redriven/")), fmt.Sprint(sorted(first, second)))

	wantReport(t, y.run(), redrive.Report{})
	wantEqual(t, "the table after another run", y.rows(), "a b c")
}

func sorted(keys ...string) []string { slices.Sort(keys); return keys }

// TestRedriveAfterAKill has a run end between its COPY and the move, so that the manifest is where it was; and has a service have loaded some.
func TestRedriveAfterAKill(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a b")
	result, f := y.loader().load(t.Context(), y.doc, y.stagedObjects("b"), always)
	wantLoaded(t, result, f, "")
	heal := y.s3.FailAt("PutObject", "/redriven/", -1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
	_, err := y.walk().Run(t.Context(), y.redriver())
	heal()
	if err == nil || !strings.Contains(err.Error(), "delivered, but not moved") {
		t.Errorf("the run ended with %v", err)
	}
	wantEqual(t, "the table", y.rows(), "a b")
	wantEqual(t, "what is set aside", len(y.keys("errors/")), 1)
	wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Records: 20, Already: 20})
	wantEqual(t, "the table after another run", y.rows(), "a b")
	wantEqual(t, "what is set aside", len(y.keys("errors/")), 0)
}

// TestRedriveLosesAnswers has the COPY's lost, and those of S3 while the manifest is moved.
func TestRedriveLosesAnswers(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a b")
	y.front.Next(fakeredshift.Lose)
	report, err := y.walk().Run(t.Context(), y.redriver())
	var why *delivery.Error
	if !errors.As(err, &why) || why.Code != codeConnection {
		t.Errorf("the run ended with %v, want %s", err, codeConnection)
	}
	wantReport(t, report, redrive.Report{Items: 1, Kept: 1, Records: 20, Left: 20})
	wantEqual(t, "what is set aside", len(y.keys("errors/")), 1)
	y.s3.FailAt("PutObject", "/redriven/", 1, s3test.Lose)
	y.s3.FailAt("DeleteObject", "/errors/", 1, s3test.Lose)
	wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Records: 20, Already: 20})
	wantEqual(t, "the table", y.rows(), "a b")
	wantEqual(t, "what is set aside", len(y.keys("errors/")), 0)
}

// TestRedriveLeavesWhatIsBad has objects that cannot be loaded, one that is gone, and one of somebody else: the others are loaded, and
// what is left is named anew before the manifest is moved.
func TestRedriveLeavesWhatIsBad(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	was := y.setAside("a bad1 b bad2 gone foreign c bad3 bad4 d")
	y.remove("staged/gone")
	y.put("staged/foreign", "{}", map[string]string{objectstore.MetadataBatch: "another.s3.0.1-2"})
	report := y.run()
	wantReport(t, report, redrive.Report{Items: 1, Done: 1, Partly: 1, Records: 100, Delivered: 40, Left: 40})
	wantEqual(t, "whether nothing is left", report.Clean(), false)
	wantEqual(t, "the table", y.rows(), "a b c d")
	wantEqual(t, "the manifests", y.named(), "bad1 bad2 bad3 bad4 foreign gone")
	wantEqual(t, "what is moved aside", fmt.Sprint(y.keys("redriven/")), fmt.Sprint([]string{was}))

	report = y.run()
	wantReport(t, report, redrive.Report{Items: 1, Kept: 1, Records: 40, Left: 40})
	wantEqual(t, "the manifests after another run", y.named(), "bad1 bad2 bad3 bad4 foreign gone")
}

// TestRedriveWritesTheRestFirst cannot write it: the manifest stays, and what is loaded is found by the next run.
func TestRedriveWritesTheRestFirst(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a bad b")
	heal := y.s3.FailAt("PutObject", "/data/errors/", -1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
	report, err := y.walk().Run(t.Context(), y.redriver())
	heal()
	if err == nil || !strings.Contains(err.Error(), "what is left could not be named") {
		t.Errorf("the run ended with %v", err)
	}
	wantReport(t, report, redrive.Report{Items: 1, Kept: 1, Records: 30, Delivered: 20, Left: 10})
	wantEqual(t, "the manifests", y.named(), "a b bad")
	wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Partly: 1, Records: 30, Already: 20, Left: 10})
	wantEqual(t, "the table", y.rows(), "a b")
	wantEqual(t, "the manifests", y.named(), "bad")
}

// TestRedriveKeepsWhatItLoaded has the database go away when some of a manifest is loaded: the rest is named by itself, so that another
// run does not load all of it again, also where there is no ledger.
func TestRedriveKeepsWhatItLoaded(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a bad b c")
	copies := 0
	y.front.Do(func(copy string) string {
		if copies++; copies == 5 {
			return raise("57P01", "terminating connection due to administrator command")
		}
		return y.inserts(copy)
	})
	report, err := y.walk().Run(t.Context(), y.redriver())
	var why *delivery.Error
	if !errors.As(err, &why) || why.Code != codeConnection {
		t.Errorf("the run ended with %v, want %s", err, codeConnection)
	}
	wantReport(t, report, redrive.Report{Items: 1, Done: 1, Partly: 1, Records: 40, Delivered: 10, Left: 30})
	wantEqual(t, "the table", y.rows(), "a")
	wantEqual(t, "the manifests", y.named(), "b bad c")
}

// named is what the error manifests name, each once for each manifest.
func (y *yard) named() string {
	y.t.Helper()
	var list []string
	for _, key := range y.keys("errors/") {
		data, _ := y.s3.Content("data", "errors/"+key)
		locations, err := readManifest(data)
		check(y.t, err)
		for _, l := range locations {
			list = append(list, l[strings.LastIndexByte(l, '/')+1:])
		}
	}
	return strings.Join(sorted(list...), " ")
}

// TestRedriveStopsWhereAllWouldFail has no table: nothing is moved, and no other manifest is tried.
func TestRedriveStopsWhereAllWouldFail(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a")
	y.setAside("b")
	y.exec("ALTER TABLE events RENAME TO later")
	report, err := y.walk().Run(t.Context(), y.redriver())
	var why *delivery.Error
	if !errors.As(err, &why) || why.Code != codeTableNotFound {
		t.Errorf("the run ended with %v, want %s", err, codeTableNotFound)
	}
	wantReport(t, report, redrive.Report{Items: 1, Kept: 1, Records: 10, Left: 10})
	wantEqual(t, "the manifests", y.named(), "a b")
}

// TestRedriveAtOnce has several runs at once, and a service that comes again for an object whose acknowledgement was lost.
func TestRedriveAtOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a b")
	y.setAside("b c bad")
	y.front.Do(func(copy string) string { return "SELECT pg_advisory_xact_lock_shared(1); " + y.inserts(copy) })
	letGo := y.hold("SELECT pg_advisory_lock(1)")
	defer letGo()
	var racing sync.WaitGroup
	for range 3 {
		r := y.redriver()
		racing.Go(func() {
			if _, err := y.walk().Run(context.WithoutCancel(t.Context()), r); err != nil {
				t.Error(err)
			}
		})
	}
	service, again := y.loader(), y.stagedObjects("a")
	racing.Go(func() {
		if _, f := service.load(context.WithoutCancel(t.Context()), y.doc, again, always); f != nil {
			t.Errorf("the service: %v", f.err)
		}
	})
	await(t, "four wait", func() bool {
		return len(y.column("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")) == 4
	})
	letGo()
	racing.Wait()
	wantEqual(t, "the table", y.rows(), "a b c")
	wantEqual(t, "the manifests", y.named(), "bad")
}

// TestRedriveWakesLate stops a run that has sent its COPY, and one before it moves: another does all of it meanwhile.
func TestRedriveWakesLate(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"in the COPY", "before the copy of the manifest", "before its deletion"} {
		t.Run(where, func(t *testing.T) {
			y := newYard(t)
			y.setAside("a b")
			reached, wake := make(chan struct{}), make(chan struct{})
			stall := func(store http.Handler, w http.ResponseWriter, r *http.Request) {
				close(reached)
				<-wake
				store.ServeHTTP(w, r)
			}
			wait := (<-chan struct{})(reached)
			release := func() { close(wake) }
			switch where {
			case "in the COPY":
				wait = y.front.Next(fakeredshift.Stall)
				release = y.front.LetGo
			case "before the copy of the manifest":
				y.s3.FailAt("PutObject", "/redriven/", 1, stall)
			default:
				y.s3.FailAt("DeleteObject", "/errors/", 1, stall)
			}
			ended := make(chan error, 1)
			r := y.redriver()
			go func() { _, err := y.walk().Run(context.WithoutCancel(t.Context()), r); ended <- err }()
			select {
			case <-wait:
			case err := <-ended:
				t.Fatalf("the run ended before: %v", err)
			}
			wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Records: 20, Already: 20})
			release()
			check(t, <-ended)
			wantEqual(t, "the table", y.rows(), "a b")
			wantEqual(t, "what is set aside", len(y.keys("errors/")), 0)
			wantEqual(t, "what is moved aside", len(y.keys("redriven/")), 1)
		})
	}
}

// TestRedriveIsCutShort ends a run while its COPY waits: it returns, and the next one loads.
func TestRedriveIsCutShort(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.setAside("a b")
	check(t, y.redriver().prepareNow(t.Context()))
	letGo := y.hold("BEGIN; LOCK TABLE hydrant_ledger")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r := y.redriver()
	go func() { _, err := y.walk().Run(ctx, r); ended <- err }()
	await(t, "it waits", func() bool {
		return len(y.column("SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")) == 1
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the run ended with %v", err)
	}
	letGo()
	wantEqual(t, "the table", y.rows(), "")
	wantReport(t, y.run(), redrive.Report{Items: 1, Done: 1, Records: 20, Delivered: 20})
}

// prepareNow makes the ledger.
func (r *Redriver) prepareNow(ctx context.Context) error {
	to, err := targetOf(r.stream.Destination.Redshift)
	if err != nil {
		return err
	}
	r.loader.open(to)
	conn, err := r.loader.db.Conn(ctx)
	if err != nil {
		return err
	}
	return errors.Join(r.loader.prepareLedger(ctx, conn), conn.Close())
}

// TestRedriveWithoutLedger loads where the ledger is not permitted only if that is asked for.
func TestRedriveWithoutLedger(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	user := y.database + "_loader"
	y.exec("CREATE ROLE " + user + " LOGIN PASSWORD 'l0ader-pw'; GRANT SELECT, INSERT ON events TO " + user)
	y.doc = y.stream(stagedUnder, func(d *types.RedshiftDestinationDescription) { d.Username = aws.String(user) })
	y.doc.Destination.Redshift.Password = catalog.NewPassword("l0ader-pw")
	y.setAside("a bad b")
	_, err := y.walk().Run(t.Context(), y.redriver())
	var why *delivery.Error
	if !errors.As(err, &why) || why.Code != codeLedgerNotPermitted || !strings.Contains(err.Error(), "--without-ledger") {
		t.Errorf("the run ended with %v, want %s", err, codeLedgerNotPermitted)
	}
	wantEqual(t, "the table", y.rows(), "")
	report, err := y.walk().Run(t.Context(), y.redriver(func(r *Redriver) { r.loader.insist = false }))
	check(t, err)
	wantReport(t, report, redrive.Report{Items: 1, Done: 1, Partly: 1, Records: 30, Delivered: 20, Left: 10})
	wantEqual(t, "the table", y.rows(), "a b")
	wantEqual(t, "the manifests", y.named(), "bad")
}
