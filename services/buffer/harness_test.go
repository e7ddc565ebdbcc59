package buffer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
	"hydrant/shared/recordlog"
	"hydrant/shared/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

const patience = 60 * time.Second

// rig is an installation to test the buffer in: a NATS server with everything that ingest and a sink would have made.
type rig struct {
	testing.TB
	nats      *natstest.Server
	js        jetstream.JetStream
	batches   jetstream.Stream
	documents *catalog.Catalog
}

func newRig(t testing.TB, changes ...func(*server.Options)) *rig {
	t.Helper()
	r := &rig{TB: t, nats: natstest.Start(t, changes...)}
	r.js = r.nats.JetStream()
	r.must(broker.Prepare(t.Context(), r.js, r.config().NATS, quiet()))
	var err error
	r.batches, err = r.js.Stream(t.Context(), names.BatchesStream)
	r.must(err)
	r.documents, err = catalog.Open(t.Context(), r.js)
	r.must(err)
	return r
}

func (r *rig) config() Config {
	return Config{
		NATS:        broker.Config{NATSURL: r.nats.URL(), Replicas: 1, Retention: 24 * time.Hour, AllowUnsynced: true},
		ReplayBytes: 10 << 30, StreamSharePercent: 50,
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually polls until what it waits for has come true.
func (r *rig) eventually(what string, come func() bool) {
	r.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !come() {
		select {
		case <-ticker.C:
		case <-deadline:
			r.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// running is a service at work.
type running struct {
	*Service
	rig      *rig
	registry *prometheus.Registry
	logged   *logBuffer
	stop     func()
}

// serve runs a replica of the buffer until the test ends or stop is called.
func (r *rig) serve(changes ...func(*Config)) *running {
	r.Helper()
	return r.serveTelling(nil, changes...)
}

// serveTelling runs a replica that notes what it leaves alone.
func (r *rig) serveTelling(refused *format.Refused, changes ...func(*Config)) *running {
	r.Helper()
	cfg := r.config()
	for _, change := range changes {
		change(&cfg)
	}
	registry, logged := prometheus.NewRegistry(), new(logBuffer)
	s, err := New(cfg, service.Runtime{Log: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: registry, Refused: refused})
	r.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				r.Errorf("the service failed: %v", err)
			}
		case <-time.After(patience):
			r.Error("the service does not end")
		}
		if r.Failed() {
			r.Logf("log of a replica:\n%s", logged)
		}
	})
	r.Cleanup(stop)
	return &running{s, r, registry, logged, stop}
}

// value returns the sum of a metric's series that have all of the labels, and how many there are.
func (s *running) value(name string, labels ...string) (sum float64, series int) {
	families, err := s.registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName()+"="+l.GetValue() == want
				}
				if !found {
					continue next
				}
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			series++
		}
	}
	return sum, series
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Contains(b.buf.Bytes(), []byte(text))
}

// document returns a delivery stream with the hints.
func document(name names.Stream, megabytes, seconds int32) *catalog.DeliveryStream {
	return &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive,
		Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 24 * 60 * 60, Version: 1,
		Destination: catalog.Destination{ID: "destinationId-000000000001", S3: destination(megabytes, seconds)},
	}
}

func destination(megabytes, seconds int32) *types.ExtendedS3DestinationDescription {
	return &types.ExtendedS3DestinationDescription{
		BufferingHints: &types.BufferingHints{SizeInMBs: &megabytes, IntervalInSeconds: &seconds},
	}
}

// create makes a delivery stream as ingest does: its logs, then its document.
func (r *rig) create(d *catalog.DeliveryStream) *catalog.DeliveryStream {
	r.Helper()
	for shard := range names.Shard(d.Shards) {
		r.makeLog(d, shard)
	}
	r.must(r.documents.Create(r.Context(), d))
	return d
}

func (r *rig) makeLog(d *catalog.DeliveryStream, shard names.Shard) {
	r.Helper()
	_, err := r.js.CreateStream(r.Context(), broker.LogConfig(logOf(d, shard), d.Retention(), 1))
	r.must(err)
}

func logOf(d *catalog.DeliveryStream, shard names.Shard) names.Log {
	return names.Log{Stream: d.Name, Shard: shard, ID: d.ID}
}

func keyOf(d *catalog.DeliveryStream) key { return key{names.LegS3, logOf(d, 0)} }

// put stores messages of two records each in shard 0, size bytes a message.
func (r *rig) put(d *catalog.DeliveryStream, messages, size int) {
	r.Helper()
	for range messages {
		r.must(store(r.Context(), r.js, d, 0, size))
	}
}

func store(ctx context.Context, js jetstream.JetStream, d *catalog.DeliveryStream, shard names.Shard, size int) error {
	m := nats.NewMsg(names.RecordsSubject(d.Name, shard))
	m.Data = bytes.Repeat([]byte{'x'}, size)
	m.Header.Set(record.LengthsHeader, string(record.AppendLengths(nil, []int{size / 2, size - size/2})))
	_, err := js.PublishMsg(ctx, m, jetstream.WithExpectStream(logOf(d, shard).JetStream()))
	return err
}

// log returns the state of shard 0.
func (r *rig) log(d *catalog.DeliveryStream) jetstream.StreamState {
	r.Helper()
	s, err := r.js.Stream(r.Context(), logOf(d, 0).JetStream())
	r.must(err)
	return s.CachedInfo().State
}

// purge removes the beginning of shard 0, as expiry does.
func (r *rig) purge(d *catalog.DeliveryStream, upTo uint64) {
	r.Helper()
	s, err := r.js.Stream(r.Context(), logOf(d, 0).JetStream())
	r.must(err)
	r.must(s.Purge(r.Context(), jetstream.WithPurgeSequence(upTo+1)))
}

// publish puts a descriptor on the subject of shard 0, as an earlier run has left it.
func (r *rig) publish(d *catalog.DeliveryStream, id names.StreamID, first, last uint64) uint64 {
	r.Helper()
	data, err := batch.Descriptor{
		Stream: d.Name, StreamID: id, Leg: names.LegS3, Version: 1, First: first, Last: last, Messages: int(last - first + 1),
		Oldest: time.Now(), Newest: time.Now(),
	}.Encode()
	r.must(err)
	ack, err := r.js.Publish(r.Context(), names.BatchesSubject(names.LegS3, d.Name, 0), data)
	r.must(err)
	return ack.Sequence
}

// cut returns the batches of the leg s3 of a shard, oldest first, whatever stream they are of.
func (r *rig) cut(d *catalog.DeliveryStream, shard names.Shard) []batch.Descriptor {
	r.Helper()
	return r.cutOf(d, names.LegS3, shard)
}

func (r *rig) cutOf(d *catalog.DeliveryStream, leg names.Leg, shard names.Shard) []batch.Descriptor {
	r.Helper()
	var found []batch.Descriptor
	subject := names.BatchesSubject(leg, d.Name, shard)
	for sequence := uint64(1); ; {
		m, err := r.batches.GetMsg(r.Context(), sequence, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			if !isNotFound(err) {
				r.Fatal(err)
			}
			return found
		}
		descriptor, err := batch.Decode(m.Data)
		r.must(err)
		found = append(found, descriptor)
		sequence = m.Sequence + 1
	}
}

// awaitCut waits until the batches of shard 0 reach up to a sequence, and returns them after check has seen them.
func (r *rig) awaitCut(d *catalog.DeliveryStream, last uint64) []batch.Descriptor {
	r.Helper()
	return r.awaitShard(d, 0, last)
}

func (r *rig) awaitShard(d *catalog.DeliveryStream, shard names.Shard, last uint64) []batch.Descriptor {
	r.Helper()
	r.awaitLast(d, shard, last)
	found := r.cut(d, shard)
	if err := check(r.Context(), r.js, d.ID, found); err != nil {
		r.Errorf("batches of %s: %v", d.Name, err)
	}
	return found
}

// awaitLeg waits until the batches of a leg of shard 0 reach up to a sequence.
func (r *rig) awaitLeg(d *catalog.DeliveryStream, leg names.Leg, last uint64) {
	r.Helper()
	r.awaitSubject(d, names.BatchesSubject(leg, d.Name, 0), last)
}

func (r *rig) awaitLast(d *catalog.DeliveryStream, shard names.Shard, last uint64) {
	r.Helper()
	r.awaitSubject(d, names.BatchesSubject(names.LegS3, d.Name, shard), last)
}

func (r *rig) awaitSubject(d *catalog.DeliveryStream, subject string, last uint64) {
	r.Helper()
	r.eventually(fmt.Sprintf("batches of %s up to %d", d.Name, last), func() bool {
		m, err := r.batches.GetLastMsgForSubject(r.Context(), subject)
		if err != nil {
			return false
		}
		found, err := batch.Decode(m.Data)
		return err == nil && found.StreamID == d.ID && found.Last >= last
	})
}

// check is the checker: the batches of one log have neither gap nor overlap, and say what the log has.
func check(ctx context.Context, js jetstream.JetStream, id names.StreamID, batches []batch.Descriptor) error {
	next := uint64(0)
	for _, d := range batches {
		if d.StreamID != id {
			continue
		}
		if next != 0 && d.First != next {
			return fmt.Errorf("batch %s does not begin at %d", d.ID(), next)
		}
		next = d.Last + 1
		if d.Last-d.First+1 != uint64(d.Messages)+d.Missing {
			return fmt.Errorf("batch %s has %d messages and misses %d", d.ID(), d.Messages, d.Missing)
		}
		counts, err := recordlog.New(js).Read(ctx, d, func([]byte) error { return nil })
		if err != nil {
			return err
		}
		if !counts.Whole(d) {
			return fmt.Errorf("batch %s says %d messages, %d records, %d bytes; the log has %+v", d.ID(), d.Messages, d.Records, d.Bytes, counts)
		}
	}
	return nil
}

// sink makes the consumer that the sink of a delivery stream would have.
func (r *rig) sink(d *catalog.DeliveryStream) jetstream.Consumer {
	r.Helper()
	return r.sinkOf(d, names.LegS3)
}

func (r *rig) sinkOf(d *catalog.DeliveryStream, leg names.Leg) jetstream.Consumer {
	r.Helper()
	consumer, err := r.batches.CreateOrUpdateConsumer(r.Context(), jetstream.ConsumerConfig{
		Durable:       names.SinkConsumer(leg, d.Name, d.ID),
		FilterSubject: names.LegBatches(leg, d.Name),
		AckPolicy:     jetstream.AckExplicitPolicy,
	})
	r.must(err)
	return consumer
}

// deliver acknowledges so many batches.
func (r *rig) deliver(sink jetstream.Consumer, batches int) {
	r.Helper()
	for range batches {
		m, err := sink.Next()
		r.must(err)
		r.must(m.DoubleAck(r.Context()))
	}
}

func isNotFound(err error) bool { return errors.Is(err, jetstream.ErrMsgNotFound) }
