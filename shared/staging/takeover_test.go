package staging

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/natstest"
)

// While one loads for longer than the ack wait, it keeps the turn, and another is handed nothing, neither what is being loaded nor
// what came since.
func TestTurnIsKept(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, func(t *testing.T, ackWait time.Duration) bool {
		i := install(t)
		d := i.stream("a")
		first := i.announce(d, 0)
		a := i.open(d, ackWait)
		held := a.collect(1, many())
		i.wantBatches("collected", held, first)
		b := i.open(d, ackWait)
		collected := b.collecting(many())
		natstest.WaitFor(t, "the other waits", func() bool { return b.pulls() > 0 })
		second := i.announce(d, 1, 2)
		if !a.keeps(held, ackWait, collected) {
			return false
		}
		i.must(a.Acknowledge(t.Context(), held...))
		i.wantBatches("the next, by the same", a.collect(2, many()), second)
		a.Close() // hands them back, and gives up the turn
		i.wantBatches("the next, by the other", <-collected, second)
		return true
	})
}

// keeps tells whether the turn and what it brought stay with a replica for three ack waits, and others get nothing meanwhile.
func (r *replica) keeps(held []*Object, ackWait time.Duration, others <-chan []*Object) bool {
	r.Helper()
	turn := r.turn()
	for range 6 {
		select {
		case objects := <-others:
			r.Logf("the other was handed %v", idsOf(objects))
			return false
		case <-time.After(ackWait / 2):
		}
		now, err := r.turn(), r.Held(held...)
		if now != turn || now == "" || err != nil {
			r.Logf("the turn is under the name %q, was %q; held: %v", now, turn, err)
			return false
		}
	}
	return true
}

// turn is the name that JetStream has for who has the turn; empty if nobody has it.
func (r *replica) turn() string {
	r.Helper()
	groups := r.info().PriorityGroups
	if len(groups) != 1 {
		r.Fatalf("groups are %+v", groups)
	}
	return groups[0].PinnedClientID
}

// stalled is a Queue that is in the middle of loading, as one of a process that is stopped: JetStream hears nothing of it.
func (i *installation) stalled(q *replica, p *natstest.Proxy, held []*Object) {
	i.Helper()
	p.Stall()
	natstest.WaitFor(i, "it may be another's", func() bool { return q.Held(held...) != nil })
}

// Who stops loses the turn and what it held. When it wakes it is told so, and can undo nothing.
func TestTakeover(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, takeover)
}

func takeover(t *testing.T, ackWait time.Duration) (kept bool) {
	i := install(t)
	d := i.stream("a")
	proxy := i.server.Proxy()
	a := i.openOn(proxy.Conn(), d, ackWait)
	first := i.announce(d, 0, 1)
	held := a.collect(2, many())
	b := i.open(d, ackWait)
	collected := b.collecting(many())
	i.stalled(a, proxy, held)
	second := i.announce(d, 2)
	taken := <-collected
	if len(taken) < 3 {
		taken = append(taken, b.collect(3-len(taken), many())...)
	}
	if b.Held(taken...) != nil {
		return false
	}
	i.wantBatches("taken over", taken, append(first, second...))
	for _, o := range taken {
		if again := slices.Contains(first, o.Batch); again != (o.Attempt > 1) {
			t.Errorf("%s is at attempt %d", o.Batch, o.Attempt)
		}
	}

	proxy.Resume()
	if err := a.Held(held[0]); !errors.Is(err, ErrNotHeld) {
		t.Errorf("after it woke: %v", err)
	}
	a.end()
	a.telling.Wait()
	before := a.Queue.js.Conn().Stats().OutMsgs
	a.HandBack(0, held...)
	if after := a.Queue.js.Conn().Stats().OutMsgs; after != before {
		t.Error("it handed back what another has")
	}
	last := i.announce(d, 3)
	i.wantBatches("what comes next", b.collect(1, many()), last)
	kept = b.Held(taken...) == nil
	i.must(b.Acknowledge(t.Context(), taken...))
	return kept
}

// Who wakes after it has loaded acknowledges, whoever holds the objects by then. The other's acknowledgement changes nothing.
func TestLateAcknowledgement(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	proxy := i.server.Proxy()
	a := i.openOn(proxy.Conn(), d, soon)
	i.announce(d, 0)
	held := a.collect(1, many())
	i.stalled(a, proxy, held)
	taken := i.open(d, soon).collect(1, many())
	proxy.Resume()
	natstest.WaitFor(t, "acknowledged late", func() bool { return a.Acknowledge(t.Context(), held...) == nil })
	if n := i.waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
	i.must(i.open(d, soon).Acknowledge(t.Context(), taken...))
}

// An acknowledgement whose answer is lost is repeated, by whoever has the object then.
func TestAnswerToAcknowledgementLost(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	proxy := i.server.Proxy()
	a := i.openOn(proxy.Conn(), d, ages)
	ids := i.announce(d, 0, 1)
	held := a.collect(2, many())
	proxy.Stall()
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := a.Acknowledge(short, held...); err == nil {
		t.Error("nobody answered, and it is acknowledged")
	}
	i.must(a.Held(held...))
	if n := i.waiting(); n != len(ids) {
		t.Errorf("%d wait", n)
	}
	proxy.Resume()
	natstest.WaitFor(t, "it is acknowledged", func() bool { return i.waiting() == 0 })
	i.must(a.Acknowledge(t.Context(), held...))
}

// NATS forgets who had the turn, and nothing else.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	ids := i.announce(d, 0, 1)
	a, b := i.open(d, soon), i.open(d, soon)
	held := a.collect(1, Bound{Objects: 1})
	i.server.Restart()
	natstest.WaitFor(t, "the test is connected", i.js.Conn().IsConnected)
	ids = append(ids, i.announce(d, 2)...)
	loaded := map[batch.ID]bool{}
	natstest.WaitFor(t, "what was held can be acknowledged", func() bool { return a.Acknowledge(t.Context(), held...) == nil })
	loaded[held[0].Batch] = true
	for len(loaded) < len(ids) {
		for _, o := range b.collect(1, many()) {
			loaded[o.Batch] = true
			natstest.WaitFor(t, "acknowledged", func() bool { return b.Acknowledge(t.Context(), o) == nil })
		}
		a.Close() // which may have the turn
	}
	if n := i.waiting(); n != 0 {
		t.Errorf("%d wait", n)
	}
}

// Several replicas that load, fail, stall, close and are opened again load each object, and leave nothing.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	var mu sync.Mutex
	loaded := map[batch.ID]int{}
	ids := i.announce(d, numbers(0, 20)...)
	all := func() bool { mu.Lock(); defer mu.Unlock(); return len(loaded) == 60 }
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for seed := range uint64(3) {
		random := rand.New(rand.NewPCG(seed, 7))
		proxy := i.server.Proxy()
		conn := proxy.Conn()
		js, view := i.viewOn(conn)
		running.Go(func() {
			for ctx.Err() == nil {
				q, err := Open(ctx, js, view, d, Config{AckWait: 200 * time.Millisecond, Rest: time.Minute}, discard())
				if err != nil {
					continue
				}
				for ctx.Err() == nil && random.IntN(5) > 0 {
					turn, over := context.WithTimeout(ctx, 500*time.Millisecond)
					objects, _ := q.Collect(turn, Bound{Objects: 1 + random.IntN(8)})
					over()
					for _, o := range objects {
						switch random.IntN(6) {
						case 0:
							q.HandBack(time.Duration(random.IntN(50))*time.Millisecond, o)
						case 1:
							proxy.Stall()
							<-time.After(time.Duration(random.IntN(400)) * time.Millisecond)
							proxy.Resume()
							fallthrough
						default:
							if q.Acknowledge(ctx, o) == nil {
								mu.Lock()
								loaded[o.Batch]++
								mu.Unlock()
							}
						}
					}
				}
				q.Close()
			}
		})
	}
	ids = append(ids, i.announce(d, numbers(10, 60)...)...) // ten of them twice
	natstest.WaitFor(t, "all are loaded", all)
	natstest.WaitFor(t, "nothing waits", func() bool { return i.waiting() == 0 })
	mu.Lock()
	defer mu.Unlock()
	for _, id := range ids {
		if loaded[id] == 0 {
			t.Errorf("%s was never loaded", id)
		}
	}
}
