package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

var quiet = slog.New(slog.DiscardHandler)

func textLog(to *logtest.Lines) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// destination is one that does what it is told, and remembers how it was called.
type destination struct {
	mu       sync.Mutex
	deliver  func(context.Context, Attempt) (Result, error)
	attempts []Attempt
	working  map[batch.ID]int
	most     int // calls at once
	twice    []batch.ID
}

var _ Destination = (*destination)(nil)

func newDestination(deliver func(context.Context, Attempt) (Result, error)) *destination {
	return &destination{deliver: deliver, working: map[batch.ID]int{}}
}

func (d *destination) Deliver(ctx context.Context, a Attempt) (Result, error) {
	id := a.Batch.ID()
	d.mu.Lock()
	d.attempts = append(d.attempts, a)
	if d.working[id]++; d.working[id] > 1 {
		d.twice = append(d.twice, id)
	}
	calls := 0
	for _, n := range d.working {
		calls += n
	}
	d.most = max(d.most, calls)
	deliver := d.deliver
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.working[id]--
		d.mu.Unlock()
	}()
	return deliver(ctx, a)
}

func (d *destination) does(deliver func(context.Context, Attempt) (Result, error)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deliver = deliver
}

// tell hands an attempt to a test. A test that has failed takes none, and its runner must end all the same.
func tell(ctx context.Context, attempts chan<- Attempt, a Attempt) {
	select {
	case attempts <- a:
	case <-ctx.Done():
	}
}

// tried returns the attempts at a batch so far.
func (d *destination) tried(id batch.ID) (attempts []Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.attempts {
		if a.Batch.ID() == id {
			attempts = append(attempts, a)
		}
	}
	return attempts
}

// peak returns how many calls there were at once, and which batches were in two hands at a time.
func (d *destination) peak() (most int, twice []batch.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most, d.twice
}

func succeed(_ context.Context, a Attempt) (Result, error) {
	return Result{
		Outcome: batch.Delivered, Location: "s3://bucket/" + string(a.Batch.ID()), Version: a.Stream.Version,
		Records: a.Batch.Records, Bytes: a.Batch.Bytes,
	}, nil
}

// installation is a NATS server, the catalog on it, and one view of that.
type installation struct {
	t       *testing.T
	server  *natstest.Server
	js      jetstream.JetStream
	catalog *catalog.Catalog
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, server: natstest.Start(t)}
	i.js = i.server.JetStream()
	i.prepare()
	var err error
	if i.catalog, err = catalog.Open(t.Context(), i.js); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *installation) prepare() {
	i.t.Helper()
	cfg := broker.Config{NATSURL: i.server.URL(), Replicas: 1, Retention: time.Hour}
	if err := broker.Prepare(i.t.Context(), i.js, cfg, quiet); err != nil {
		i.t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// stream creates a delivery stream.
func (i *installation) stream(name names.Stream) *catalog.DeliveryStream {
	i.t.Helper()
	d := &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), ARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/" + string(name),
		Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 3600, Version: 1,
		Destination: catalog.Destination{ID: "destinationId-000000000001", S3: &types.ExtendedS3DestinationDescription{
			BucketARN:                ptr("arn:aws:s3:::bucket"),
			BufferingHints:           &types.BufferingHints{SizeInMBs: ptr(int32(5)), IntervalInSeconds: ptr(int32(300))},
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: ptr(true)},
		}},
	}
	if err := i.catalog.Create(i.t.Context(), d); err != nil {
		i.t.Fatal(err)
	}
	return d
}

// logging gives a delivery stream other settings of its error log.
func (i *installation) logging(name names.Stream, to *types.CloudWatchLoggingOptions) {
	i.t.Helper()
	_, err := i.catalog.Update(i.t.Context(), name, func(d *catalog.DeliveryStream) error {
		s3 := *d.Destination.S3
		s3.CloudWatchLoggingOptions = to
		d.Replace(catalog.Destination{ID: d.Destination.ID, S3: &s3}, time.Now())
		return nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// reconfigure gives a delivery stream its next version.
func (i *installation) reconfigure(name names.Stream) {
	i.t.Helper()
	_, err := i.catalog.Update(i.t.Context(), name, func(d *catalog.DeliveryStream) error {
		d.Replace(d.Destination, time.Now())
		return nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

func describe(d *catalog.DeliveryStream, n int) batch.Descriptor {
	first := uint64(10*n + 1)
	at := time.Date(2026, 2, 25, 13, 4, n, 0, time.UTC)
	return batch.Descriptor{
		Format: batch.Format, Stream: d.Name, StreamID: d.ID, Version: d.Version, Leg: names.LegS3, First: first, Last: first + 9,
		Messages: 10, Records: 100, Bytes: 1000, Oldest: at, Newest: at.Add(time.Second), Reason: batch.ReasonSize,
	}
}

// cut publishes a batch, as the buffer does.
func (i *installation) cut(d batch.Descriptor) batch.ID {
	i.t.Helper()
	data, err := d.Encode()
	if err != nil {
		i.t.Fatal(err)
	}
	i.publish(names.BatchesSubject(d.Leg, d.Stream, d.Shard), data)
	return d.ID()
}

func (i *installation) publish(subject string, data []byte) {
	i.t.Helper()
	natstest.WaitFor(i.t, "published on "+subject, func() bool {
		_, err := i.js.Publish(i.t.Context(), subject, data)
		return err == nil
	})
}

func testConfig() Config {
	return Config{
		Leg: names.LegS3, LogStream: "S3Delivery",
		Location: func(d *catalog.DeliveryStream) string { return *d.Destination.S3.BucketARN },
		Logging: func(d *catalog.DeliveryStream) *types.CloudWatchLoggingOptions {
			return d.Destination.S3.CloudWatchLoggingOptions
		},
		Workers: 4, PerStream: 2, AckWait: 10 * time.Minute, Grace: time.Minute,
		MinDelay: 5 * time.Millisecond, MaxDelay: 20 * time.Millisecond,
	}
}

// running is a runner that runs, with a connection and a view of its own, as a replica has.
type running struct {
	*Runner
	view     *catalog.View
	conn     *nats.Conn
	registry *prometheus.Registry
	recorder *datapoints.Recorder
	log      *logtest.Lines
	stop     func()
}

func (i *installation) run(cfg Config, d Destination) *running {
	i.t.Helper()
	return i.runOn(i.server.Conn(), cfg, d, nil)
}

// runOn runs a runner on a connection. Each change of the view first waits for gate, if there is one.
func (i *installation) runOn(conn *nats.Conn, cfg Config, d Destination, gate *sync.Mutex) *running {
	i.t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		i.t.Fatal(err)
	}
	c, err := catalog.Open(i.t.Context(), js)
	if err != nil {
		i.t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		i.t.Fatal(err)
	}
	r := &running{conn: conn, registry: prometheus.NewRegistry(), log: new(logtest.Lines)}
	log := textLog(r.log)
	if r.recorder, err = datapoints.NewRecorder("test", r.registry, log); err != nil {
		i.t.Fatal(err)
	}
	r.view = catalog.NewView(c, log)
	r.Runner = NewRunner(cfg, js, r.view, d, NewMetrics("delivery_to_s3", r.registry, r.recorder), log)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		r.view.Run(ctx, func(name names.Stream) {
			if gate != nil {
				gate.Lock()
				defer gate.Unlock()
			}
			r.Changed(ctx, name)
		})
	})
	wg.Go(func() {
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			i.t.Errorf("the runner ended with %v", err)
		}
	})
	r.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	i.t.Cleanup(func() {
		r.stop()
		if i.t.Failed() {
			i.t.Logf("log of a runner:\n%s", r.log)
		}
	})
	return r
}

// entries returns what is in DELIVERIES or ERRORS, decoded by decode.
func entries[T any](i *installation, stream string, decode func([]byte) (T, error)) []T {
	i.t.Helper()
	s, err := i.js.Stream(i.t.Context(), stream)
	if err != nil {
		i.t.Fatal(err)
	}
	state := s.CachedInfo().State
	var all []T
	for seq := state.FirstSeq; seq > 0 && seq <= state.LastSeq; seq++ {
		m, err := s.GetMsg(i.t.Context(), seq)
		if err != nil {
			i.t.Fatal(err)
		}
		entry, err := decode(m.Data)
		if err != nil {
			i.t.Fatal(err)
		}
		all = append(all, entry)
	}
	return all
}

// outcomes returns the entries of DELIVERIES of one batch.
func (i *installation) outcomes(id batch.ID) (found []batch.Delivery) {
	i.t.Helper()
	for _, d := range entries(i, names.DeliveriesStream, batch.DecodeDelivery) {
		if d.Batch == id {
			found = append(found, d)
		}
	}
	return found
}

func (i *installation) awaitOutcome(ids ...batch.ID) {
	i.t.Helper()
	for _, id := range ids {
		natstest.WaitFor(i.t, fmt.Sprintf("an outcome of %s", id), func() bool { return len(i.outcomes(id)) > 0 })
	}
}

// waiting returns how many batches of a delivery stream are not acknowledged.
func (i *installation) waiting(d *catalog.DeliveryStream) int {
	i.t.Helper()
	c, err := i.js.Consumer(i.t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, d.Name, d.ID))
	if err != nil {
		i.t.Fatal(err)
	}
	info := c.CachedInfo()
	return info.NumAckPending + int(info.NumPending)
}

func (i *installation) awaitAllAcknowledged(d *catalog.DeliveryStream) {
	i.t.Helper()
	natstest.WaitFor(i.t, "all batches of "+string(d.Name)+" are acknowledged", func() bool { return i.waiting(d) == 0 })
}
