package staging

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// Ack waits: one that never runs out in a test, and one that soon does.
const (
	ages = 10 * time.Minute
	soon = time.Second
)

func many() Bound { return Bound{Objects: 100} }

// installation is a NATS server with what Hydrant has on it.
type installation struct {
	*testing.T
	server  *natstest.Server
	js      jetstream.JetStream
	catalog *catalog.Catalog
	log     *logtest.Lines
	rest    time.Duration // of what cannot be read; a minute if 0
}

func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{T: t, server: natstest.Start(t), log: new(logtest.Lines)}
	i.js = i.server.JetStream()
	cfg := broker.Config{NATSURL: i.server.URL(), Replicas: 1, Retention: time.Hour}
	i.must(broker.Prepare(t.Context(), i.js, cfg, discard()))
	var err error
	i.catalog, err = catalog.Open(t.Context(), i.js)
	i.must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", i.log)
		}
	})
	return i
}

func (i *installation) must(err error) {
	i.Helper()
	if err != nil {
		i.Fatal(err)
	}
}

// stream makes a delivery stream.
func (i *installation) stream(name names.Stream) *catalog.DeliveryStream {
	i.Helper()
	d := &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 3600, Version: 1,
	}
	i.must(i.catalog.Create(i.Context(), d))
	return d
}

// remove takes a delivery stream out of the catalog.
func (i *installation) remove(d *catalog.DeliveryStream) {
	i.Helper()
	i.must(i.catalog.Remove(i.Context(), d.Name, d.ID))
}

// staged is the n-th object of a delivery stream, of so many bytes.
func staged(d *catalog.DeliveryStream, n int, size int64) batch.Delivery {
	first := uint64(10*n + 1)
	id := batch.Descriptor{StreamID: d.ID, Leg: names.LegS3, First: first, Last: first + 9}.ID()
	return batch.Delivery{
		Format: batch.Format, Batch: id, Stream: d.Name, StreamID: d.ID, Leg: names.LegS3, First: first, Last: first + 9,
		Outcome: batch.Delivered, Location: fmt.Sprintf("s3://bucket/%s/%d", d.Name, n), Version: 1, Records: 10, Bytes: size, Attempts: 1,
		Oldest: time.Unix(int64(n), 0).UTC(), Time: time.Unix(int64(n)+1, 0).UTC(),
	}
}

// announce announces objects of 100 bytes, as the S3 sink does, and returns their batches.
func (i *installation) announce(d *catalog.DeliveryStream, numbers ...int) (ids []batch.ID) {
	i.Helper()
	for _, n := range numbers {
		entry := staged(d, n, 100)
		data, err := entry.Encode()
		i.must(err)
		i.publish(d, data)
		ids = append(ids, entry.Batch)
	}
	return ids
}

func (i *installation) publish(d *catalog.DeliveryStream, data []byte) {
	i.Helper()
	natstest.WaitFor(i, "announced", func() bool {
		_, err := i.js.Publish(i.Context(), names.StagingSubject(d.Name), data)
		return err == nil
	})
}

// waiting returns how many announcements there are, in hand or not.
func (i *installation) waiting() int {
	i.Helper()
	stream, err := i.js.Stream(i.Context(), names.StagingStream)
	i.must(err)
	return int(stream.CachedInfo().State.Msgs)
}

// replica is a Queue on a connection and with a view of its own, as each process has.
type replica struct {
	*Queue
	*installation
}

// viewOn follows the catalog over a connection until the test ends.
func (i *installation) viewOn(conn *nats.Conn) (jetstream.JetStream, *catalog.View) {
	i.Helper()
	js, err := jetstream.New(conn)
	i.must(err)
	c, err := catalog.Open(i.Context(), js)
	i.must(err)
	view := catalog.NewView(c, discard())
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { view.Run(ctx, func(names.Stream) {}) })
	i.Cleanup(func() { cancel(); following.Wait() })
	return js, view
}

func (i *installation) open(d *catalog.DeliveryStream, ackWait time.Duration) *replica {
	i.Helper()
	return i.openOn(i.server.Conn(), d, ackWait)
}

func (i *installation) openOn(conn *nats.Conn, d *catalog.DeliveryStream, ackWait time.Duration) *replica {
	i.Helper()
	q, err := i.tryOpen(conn, d, ackWait)
	i.must(err)
	i.Cleanup(q.Close)
	return &replica{q, i}
}

func (i *installation) tryOpen(conn *nats.Conn, d *catalog.DeliveryStream, ackWait time.Duration) (*Queue, error) {
	i.Helper()
	js, view := i.viewOn(conn)
	log := slog.New(slog.NewTextHandler(i.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return Open(i.Context(), js, view, d, Config{AckWait: ackWait, Rest: cmp.Or(i.rest, time.Minute)}, log)
}

// collect collects until it has so many objects.
func (r *replica) collect(n int, most Bound) (objects []*Object) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	for len(objects) < n {
		more, err := r.Collect(ctx, most)
		r.must(err)
		objects = append(objects, more...)
	}
	return objects
}

// collecting collects in the background.
func (r *replica) collecting(most Bound) <-chan []*Object {
	collected := make(chan []*Object, 1)
	ctx, cancel := context.WithCancel(r.Context())
	var running sync.WaitGroup
	running.Go(func() {
		objects, err := r.Collect(ctx, most)
		if err == nil {
			collected <- objects
		}
	})
	r.Cleanup(func() { cancel(); running.Wait() })
	return collected
}

// pulls returns how many pulls JetStream knows of.
func (r *replica) pulls() int {
	r.Helper()
	return r.info().NumWaiting
}

func (r *replica) info() *jetstream.ConsumerInfo {
	r.Helper()
	c, err := r.installation.js.Consumer(r.Context(), names.StagingStream, r.consumer)
	r.must(err)
	return c.CachedInfo()
}

func idsOf(objects []*Object) (ids []batch.ID) {
	for _, o := range objects {
		ids = append(ids, o.Batch)
	}
	return ids
}

func (i *installation) wantBatches(what string, objects []*Object, want []batch.ID) {
	i.Helper()
	got := idsOf(objects)
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		i.Errorf("%s: %v, want %v", what, got, want)
	}
}

func numbers(from, to int) (all []int) {
	for n := from; n < to; n++ {
		all = append(all, n)
	}
	return all
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
