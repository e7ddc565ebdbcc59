package redshift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/services/redshift/internal/fakeredshift"
	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/redrive"
	"hydrant/shared/service"
)

// plant is a warehouse with NATS beside it.
type plant struct {
	*warehouse
	js      jetstream.JetStream
	catalog *catalog.Catalog
	doc     *catalog.DeliveryStream
}

func newPlant(t *testing.T, change ...func(*types.RedshiftDestinationDescription)) *plant {
	t.Helper()
	p := &plant{warehouse: newWarehouse(t)}
	server := natstest.Start(t)
	p.js = server.JetStream()
	p.cfg.NATS.NATSURL = server.URL()
	check(t, broker.Prepare(t.Context(), p.js, p.cfg.NATS, testLog(t)))
	var err error
	p.catalog, err = catalog.Open(t.Context(), p.js)
	check(t, err)
	p.doc = p.stream(change...)
	check(t, p.catalog.Create(t.Context(), p.doc))
	return p
}

func retryFor(d time.Duration) func(*types.RedshiftDestinationDescription) {
	return func(to *types.RedshiftDestinationDescription) {
		to.RetryOptions.DurationInSeconds = aws.Int32(int32(d / time.Second))
	}
}

// start runs a service until the returned function is called, or the test ends.
func (p *plant) start() (stop func()) {
	p.t.Helper()
	s, err := New(p.cfg, service.Runtime{Log: testLog(p.t), Metrics: prometheus.NewRegistry()})
	check(p.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			p.t.Errorf("the service ended with %v", err)
		}
	})
	p.t.(*testing.T).Cleanup(stop)
	return stop
}

// stage announces objects, as the S3 sink does.
func (p *plant) stage(text string) {
	p.t.Helper()
	for _, o := range p.objects(text) {
		o.Stream, o.StreamID, o.Leg, o.Outcome, o.Version = p.doc.Name, p.doc.ID, names.LegS3, batch.Delivered, 1
		data, err := o.Encode()
		check(p.t, err)
		_, err = p.js.Publish(p.t.Context(), names.StagingSubject(p.doc.Name), data)
		check(p.t, err)
	}
}

func (p *plant) messages(stream string) uint64 {
	s, err := p.js.Stream(p.t.Context(), stream)
	check(p.t, err)
	info, err := s.Info(p.t.Context())
	check(p.t, err)
	return info.State.Msgs
}

// emptied waits until no staged object waits any more, and nothing is kept of their failures, but for those that are set aside.
func (p *plant) emptied() {
	p.t.Helper()
	await(p.t, "all staged objects have an outcome", func() bool { return p.messages(names.StagingStream) == 0 })
	await(p.t, "no failure of what is loaded is kept", func() bool {
		return p.messages("KV_"+names.RetriesBucket) == uint64(strings.Count(p.summary(), ":"+string(batch.SetAside)))
	})
}

// read returns the messages of a subject.
func read[T any](p *plant, stream, subject string, decode func([]byte) (T, error)) (all []T) {
	p.t.Helper()
	s, err := p.js.Stream(p.t.Context(), stream)
	check(p.t, err)
	info, err := s.Info(p.t.Context(), jetstream.WithSubjectFilter(subject))
	check(p.t, err)
	for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq && len(info.State.Subjects) > 0; sequence++ {
		m, err := s.GetMsg(p.t.Context(), sequence)
		if err != nil || m.Subject != subject {
			continue
		}
		one, err := decode(m.Data)
		check(p.t, err)
		all = append(all, one)
	}
	return all
}

func (p *plant) outcomes() []batch.Delivery {
	return read(p, names.DeliveriesStream, names.DeliveriesSubject(names.LegRedshift, p.doc.Name), batch.DecodeDelivery)
}

func (p *plant) log() []delivery.LogEntry {
	return read(p, names.ErrorsStream, names.ErrorsSubject(p.doc.Name, "RedshiftDelivery"), delivery.DecodeLogEntry)
}

// summary is the outcomes by batch, each once.
func (p *plant) summary() string {
	seen := map[string]bool{}
	for _, d := range p.outcomes() {
		seen[string(d.Batch)+":"+string(d.Outcome)] = true
	}
	var list []string
	for line := range seen {
		list = append(list, line)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// aside is what is in the error manifests, by the manifests.
func (p *plant) aside() (manifests []string) {
	for _, key := range p.s3.Keys("data") {
		if !strings.HasPrefix(key, "errors/manifests/2026/11/27/04/clicks-") {
			continue
		}
		data, object := p.s3.Content("data", key)
		var m manifest
		check(p.t, json.Unmarshal(data, &m))
		var list []string
		for _, e := range m.Entries {
			list = append(list, e.URL[strings.LastIndexByte(e.URL, '/')+1:])
		}
		slices.Sort(list)
		manifests = append(manifests, strings.Join(list, " ")+": "+object.Metadata[redrive.MetadataCode])
	}
	slices.Sort(manifests)
	return manifests
}

func TestStagedObjectsAreLoaded(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.stage("a b c")
	p.start()
	p.emptied()
	wantEqual(t, "the table", p.rows(), "a b c")
	wantEqual(t, "the outcomes", p.summary(), "a:delivered b:delivered c:delivered")
	d := p.outcomes()[0]
	wantEqual(t, "the location", d.Location, p.front.Address+"/"+p.database+"/events")
	wantEqual(t, "records", d.Records, 10)
	wantEqual(t, "bytes", d.Bytes, 1000)
	wantEqual(t, "COPYs", len(p.front.Copies()), 1)
	p.stage("d")
	p.stage("a") // announced once more, after a crash of the S3 sink
	p.emptied()
	wantEqual(t, "the table", p.rows(), "a b c d")
	wantEqual(t, "the error log", len(p.log()), 0)
}

func TestABadObjectEndsInAManifest(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.stage("a b bad c d")
	p.start()
	p.emptied()
	wantEqual(t, "the table", p.rows(), "a b c d")
	wantEqual(t, "the outcomes", p.summary(), "a:delivered b:delivered bad:set_aside c:delivered d:delivered")
	wantEqual(t, "the error manifests", fmt.Sprint(p.aside()), "[bad: Redshift.DataLoadFailed]")
	entries := p.log()
	wantEqual(t, "the entries of the error log", len(entries), 1)
	e := entries[0]
	wantEqual(t, "the code", e.ErrorCode, codeDataLoad)
	wantEqual(t, "the records", e.Records, 10)
	if !strings.HasPrefix(e.SetAsideAt, "s3://data/errors/manifests/") || !strings.Contains(e.Detail, "Load into table 'events' failed") || e.Message == "" {
		t.Errorf("the entry is %+v", e)
	}
}

// TestATableThatComesLater loads the backlog by itself once the table is there.
func TestATableThatComesLater(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.exec("ALTER TABLE events RENAME TO later")
	p.stage("a b")
	stop := p.start()
	await(t, "the failure is kept", func() bool { return p.messages("KV_"+names.RetriesBucket) == 2 && len(p.log()) > 0 })
	stop()
	wantEqual(t, "the code", p.log()[0].ErrorCode, codeTableNotFound)
	p.exec("ALTER TABLE later RENAME TO events")
	p.start() // another process
	p.emptied()
	wantEqual(t, "the table", p.rows(), "a b")
	if d := p.outcomes()[0]; d.Attempts < 2 {
		t.Errorf("the attempts are counted anew: %d", d.Attempts)
	}
}

// TestTheRetryDurationIsOver counts from the first failure, whoever tried.
func TestTheRetryDurationIsOver(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(2*time.Second))
	p.exec("DROP TABLE events")
	p.stage("a b c")
	p.start()
	p.emptied()
	wantEqual(t, "the outcomes", p.summary(), "a:set_aside b:set_aside c:set_aside")
	var list []string
	for _, m := range p.aside() {
		before, code, _ := strings.Cut(m, ": ")
		wantEqual(t, "the code", code, codeTableNotFound)
		list = append(list, strings.Fields(before)...)
	}
	slices.Sort(list)
	wantEqual(t, "what is in error manifests", strings.Join(list, " "), "a b c")
	if entries := p.log(); len(entries) < 2 || entries[len(entries)-1].SetAsideAt == "" {
		t.Errorf("the error log has %+v", entries)
	}
}

// TestTheErrorManifestCannotBeWritten loses the answer and refuses, for a while: the object waits, and is in one manifest.
func TestTheErrorManifestCannotBeWritten(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	refused := 0
	heal := p.s3.First("PutObject", "/errors/", func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		refused++
		w.WriteHeader(http.StatusForbidden)
	})
	p.stage("bad")
	p.start()
	await(t, "the refusal is told", func() bool { return len(p.log()) > 0 })
	wantEqual(t, "what waits", p.messages(names.StagingStream), 1)
	wantEqual(t, "the outcomes", p.summary(), "")
	heal()
	p.emptied()
	wantEqual(t, "the outcomes", p.summary(), "bad:set_aside")
	wantEqual(t, "the error manifests", fmt.Sprint(p.aside()), "[bad: Redshift.DataLoadFailed]")
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestTheLedgerIsNotPermitted says so once, and loads.
func TestTheLedgerIsNotPermitted(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.exec("CREATE ROLE " + p.database + "_loader LOGIN PASSWORD 'l0ader-pw'; GRANT INSERT ON events TO " + p.database + "_loader")
	_, err := p.catalog.Update(t.Context(), p.doc.Name, func(d *catalog.DeliveryStream) error {
		d.Destination.Redshift.Description.Username = aws.String(p.database + "_loader")
		d.Destination.Redshift.Password = catalog.NewPassword("l0ader-pw")
		return nil
	})
	check(t, err)
	p.stage("a")
	p.start()
	p.emptied()
	p.stage("b")
	p.emptied()
	wantEqual(t, "the table", p.rows(), "a b")
	entries := p.log()
	wantEqual(t, "the entries of the error log", len(entries), 1)
	wantEqual(t, "the code", entries[0].ErrorCode, codeLedgerNotPermitted)
}

// TestTwoServices has two on one delivery stream, of which answers are lost and one is stopped again and again.
func TestTwoServices(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.cfg.CopyObjects = 7
	p.start()
	var want []string
	for i := range 6 {
		stop := p.start()
		var list []string
		for n := range 20 {
			list = append(list, fmt.Sprintf("o%d-%02d", i, n))
		}
		want = append(want, list...)
		p.front.Next([]fakeredshift.Fault{fakeredshift.Lose, fakeredshift.Break}[i%2])
		p.stage(strings.Join(list, " "))
		await(t, "something of it is loaded", func() bool { return strings.Contains(p.rows(), fmt.Sprintf("o%d-", i)) })
		stop()
	}
	p.emptied()
	wantEqual(t, "the table", p.rows(), strings.Join(want, " "))
}

// TestACrashBeforeTheAcknowledgement has an object in its error manifest, and nobody told: it is not loaded any more, and not set
// aside again.
func TestACrashBeforeTheAcknowledgement(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.stage("bad")
	lost := p.front.Copies()
	stop := p.start()
	p.emptied()
	stop()
	wantEqual(t, "COPYs before", len(lost), 0)
	copies := len(p.front.Copies())

	retries, err := delivery.OpenRetries(t.Context(), p.js)
	check(t, err)
	o := p.objects("bad")[0]
	at := "s3://data/" + slices.DeleteFunc(p.s3.Keys("data"), func(key string) bool { return !strings.HasPrefix(key, "errors/") })[0]
	m := manifests{installation: p.installation()}
	identity := m.identify(p.doc.ID, skipped, []*object{o})
	data, err := json.Marshal(progress{Alone: true, Aside: at, AsideID: manifestID(p.doc.ID, identity)})
	check(t, err)
	_, err = retries.Write(t.Context(), o.Stream, retryKey(o.Batch), delivery.Failures{}, data)
	check(t, err)
	p.stage("bad") // as if it had not been acknowledged
	p.start()
	p.emptied()
	wantEqual(t, "the COPYs", len(p.front.Copies()), copies)
	wantEqual(t, "the outcomes", p.summary(), "bad:set_aside")
	wantEqual(t, "the error manifests", len(p.aside()), 1)
}

// TestAnnouncedAgain announces an object once more after it was set aside, as a sink does that was killed before it could acknowledge its
// batch. By then it could be loaded, and is not: it would be in both places.
func TestAnnouncedAgain(t *testing.T) {
	p := newPlant(t, retryFor(0))
	p.exec("ALTER TABLE events RENAME TO later")
	p.stage("a")
	p.start()
	p.emptied()
	p.exec("ALTER TABLE later RENAME TO events")
	p.stage("a")
	p.emptied()
	wantEqual(t, "the outcomes", p.summary(), "a:set_aside")
	wantEqual(t, "the table", p.rows(), "")
	wantEqual(t, "the error manifests", fmt.Sprint(p.aside()), "[a: Redshift.TableNotFound]")
}

func (p *plant) installation() string {
	id, err := broker.InstallationID(p.t.Context(), p.js)
	check(p.t, err)
	return id
}

// TestSecretsAreNowhere looks for them in everything that the service leaves.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	p := newPlant(t, retryFor(0))
	p.front.Do(func(copy string) string { return raise("42601", "syntax error at or near "+copy) })
	p.stage("a")
	p.start()
	p.emptied()
	everything := fmt.Sprintf("%+v %+v", p.log(), p.outcomes())
	for _, key := range p.s3.Keys("data") {
		data, object := p.s3.Content("data", key)
		everything += string(data) + fmt.Sprint(object.Metadata)
	}
	for _, secret := range []string{fakeredshift.Password, p.cfg.S3SecretAccessKey} {
		if strings.Contains(everything, secret) {
			t.Errorf("%q is in %s", secret, everything)
		}
	}
	if !strings.Contains(everything, "syntax error") {
		t.Error("what the server said is not told")
	}
}
