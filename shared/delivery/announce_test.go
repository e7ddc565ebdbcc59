package delivery

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// announcing is a configuration under which what was delivered is announced as a staged object.
func announcing() Config {
	cfg := testConfig()
	cfg.Announce = func(d *catalog.DeliveryStream, entry batch.Delivery) []string {
		if entry.Outcome != batch.Delivered {
			return nil
		}
		return []string{names.StagingSubject(d.Name)}
	}
	return cfg
}

// announced returns what waits in STAGING.
func (i *installation) announced() (found []batch.Delivery) {
	i.t.Helper()
	return entries(i, names.StagingStream, batch.DecodeDelivery)
}

func (i *installation) announcements(id batch.ID) int {
	i.t.Helper()
	n := 0
	for _, entry := range i.announced() {
		if entry.Batch == id {
			n++
		}
	}
	return n
}

// room makes STAGING refuse more than so many messages.
func (i *installation) room(messages int64) {
	i.t.Helper()
	stream, err := i.js.Stream(i.t.Context(), names.StagingStream)
	if err != nil {
		i.t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxMsgs = messages
	if _, err := i.js.UpdateStream(i.t.Context(), config); err != nil {
		i.t.Fatal(err)
	}
}

func TestAnnounced(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	gone := describe(stream, 2).ID()
	i.run(announcing(), newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Batch.ID() == gone {
			return Result{Outcome: batch.Expired, ExpiredRecords: a.Batch.Records}, nil
		}
		return succeed(ctx, a)
	}))
	ids := []batch.ID{i.cut(describe(stream, 0)), i.cut(describe(stream, 1)), i.cut(describe(stream, 2))}
	i.awaitOutcome(ids...)
	i.awaitAllAcknowledged(stream)
	for _, id := range ids[:2] {
		want := i.outcomes(id)
		if got := i.announced(); !slices.Contains(got, want[0]) {
			t.Errorf("announced is %+v, without %+v", got, want[0])
		}
	}
	if n := len(i.announced()); n != 2 {
		t.Errorf("%d are announced, want the two that were delivered", n)
	}
}

// What cannot be announced is not acknowledged, whatever the destination says, and is no outcome yet.
func TestAnnouncementRefused(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	i.room(1)
	i.publish(names.StagingSubject("other"), []byte(`{"format":1}`))
	to := newDestination(succeed)
	r := i.run(announcing(), to)
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "tried several times", func() bool { return len(to.tried(id)) >= 3 })
	if n := i.waiting(stream); n != 1 {
		t.Errorf("%d batches wait, want 1", n)
	}
	if n := len(i.outcomes(id)); n != 0 {
		t.Errorf("%d outcomes are written down", n)
	}
	if !strings.Contains(r.log.String(), "maximum messages exceeded") {
		t.Error("the service's log does not say why")
	}
	i.room(-1)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	if n := i.announcements(id); n != 1 {
		t.Errorf("announced %d times", n)
	}
}

// Whoever dies between the announcement and the acknowledgement, and whoever cannot write the outcome down, leaves a batch
// that is announced again: never one that is not.
func TestAnnouncedWithoutAnOutcome(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	if err := i.js.DeleteStream(t.Context(), names.DeliveriesStream); err != nil {
		t.Fatal(err)
	}
	i.run(announcing(), newDestination(succeed))
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "announced again", func() bool { return i.announcements(id) >= 2 })
	if n := i.waiting(stream); n != 1 {
		t.Errorf("%d batches wait, want 1", n)
	}
	i.prepare()
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

// A publication whose answer is lost is stored or not: the batch is announced once more, under the same id.
func TestAnswerToAnnouncementLost(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	proxy := i.server.Proxy()
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number == 1 {
			proxy.Stall()
		}
		return succeed(ctx, a)
	})
	r := i.runOn(proxy.Conn(), announcing(), to, nil)
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "given up", func() bool { return strings.Contains(r.log.String(), "could not be written down") })
	proxy.Resume()
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	if n := i.announcements(id); n != 2 {
		t.Errorf("announced %d times, want the one that was stored late and the repeat", n)
	}
}

// Who wakes when another has had the batch announces nothing: it may be loaded by now.
func TestLateWorkerDoesNotAnnounce(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	proxy := i.server.Proxy()
	cfg := announcing()
	cfg.AckWait, cfg.Workers, cfg.PerStream = time.Second, 1, 1
	given, wake := make(chan Attempt, 1), make(chan struct{})
	late := i.runOn(proxy.Conn(), cfg, newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		given <- a
		<-wake
		return succeed(ctx, a)
	}), nil)
	id := i.cut(describe(stream, 0))
	a := <-given
	proxy.Stall()
	natstest.WaitFor(t, "not held", func() bool { return a.Held() != nil })
	i.run(cfg, newDestination(succeed))
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	i.load(stream, id)
	proxy.Resume()
	close(wake)
	natstest.WaitFor(t, "the late one has given up", func() bool { return strings.Contains(late.log.String(), "could not be written down") })
	late.stop()
	if n := i.announcements(id); n != 0 {
		t.Errorf("announced %d times when it was loaded already", n)
	}
}

// load takes the one announcement of a batch out of STAGING, as the loading service does.
func (i *installation) load(d *catalog.DeliveryStream, id batch.ID) {
	i.t.Helper()
	if n := i.announcements(id); n != 1 {
		i.t.Fatalf("announced %d times, want 1", n)
	}
	c, err := i.js.CreateConsumer(i.t.Context(), names.StagingStream, jetstream.ConsumerConfig{
		FilterSubject: names.StagingSubject(d.Name), AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := m.DoubleAck(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
}
