package datapoints

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

var quiet = slog.New(slog.DiscardHandler)

// clock is one that is set by hand.
type clock struct {
	mu    sync.Mutex
	at    time.Time
	looks int
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	return c.at
}

func (c *clock) looked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.looks
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// rig is a recorder whose clock stands at 12:00:00 of a day, and an installation.
type rig struct {
	*Recorder
	t        *testing.T
	clock    *clock
	registry *prometheus.Registry
	nats     *natstest.Server
	js       jetstream.JetStream
}

func newRig(t *testing.T, changes ...func(*server.Options)) *rig {
	t.Helper()
	s := natstest.Start(t, changes...)
	js := s.JetStream()
	cfg := broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: time.Hour}
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, nats: s, js: js, clock: &clock{at: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}}
	r.Recorder, r.registry = newTestRecorder(t, r.clock)
	return r
}

func newTestRecorder(t testing.TB, c *clock) (*Recorder, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	r, err := NewRecorder("test", registry, quiet)
	if err != nil {
		t.Fatal(err)
	}
	r.now = c.now
	return r, registry
}

// push publishes what has ended, or everything.
func (r *rig) push(all bool) {
	r.t.Helper()
	r.gather(all)
	r.publish(r.t.Context(), r.js.Conn())
}

// stored returns the datapoints in METRICS.
func (r *rig) stored() []Datapoint {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), names.MetricsStream)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []Datapoint
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(r.t.Context(), seq)
		if err != nil {
			r.t.Fatal(err)
		}
		d, err := Decode(m.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		if d.Subject() != m.Subject {
			r.t.Errorf("%+v is on %s", d, m.Subject)
		}
		all = append(all, d)
	}
	return all
}

func (r *rig) counter(name string) (sum float64) {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "hydrant_datapoints_"+name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// short writes a datapoint without what is the same everywhere.
func short(d Datapoint) string {
	return fmt.Sprintf("%s %s %s %s n=%d sum=%g min=%g max=%g", d.Minute.Format("15:04"), d.Stream, d.Metric, d.Unit, d.Samples, d.Sum, d.Min, d.Max)
}

func wantPoints(t *testing.T, got []Datapoint, want ...string) {
	t.Helper()
	lines := make([]string, len(got))
	for i, d := range got {
		lines[i] = short(d)
	}
	if strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestMinutes(t *testing.T) {
	r := newRig(t)
	r.Record("web.clicks", Sample{Metric: PutRecordBytes, Value: 10}, Sample{Metric: PutRecordLatency, Value: 2.5})
	r.Record("web.clicks", Sample{Metric: PutRecordBytes, Value: 4}, Sample{Metric: PutRecordLatency, Value: 1.5})
	r.push(false)
	wantPoints(t, r.stored()) // the minute goes on

	r.clock.forward(time.Minute)
	r.Record("web.clicks", Sample{Metric: PutRecordBytes, Value: 100})
	r.Record("", Sample{Metric: ListRequests, Value: 1})
	r.push(false)
	first := []string{
		"12:00 web.clicks PutRecord.Bytes Bytes n=2 sum=14 min=4 max=10",
		"12:00 web.clicks PutRecord.Latency Milliseconds n=2 sum=4 min=1.5 max=2.5",
	}
	wantPoints(t, r.stored(), first...)

	r.clock.forward(2 * time.Minute) // a minute without samples has no datapoint
	r.push(false)
	got := r.stored()
	if len(got) != 4 || got[2].Stream != "" && got[3].Stream != "" {
		t.Errorf("got %+v", got)
	}
	for _, d := range got {
		if d.Replica != r.replica || d.Format != Format || d.Round == 0 {
			t.Errorf("got %+v", d)
		}
	}
	if n := r.counter("published_total"); n != 4 {
		t.Errorf("%v are counted", n)
	}
}

// A value that comes many times at once counts as often.
func TestTimes(t *testing.T) {
	r := newRig(t)
	const success = "DeliveryToElasticsearch.Success"
	r.Record("a", Sample{Metric: success, Value: 1, Times: 97})
	r.Record("a", Sample{Metric: success, Value: 0, Times: 3}, Sample{Metric: success, Value: 1})
	r.clock.forward(time.Minute)
	r.push(false)
	wantPoints(t, r.stored(), "12:00 a DeliveryToElasticsearch.Success None n=101 sum=98 min=0 max=1")
}

// A replica whose clock is set back publishes a minute twice: two datapoints, not a repeat.
func TestClockSetBack(t *testing.T) {
	r := newRig(t)
	r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
	r.clock.forward(time.Minute)
	r.push(false)
	r.clock.forward(-time.Minute)
	r.Record("a", Sample{Metric: IncomingBytes, Value: 2})
	r.clock.forward(time.Minute)
	r.push(false)
	got := r.stored()
	wantPoints(t, got, "12:00 a IncomingBytes Bytes n=1 sum=1 min=1 max=1", "12:00 a IncomingBytes Bytes n=1 sum=2 min=2 max=2")
	if got[0].Key() == got[1].Key() {
		t.Error("both have the same key")
	}
}

// The same, before anybody collects: one datapoint, so that nobody takes the second for a repeat.
func TestClockSetBackWithinARound(t *testing.T) {
	r := newRig(t)
	for _, step := range []time.Duration{time.Minute, -time.Minute, time.Minute} {
		r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
		r.clock.forward(step)
	}
	r.Record("a", Sample{Metric: IncomingBytes, Value: 2})
	r.push(true)
	wantPoints(t, r.stored(), "12:00 a IncomingBytes Bytes n=2 sum=2 min=1 max=1", "12:01 a IncomingBytes Bytes n=2 sum=3 min=1 max=2")
}

// Samples of a minute that nobody collects are dropped, not heaped up.
func TestNotRunning(t *testing.T) {
	r := newRig(t)
	for range 20 {
		r.Record("a", Sample{Metric: IncomingBytes, Value: 1}, Sample{Metric: IncomingRecords, Value: 1})
		r.clock.forward(time.Minute)
	}
	r.push(false)
	if n := len(r.stored()); n != 2*(keptMinutes+1) {
		t.Errorf("%d datapoints", n)
	}
	if n := r.counter("dropped_total"); n != 2*(20-keptMinutes-1) {
		t.Errorf("%v are counted as dropped", n)
	}
}

func TestIdleStreamsAreForgotten(t *testing.T) {
	r := newRig(t)
	r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
	r.clock.forward((idleMinutes + 1) * time.Minute)
	r.Record("b", Sample{Metric: IncomingBytes, Value: 1})
	r.gather(false)
	if len(r.streams) != 1 || r.streams["b"] == nil || r.left() != 1 {
		t.Errorf("known are %v, %d wait", r.streams, r.left())
	}
	r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
	r.gather(true)
	if r.left() != 3 {
		t.Errorf("%d wait", r.left())
	}
}

// Many datapoints are atomic batches, which a reader of the stream cannot tell.
func TestManyTogether(t *testing.T) {
	r := newRig(t)
	const streams = 2500
	for i := range streams {
		r.Record(names.Stream(fmt.Sprint("s", i)), Sample{Metric: IncomingBytes, Value: float64(i)})
	}
	r.push(true)
	seen := map[Key]bool{}
	for _, d := range r.stored() {
		seen[d.Key()] = true
	}
	if len(seen) != streams {
		t.Errorf("%d datapoints", len(seen))
	}
}

// A server that takes fewer messages together, or none, gets them all the same.
func TestNotTogether(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*jetstream.StreamConfig)
		most   int
	}{
		{"no batches", func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = false }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			stream, err := r.js.Stream(t.Context(), names.MetricsStream)
			if err != nil {
				t.Fatal(err)
			}
			config := stream.CachedInfo().Config
			c.change(&config)
			if _, err := r.js.UpdateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			for i := range 10 {
				r.Record(names.Stream(fmt.Sprint("s", i)), Sample{Metric: IncomingBytes, Value: 1})
			}
			r.push(true)
			if n := len(r.stored()); n != 10 || r.most != c.most {
				t.Errorf("%d datapoints, %d together", n, r.most)
			}
		})
	}
}

// What NATS does not take is kept, published once it is back, and dropped after some minutes.
func TestNATSAway(t *testing.T) {
	r := newRig(t)
	r.nats.Stop()
	r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
	r.clock.forward(time.Minute)
	r.push(false) // fails
	r.Record("a", Sample{Metric: IncomingBytes, Value: 2})
	r.clock.forward((keptMinutes - 1) * time.Minute)
	r.push(false)
	if r.left() != 2 {
		t.Fatalf("%d are kept", r.left())
	}
	r.clock.forward(time.Minute + time.Second)
	r.push(false)
	if r.left() != 1 || r.counter("dropped_total") != 1 {
		t.Fatalf("%d are kept, %v dropped", r.left(), r.counter("dropped_total"))
	}
	r.nats.Restart()
	natstest.WaitFor(t, "the connection is back", r.js.Conn().IsConnected)
	natstest.WaitFor(t, "it is published", func() bool {
		r.publish(t.Context(), r.js.Conn())
		return r.left() == 0
	})
	got := r.stored()
	if len(got) == 0 || got[len(got)-1].Sum != 2 {
		t.Errorf("got %+v", got)
	}
}

// A lost answer: the datapoints are stored, and stored again under the same keys.
func TestLostAnswer(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.Record(names.Stream(fmt.Sprint("s", i)), Sample{Metric: IncomingBytes, Value: 1})
	}
	r.gather(true)
	messages := r.pending[0].messages
	for i, m := range messages {
		m := part(m, "lost", i+1, i == 2)
		m.Reply = r.js.Conn().NewInbox() // where nobody listens
		if err := r.js.Conn().PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	natstest.WaitFor(t, "stored all the same", func() bool { return len(r.stored()) >= 3 })
	r.publish(t.Context(), r.js.Conn())
	all := r.stored()
	keys := map[Key]int{}
	for _, d := range all {
		keys[d.Key()]++
	}
	if len(all) != 6 || len(keys) != 3 || r.left() != 0 {
		t.Errorf("%d datapoints of %d keys, %d left", len(all), len(keys), r.left())
	}
}

// A batch that its process abandoned in the middle, stopped for a minute, leaves nothing, and its repeat is whole.
func TestAbandonedBatch(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.Record(names.Stream(fmt.Sprint("s", i)), Sample{Metric: IncomingBytes, Value: 1})
	}
	r.gather(true)
	if err := r.js.Conn().PublishMsg(part(r.pending[0].messages[0], "abandoned", 1, false)); err != nil {
		t.Fatal(err)
	}
	answer, err := r.js.Conn().RequestMsgWithContext(t.Context(), part(r.pending[0].messages[2], "abandoned", 3, true))
	if err != nil || readAnswer(answer.Data, "abandoned", 3) == nil {
		t.Errorf("a batch with a hole is answered with %s, %v", answer.Data, err)
	}
	r.publish(t.Context(), r.js.Conn())
	if n := len(r.stored()); n != 3 {
		t.Errorf("%d datapoints", n)
	}
}

// Run publishes what there is when it ends.
func TestRunEnds(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, r.js.Conn()) }()
	r.Record("a", Sample{Metric: DeliveredBy("DeliveryToS3").Success, Value: 1})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	wantPoints(t, r.stored(), "12:00 a DeliveryToS3.Success None n=1 sum=1 min=1 max=1")

	r.nats.Stop()
	r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
	if err := r.Run(ctx, r.js.Conn()); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if n := r.counter("dropped_total"); n != 1 {
		t.Errorf("%v are counted as dropped", n)
	}
}

// Run publishes a minute that has ended by itself.
func TestRun(t *testing.T) {
	r := newRig(t)
	r.clock.forward(time.Minute - time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r.Record("a", Sample{Metric: IncomingBytes, Value: 1})
	before := r.clock.looked()
	go func() { ended <- r.Run(ctx, r.js.Conn()) }()
	natstest.WaitFor(t, "it knows when the minute ends", func() bool { return r.clock.looked() > before })
	r.clock.forward(time.Millisecond)
	natstest.WaitFor(t, "the minute is there", func() bool { return len(r.stored()) == 1 })
	cancel()
	<-ended
}

// Everything that is recorded is published once, whatever happens at the same time.
func TestNothingIsLostBetweenMinutes(t *testing.T) {
	c := &clock{at: time.Unix(0, 0)}
	r, _ := newTestRecorder(t, c)
	const workers, each = 8, 5000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				r.Record(names.Stream(fmt.Sprint("s", i%7)), Sample{Metric: IncomingRecords, Value: 1})
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	sum := 0.0
	add := func(all bool) {
		for _, d := range r.collect(all) {
			sum += d.Sum
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			c.forward(time.Minute)
			add(false)
		}
	}
	add(true)
	if n := dropped(t, r); sum != workers*each || n != 0 {
		t.Errorf("%v of %d, %v datapoints dropped", sum, workers*each, n)
	}
}

func dropped(t *testing.T, r *Recorder) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.dropped)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetCounter().GetValue()
}

func TestRecordAllocatesNothing(t *testing.T) {
	r, _ := newTestRecorder(t, &clock{at: time.Unix(0, 0)})
	if n := testing.AllocsPerRun(100, func() { put(r, "demo") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// put records what a PutRecord does.
func put(r *Recorder, stream names.Stream) {
	r.Record(stream,
		Sample{Metric: IncomingBytes, Value: 1000}, Sample{Metric: IncomingRecords, Value: 1}, Sample{Metric: IncomingPutRequests, Value: 1},
		Sample{Metric: PutRecordBytes, Value: 1000}, Sample{Metric: PutRecordRequests, Value: 1}, Sample{Metric: PutRecordLatency, Value: 1.5},
	)
}

func BenchmarkRecord(b *testing.B) {
	r, err := NewRecorder("test", prometheus.NewRegistry(), quiet)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.Run("one stream", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				put(r, "demo")
			}
		})
	})
	streams := make([]names.Stream, 1000)
	for i := range streams {
		streams[i] = names.Stream(fmt.Sprint("stream-", i))
	}
	b.Run("1000 streams", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				put(r, streams[i%len(streams)])
			}
		})
	})
}

func TestUnits(t *testing.T) {
	for metric, want := range map[string]Unit{
		IncomingBytes: Bytes, IncomingRecords: Count, PutRecordBytes: Bytes, PutRecordBatchLatency: Milliseconds, ListRequests: Count,
		"DeliveryToS3.Bytes": Bytes, "BackupToS3.DataFreshness": Seconds, "DeliveryToS3.Success": None, "DeliveryToS3.ObjectCount": Count,
		ThrottledRecords: Count, "": Count,
	} {
		if got := UnitOf(metric); got != want {
			t.Errorf("%s is in %s, want %s", metric, got, want)
		}
	}
}

// The form that is stored: whoever changes it changes the format.
func TestWrittenForm(t *testing.T) {
	d := Datapoint{
		Stream: "web.clicks", Metric: PutRecordBytes, Unit: Bytes, Minute: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC),
		Samples: 2, Sum: 14, Min: 4, Max: 10, Replica: "abcdefghij234567", Round: 3,
	}
	const want = `{"format":1,"stream":"web.clicks","metric":"PutRecord.Bytes","unit":"Bytes","minute":"2026-11-26T12:00:00Z",` +
		`"samples":2,"sum":14,"min":4,"max":10,"replica":"abcdefghij234567","round":3}`
	data, err := d.Encode()
	if err != nil || string(data) != want {
		t.Errorf("got %s, %v", data, err)
	}
	d.Format = Format
	if back, err := Decode(data); err != nil || back != d {
		t.Errorf("read as %+v, %v", back, err)
	}
	if s := d.Subject(); s != "metrics.web~clicks.PutRecord.Bytes" {
		t.Errorf("it is on %s", s)
	}
	d.Sum = math.NaN()
	if _, err := d.Encode(); err == nil {
		t.Error("what is no number is one")
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range []string{"", "hello", `{"format":2}`, `{"format":1}`, `{"format":1,"metric":"M","minute":"2026-11-26T12:00:00Z","samples":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Decode(data)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil {
			t.Skip() // a year that has no JSON form
		}
		d.Format = Format
		if back, err := Decode(again); err != nil || !back.Minute.Equal(d.Minute) || back.Key() != d.Key() {
			t.Errorf("%s is read as %+v, and then as %+v, %v", data, d, back, err)
		}
	})
}

// Two services in one process have metrics of their own; a service that is there twice is told so.
func TestRegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	for _, c := range []struct {
		service string
		works   bool
	}{{"ingest", true}, {"s3sink", true}, {"ingest", false}} {
		if _, err := NewRecorder(c.service, registry, quiet); (err == nil) != c.works {
			t.Errorf("%s: %v", c.service, err)
		}
	}
}

func TestNewerFormat(t *testing.T) {
	if _, err := Decode([]byte(`{"format":2,"samples":"many"}`)); !errors.Is(err, format.ErrNewer) {
		t.Errorf("got %v", err)
	}
}
