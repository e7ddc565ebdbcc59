package delivery

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// consumer is what JetStream knows of those who wait for a delivery stream's batches, once there are any.
func (i *installation) consumer(d *catalog.DeliveryStream) (info *jetstream.ConsumerInfo) {
	i.t.Helper()
	natstest.WaitFor(i.t, "there is a consumer", func() bool {
		c, err := i.js.Consumer(i.t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, d.Name, d.ID))
		if err == nil {
			info = c.CachedInfo()
		}
		return err == nil
	})
	return info
}

// sentInto has JetStream send a batch to the one runner there is, whose connection holds it back from then on.
func (i *installation) sentInto(p *natstest.Proxy, d *catalog.DeliveryStream) {
	i.t.Helper()
	for n := 0; ; n++ {
		natstest.WaitFor(i.t, "it waits", func() bool { return i.consumer(d).NumWaiting > 0 })
		p.Stall()
		i.cut(describe(d, n))
		natstest.WaitFor(i.t, "the pull ends", func() bool { return i.consumer(d).NumWaiting == 0 })
		if i.consumer(d).NumAckPending > 0 {
			return
		}
		i.purge() // the pull was over before
		p.Resume()
	}
}

func (i *installation) purge() {
	i.t.Helper()
	s, err := i.js.Stream(i.t.Context(), names.BatchesStream)
	if err == nil {
		err = s.Purge(i.t.Context())
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// A worker that gets its batch so late that another has it by then leaves it alone. It was stopped, or the network was.
func TestReceivedTooLate(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, func(t *testing.T, ackWait time.Duration) bool {
		i := install(t)
		stream := i.stream("a")
		proxy := i.server.Proxy()
		cfg := testConfig()
		cfg.AckWait, cfg.PerStream = ackWait, 1
		late := newDestination(succeed)
		slept := i.runOn(proxy.Conn(), cfg, late, nil)
		i.sentInto(proxy, stream)

		attempts, goOn := make(chan Attempt), make(chan struct{})
		other := i.run(cfg, newDestination(func(ctx context.Context, a Attempt) (Result, error) {
			tell(ctx, attempts, a)
			<-goOn
			return succeed(ctx, a)
		}))
		a := <-attempts
		proxy.Resume()
		natstest.WaitFor(t, "it waits for another", func() bool { return i.consumer(stream).NumWaiting > 0 })
		if !slept.left() {
			t.Log("it was not received: the machine is slow")
		}
		handed := len(late.tried(a.Batch.ID()))
		kept := a.Held() == nil // what is lost once stays so
		if kept && (handed != 0 || a.Number != 2) {
			t.Errorf("the other has it at attempt %d, and it was handed to the late one %d times", a.Number, handed)
		}
		slept.stop()
		close(goOn)
		i.awaitOutcome(a.Batch.ID())
		i.awaitAllAcknowledged(stream)
		other.stop()
		return kept
	})
}

// left tells whether a batch was left alone.
func (r *running) left() bool { return strings.Contains(r.log.String(), "batch left alone") }

// A batch that comes when nothing has come for longer than the ack wait is held like any other.
func TestReceivedAfterALongWait(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, func(t *testing.T, ackWait time.Duration) bool {
		i := install(t)
		stream := i.stream("a")
		cfg := testConfig()
		cfg.AckWait = ackWait
		held := make(chan error, 10)
		r := i.run(cfg, newDestination(func(ctx context.Context, a Attempt) (Result, error) {
			held <- a.Held()
			return succeed(ctx, a)
		}))
		<-time.After(2 * cfg.AckWait)
		i.awaitOutcome(i.cut(describe(stream, 0)))
		return <-held == nil && !r.left()
	})
}
