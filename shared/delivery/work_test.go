package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// A worker that takes longer than the ack wait keeps its batch.
func TestSlowDeliveryIsNotDoneTwice(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, func(t *testing.T, ackWait time.Duration) bool {
		i := install(t)
		stream := i.stream("a")
		cfg := testConfig()
		cfg.AckWait = ackWait
		var held atomic.Int64
		to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
			for range 6 { // three times the ack wait
				<-time.After(cfg.AckWait / 2)
				if a.Held() == nil {
					held.Add(1)
				}
			}
			return succeed(ctx, a)
		})
		i.run(cfg, to)
		i.run(cfg, to) // another replica that would take it
		id := i.cut(describe(stream, 0))
		i.awaitOutcome(id)
		i.awaitAllAcknowledged(stream)
		n := len(to.tried(id))
		t.Logf("tried %d times, held at %d of 6 looks", n, held.Load())
		return n == 1 && held.Load() == 6
	})
}

func TestNotHeldWhileNATSIsAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		away   func(i *installation, p *natstest.Proxy)
		resume func(i *installation, p *natstest.Proxy)
	}{
		{
			"stopped", func(i *installation, _ *natstest.Proxy) { i.server.Stop() },
			func(i *installation, _ *natstest.Proxy) {
				i.server.Restart()
				natstest.WaitFor(i.t, "the test is connected", i.js.Conn().IsConnected)
			},
		},
		// The connection takes what is sent, and the client does not know that nobody gets it.
		{"silent", func(_ *installation, p *natstest.Proxy) { p.Stall() }, func(_ *installation, p *natstest.Proxy) { p.Resume() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			natstest.KeptUp(t, func(t *testing.T, ackWait time.Duration) bool {
				i := install(t)
				stream := i.stream("a")
				proxy := i.server.Proxy()
				cfg := testConfig()
				cfg.AckWait = ackWait
				attempts := make(chan Attempt)
				results := make(chan error)
				to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
					tell(ctx, attempts, a)
					return Result{}, <-results
				})
				i.runOn(proxy.Conn(), cfg, to, nil)
				id := i.cut(describe(stream, 0))
				a := <-attempts
				to.does(succeed) // from the next attempt on, which may begin as soon as NATS is back
				held := a.Held() == nil
				c.away(i, proxy)
				natstest.WaitFor(t, "not held", func() bool { return a.Held() != nil })
				c.resume(i, proxy)
				if err := a.Held(); !errors.Is(err, ErrNotHeld) {
					t.Errorf("after NATS is back, when another may have the batch: %v", err)
				}
				results <- fmt.Errorf("given up: %w", a.Held())
				i.awaitOutcome(id)
				i.awaitAllAcknowledged(stream)
				if got := i.outcomes(id); got[0].Attempts < 2 {
					t.Errorf("written down is %+v", got[0])
				}
				if es := i.errors(); len(es) != 0 {
					t.Errorf("the owner of the stream is told of %+v", es)
				}
				return held
			})
		})
	}
}

// A batch that the worker lost does not come back to it by itself.
func TestNotHeldStaysSo(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	proxy := i.server.Proxy()
	cfg := testConfig()
	cfg.AckWait = time.Second
	attempts, goOn := make(chan Attempt), make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number == 1 {
			tell(ctx, attempts, a)
			<-goOn
		}
		return succeed(ctx, a) // as one that does not ask
	})
	i.runOn(proxy.Conn(), cfg, to, nil)
	id := i.cut(describe(stream, 0))
	a := <-attempts
	proxy.Stall()
	natstest.WaitFor(t, "not held", func() bool { return a.Held() != nil })
	<-time.After(cfg.AckWait) // now another may have it
	proxy.Resume()
	<-time.After(cfg.AckWait / 2) // words of work in progress would arrive
	if err := a.Held(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("held again: %v", err)
	}
	close(goOn)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

func TestBatchOfDeletedStreamIsDiscarded(t *testing.T) {
	t.Parallel()
	i := install(t)
	old := i.stream("a")
	if err := i.catalog.Remove(t.Context(), "a", old.ID); err != nil {
		t.Fatal(err)
	}
	stream := i.stream("a")
	stale := i.cut(describe(old, 0))
	id := i.cut(describe(stream, 0))
	to := newDestination(succeed)
	i.run(testConfig(), to)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	if n := len(to.tried(stale)); n != 0 || len(i.outcomes(stale)) != 0 {
		t.Errorf("the batch of the deleted stream was tried %d times", n)
	}
}

// A view that lags is no reason to discard anything, nor to deliver under an old configuration.
func TestBatchThatTheViewDoesNotKnowYet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(i *installation) *catalog.DeliveryStream
	}{
		{"a stream made again", func(i *installation) *catalog.DeliveryStream {
			d, err := i.catalog.Read(i.t.Context(), "a")
			if err != nil {
				i.t.Fatal(err)
			}
			if err := i.catalog.Remove(i.t.Context(), "a", d.ID); err != nil {
				i.t.Fatal(err)
			}
			return i.stream("a")
		}},
		{"a newer version", func(i *installation) *catalog.DeliveryStream {
			i.reconfigure("a")
			d, err := i.catalog.Read(i.t.Context(), "a")
			if err != nil {
				i.t.Fatal(err)
			}
			return d
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			first := i.stream("a")
			to := newDestination(succeed)
			gate := new(gateway)
			r := i.runOn(i.server.Conn(), testConfig(), to, &gate.Mutex)
			i.awaitOutcome(i.cut(describe(first, 0)))

			gate.Lock() // the view stops following at the next change
			i.stream("other")
			natstest.WaitFor(t, "the view stands still", func() bool { return r.view.Get("other") != nil })
			now := c.change(i)
			id := i.cut(describe(now, 1))
			natstest.WaitFor(t, "the batch is in hand", func() bool { return i.handedOut(first) || len(to.tried(id)) > 0 })
			if n := len(to.tried(id)); n != 0 {
				t.Errorf("tried %d times under a configuration that is not known", n)
			}
			gate.Unlock()
			i.awaitOutcome(id)
			for _, a := range to.tried(id) {
				if a.Stream.ID != now.ID || a.Stream.Version != now.Version {
					t.Errorf("delivered as version %d of %s", a.Stream.Version, a.Stream.ID)
				}
			}
		})
	}
}

// handedOut tells that a worker has a batch.
func (i *installation) handedOut(d *catalog.DeliveryStream) bool {
	i.t.Helper()
	c, err := i.js.Consumer(i.t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, d.Name, d.ID))
	if err != nil {
		i.t.Fatal(err)
	}
	return c.CachedInfo().NumAckPending > 0
}

// A document of a newer version is not a deletion: what is to be delivered stays.
func TestBatchOfUnreadableStreamStays(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	kv, err := i.js.KeyValue(t.Context(), names.CatalogBucket)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), stream.Name.Key())
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		<-release
		return succeed(ctx, a)
	})
	cfg := testConfig()
	cfg.Workers, cfg.PerStream = 1, 1
	r := i.run(cfg, to)
	first := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "the first batch is in hand", func() bool { return len(to.tried(first)) > 0 })
	second := i.cut(describe(stream, 1))
	if _, err := kv.Put(t.Context(), stream.Name.Key(), fmt.Appendf(nil, `{"format":%d,"name":"a"}`, catalog.Format+1)); err != nil {
		t.Fatal(err)
	}
	natstest.WaitFor(t, "the view has the newer document", func() bool { return r.view.Unreadable("a") != nil })
	close(release)
	i.awaitOutcome(first)
	natstest.WaitFor(t, "the first batch is acknowledged", func() bool { return i.waiting(stream) == 1 })
	if len(i.outcomes(second)) != 0 || len(to.tried(second)) != 0 {
		t.Error("the second batch was tried")
	}
	if _, err := kv.Put(t.Context(), stream.Name.Key(), entry.Value()); err != nil {
		t.Fatal(err)
	}
	i.awaitOutcome(second)
	i.awaitAllAcknowledged(stream)
}

// An owner that cannot be read is not one that is gone, whatever worker asks.
func TestOwner(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	r := i.run(testConfig(), newDestination(succeed))
	natstest.WaitFor(t, "the view is fresh", func() bool { return r.view.Freshen(t.Context()) == nil })
	kv, err := i.js.KeyValue(t.Context(), names.CatalogBucket)
	if err != nil {
		t.Fatal(err)
	}
	w := &work{Runner: r.Runner, attempt: 1}
	own := func(id names.StreamID, version int) (*catalog.DeliveryStream, error) {
		return w.owner(t.Context(), batch.Descriptor{Stream: "a", StreamID: id, Version: version})
	}
	if d, err := own(stream.ID, 1); err != nil || d == nil {
		t.Errorf("the owner is %+v, %v", d, err)
	}
	if d, err := own("another", 1); err != nil || d != nil {
		t.Errorf("the owner of another incarnation is %+v, %v", d, err)
	}
	if _, err := kv.Put(t.Context(), "a", fmt.Appendf(nil, `{"format":%d}`, catalog.Format+1)); err != nil {
		t.Fatal(err)
	}
	natstest.WaitFor(t, "the view has the newer document", func() bool { return r.view.Unreadable("a") != nil })
	if d, err := own(stream.ID, 1); !errors.Is(err, format.ErrNewer) || d != nil {
		t.Errorf("the owner is %+v, %v", d, err)
	}
	i.server.Stop()
	if d, err := own(stream.ID, 1); err == nil || d != nil {
		t.Errorf("without NATS the owner is %+v, %v", d, err)
	}
	i.server.Restart()
}

// Deliveries that cannot be written down are not acknowledged, whatever the destination says.
func TestOutcomeThatCannotBeWrittenDown(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	if err := i.js.DeleteStream(t.Context(), names.DeliveriesStream); err != nil {
		t.Fatal(err)
	}
	to := newDestination(succeed)
	i.run(testConfig(), to)
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "tried several times", func() bool { return len(to.tried(id)) >= 3 })
	if n := i.waiting(stream); n != 1 {
		t.Errorf("%d batches wait, want 1", n)
	}
	i.prepare()
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

// Records of a newer version are no failure of the destination's: the batch waits, its clock does not start, and nobody is told of
// a failed delivery.
func TestBatchWithNewerRecords(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	to := newDestination(func(context.Context, Attempt) (Result, error) {
		return Result{}, failWithNewer()
	})
	cfg := testConfig()
	cfg.KeepRetries = true
	r := i.run(cfg, to)
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "the batch is tried again", func() bool { return len(to.tried(id)) > 1 })
	if n := i.waiting(stream); n != 1 {
		t.Errorf("%d batches wait, want 1", n)
	}
	for _, a := range to.tried(id) {
		if !a.FailedSince.IsZero() {
			t.Errorf("attempt %d counts from %s", a.Number, a.FailedSince)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "format 2, known up to 1") {
		t.Error("the log does not say why")
	}
}

func failWithNewer() error {
	return &Error{Class: Retryable, Code: "InternalError", Message: "words", Err: fmt.Errorf("read: %w", format.Check(2, 1))}
}

// What nobody can read keeps nobody from the rest, and is not thrown away: a newer version may have written it.
func TestUnreadableBatch(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	subject := names.BatchesSubject(names.LegS3, "a", 0)
	for range 10 {
		i.publish(subject, []byte(`{"format":2,"stream":"a"}`))
		i.publish(subject, []byte(`hello`))
	}
	to := newDestination(succeed)
	r := i.run(testConfig(), to)
	natstest.WaitFor(t, "each has been tried again", func() bool { return strings.Count(r.log.String(), " attempt=3 ") == 20 })
	ids := []batch.ID{i.cut(describe(stream, 0)), i.cut(describe(stream, 1))}
	i.awaitOutcome(ids...)
	natstest.WaitFor(t, "the others are all that waits", func() bool { return i.waiting(stream) == 20 })
	if log := r.log.String(); !strings.Contains(log, "newer version") {
		t.Error("the log does not say why")
	}
	for _, id := range ids {
		if n := len(to.tried(id)); n != 1 {
			t.Errorf("%d attempts at %s, want 1", n, id)
		}
	}
}

// Batches that fail each on its own, whatever for, keep nobody from the rest, nor each other from being tried again, however often they
// were tried while nothing else came.
func TestFailingBatchesGiveWay(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	const failing = 4
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Batch.Last <= 10*failing {
			return Result{}, &Error{Class: Retryable, Code: "S3.AccessDenied", Message: "Access to this one was denied."}
		}
		return succeed(ctx, a)
	})
	i.run(testConfig(), to)
	var bad []batch.ID
	for n := range failing {
		bad = append(bad, i.cut(describe(stream, n)))
	}
	triedAgain := func(times int) {
		t.Helper()
		natstest.WaitFor(t, fmt.Sprint("each is tried ", times, " times"), func() bool {
			return !slices.ContainsFunc(bad, func(id batch.ID) bool { return len(to.tried(id)) < times })
		})
	}
	triedAgain(6)
	i.awaitOutcome(i.cut(describe(stream, failing)))
	triedAgain(9)
}
