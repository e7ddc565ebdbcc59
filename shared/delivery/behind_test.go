package delivery

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// behind is a lane by way of a NATS server that leads the catalog, and the installation by way of one of the two others.
type behind struct {
	*installation
	alone *natstest.Server
	links *natstest.Links
	lane  *lane
	to    *destination
	log   logtest.Lines
}

func installBehind(t *testing.T) (*behind, *catalog.DeliveryStream) {
	t.Helper()
	c, links := natstest.StartLinkedCluster(t, 3)
	natstest.WaitFor(t, "the catalog is there", func() bool {
		cfg := broker.Config{NATSURL: c.URL(), Replicas: 3, Retention: time.Hour, AllowUnsynced: true}
		return broker.Prepare(t.Context(), c.JetStream(), cfg, quiet) == nil
	})
	b := &behind{installation: &installation{t: t}, links: links, to: newDestination(succeed)}
	info := b.info(c.JetStream(), broker.CatalogStream)
	for _, s := range c.Servers {
		if s.Name() == info.Cluster.Leader {
			b.alone = s
		} else {
			b.server = s
		}
	}
	b.js = b.server.JetStream()
	var err error
	b.catalog, err = catalog.Open(t.Context(), b.js)
	b.must(err)
	d := b.stream("a")
	b.open(d)
	return b, d
}

func (b *behind) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *behind) info(js jetstream.JetStream, name string) *jetstream.StreamInfo {
	b.t.Helper()
	s, err := js.Stream(b.t.Context(), name)
	b.must(err)
	info, err := s.Info(b.t.Context())
	b.must(err)
	return info
}

// open makes the lane, which fetches nothing by itself.
func (b *behind) open(d *catalog.DeliveryStream) {
	b.t.Helper()
	js := b.alone.JetStream()
	c, err := catalog.Open(b.t.Context(), js)
	b.must(err)
	registry := prometheus.NewRegistry()
	recorder, err := datapoints.NewRecorder("test", registry, quiet)
	b.must(err)
	view := catalog.NewView(c, textLog(&b.log))
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { view.Run(ctx, nil) })
	b.t.Cleanup(func() { cancel(); following.Wait() })
	natstest.WaitFor(b.t, "the view has the delivery stream", func() bool { return view.Get(d.Name) != nil })
	r := NewRunner(testConfig(), js, view, b.to, NewMetrics("delivery_to_s3", registry, recorder), textLog(&b.log))
	b.lane = newLane(r, d.Name, d.ID, cancel)
	batches, err := js.Stream(b.t.Context(), names.BatchesStream)
	b.must(err)
	b.lane.open(b.t.Context(), batches)
}

// pull has the batch with that id handed out.
func (b *behind) pull(id batch.ID, attempt int) *message {
	b.t.Helper()
	var m *message
	natstest.WaitFor(b.t, "handed out: "+string(id), func() (ok bool) {
		consumer := names.SinkConsumer(names.LegS3, b.lane.stream, b.lane.id)
		var err error
		m, err = pull(b.t.Context(), b.lane.runner.js.Conn(), consumer, time.Second)
		return err == nil
	})
	d, err := batch.Decode(m.Data)
	b.must(err)
	if d.ID() != id || m.attempt() != attempt {
		b.t.Fatalf("handed out for the %dth time: %s, want %s for the %dth", m.attempt(), d.ID(), id, attempt)
	}
	return m
}

// run has the lane fetch, until the test ends.
func (b *behind) run() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	batches, err := b.lane.runner.js.Stream(ctx, names.BatchesStream)
	b.must(err)
	var running sync.WaitGroup
	running.Go(func() { b.lane.run(ctx, batches) })
	b.t.Cleanup(func() { cancel(); running.Wait() })
}

// A batch that was tried before, or was cut under a newer configuration than the view's, waits while the NATS server that is asked is
// behind, though that answers looks. Tried where the delivery stream delivered to before, it could be delivered twice: it may have
// been tried under the newest one, and whoever tries it next looks under that.
func TestServerThatIsBehind(t *testing.T) {
	t.Parallel()
	b, d := installBehind(t)
	first, second := describe(d, 0), describe(d, 1)
	second.Version = 2
	b.cut(first)
	b.must(b.pull(first.ID(), 1).handBack(0))
	again := b.pull(first.ID(), 2)
	b.cut(second)
	newer := b.pull(second.ID(), 1)

	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", &b.log)
		}
	})
	b.links.Cut(b.alone.Name())
	natstest.WaitFor(t, "the others store a change", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := b.catalog.Update(ctx, d.Name, func(d *catalog.DeliveryStream) error { d.Version = 2; return nil })
		return err == nil
	})
	if err := b.lane.runner.view.Freshen(t.Context()); err != nil {
		t.Logf("the server knows by now that it is alone: %v", err)
	}
	var working sync.WaitGroup
	for _, m := range []*message{again, newer} {
		working.Go(func() { newWork(b.lane, m).do(t.Context()) })
	}
	working.Wait()
	for _, id := range []batch.ID{first.ID(), second.ID()} {
		if tried := b.to.tried(id); len(tried) != 0 {
			t.Errorf("%s was tried under version %d", id, tried[0].Stream.Version)
		}
	}

	b.links.Heal()
	b.run()
	// Their ack wait, which is long here, does the same: what was said while they were cut off is lost.
	natstest.WaitFor(t, "both are tried", func() bool {
		left := 0
		for id, m := range map[batch.ID]*message{first.ID(): again, second.ID(): newer} {
			if len(b.to.tried(id)) > 0 {
				continue
			}
			left++
			m.conn = b.js.Conn()
			b.must(m.handBack(0))
		}
		return left == 0
	})
	for _, id := range []batch.ID{first.ID(), second.ID()} {
		if version := b.to.tried(id)[0].Stream.Version; version != 2 {
			t.Errorf("%s was tried under version %d", id, version)
		}
	}
}

// marks is how many revisions the catalog has had, proofs among them.
func (i *installation) marks() uint64 {
	i.t.Helper()
	s, err := i.js.Stream(i.t.Context(), broker.CatalogStream)
	if err != nil {
		i.t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}

// What is delivered at the first attempt costs no proof, and what is tried again costs one at most each time.
func TestProofsAreOfRepeats(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	to := newDestination(succeed)
	i.run(testConfig(), to)
	before := i.marks()
	for n := range 10 {
		i.cut(describe(stream, n))
	}
	i.awaitAllAcknowledged(stream)
	if after := i.marks(); after != before {
		t.Errorf("%d marks for batches that were delivered at once", after-before)
	}
	to.does(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number < 3 {
			return Result{}, errors.New("not now")
		}
		return succeed(ctx, a)
	})
	id := i.cut(describe(stream, 10))
	i.awaitAllAcknowledged(stream)
	if after, tried := i.marks(), len(to.tried(id)); after != before+2 || tried != 3 {
		t.Errorf("%d marks for %d attempts", after-before, tried)
	}
}

// A document that is older than its batches was restored. That it is the newest is proved, and they are delivered as it says.
func TestOlderDocumentThanItsBatches(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	to := newDestination(succeed)
	i.run(testConfig(), to)
	before := i.marks()
	d := describe(stream, 0)
	d.Version = 7
	id := i.cut(d)
	i.awaitOutcome(id)
	if tried := to.tried(id); len(tried) != 1 || tried[0].Stream.Version != 1 {
		t.Errorf("it was tried: %+v", tried)
	}
	if after := i.marks(); after != before+1 {
		t.Errorf("%d marks", after-before)
	}
}

// A store that is full takes no mark. What is tried again is tried all the same, and finds room as soon as something makes it.
func TestRepeatsInAFullStore(t *testing.T) {
	t.Parallel()
	const limit = 4 << 20
	i := install(t)
	stream := i.stream("a")
	i.server.LimitAccount(limit)
	full := make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number == 1 {
			<-full
			return Result{}, errors.New("not now")
		}
		return succeed(ctx, a)
	})
	r := i.run(testConfig(), to)
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "in hand", func() bool { return len(to.tried(id)) > 0 })
	i.fill(limit)
	close(full)
	natstest.WaitFor(t, "tried again, and again since the outcome cannot be written down", func() bool { return len(to.tried(id)) > 2 })
	if told := strings.Count(r.log.String(), "since the store is full"); told != 1 {
		t.Errorf("told %d times that the store is full", told)
	}
	if err := i.js.DeleteStream(t.Context(), "FILLER"); err != nil {
		t.Fatal(err)
	}
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

// fill stores until nothing more can be, not even a mark.
func (i *installation) fill(limit int) {
	i.t.Helper()
	cfg := jetstream.StreamConfig{Name: "FILLER", Subjects: []string{"filler"}}
	if _, err := i.js.CreateStream(i.t.Context(), cfg); err != nil {
		i.t.Fatal(err)
	}
	for size := limit / 10; size > 0; size /= 2 {
		for {
			_, err := i.js.Publish(i.t.Context(), "filler", make([]byte, size))
			var refused *jetstream.APIError
			if errors.As(err, &refused) {
				break
			}
			if err != nil {
				i.t.Fatal(err)
			}
		}
	}
}
