package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/jspull"
	"hydrant/shared/names"
	"hydrant/shared/pause"
)

// lane delivers the batches of one delivery stream. Its goroutine fetches; each batch is in the hands of one worker.
type lane struct {
	runner *Runner
	stream names.Stream
	id     names.StreamID
	cancel context.CancelFunc

	mu       sync.Mutex
	working  int             // batches in workers' hands
	failures int             // in a row
	rest     time.Time       // nothing is fetched before
	round    map[uint64]bool // batches that failed in this round, by sequence, and whether they gave way since
	turn     chan struct{}
}

func newLane(r *Runner, stream names.Stream, id names.StreamID, cancel context.CancelFunc) *lane {
	return &lane{runner: r, stream: stream, id: id, cancel: cancel, turn: make(chan struct{}, 1)}
}

func (l *lane) stop() { l.cancel() }

// thing is what Config.Refused knows the lane's batches as.
func (l *lane) thing() string {
	return fmt.Sprintf("batches of delivery stream %s, leg %s", l.stream, l.runner.cfg.Leg)
}

// wake ends a rest, because the configuration changed and may have healed what failed.
func (l *lane) wake() {
	l.mu.Lock()
	l.rest = time.Time{}
	l.mu.Unlock()
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.turn <- struct{}{}:
	default:
	}
}

func (l *lane) run(ctx context.Context, batches jetstream.Stream) {
	var workers sync.WaitGroup
	defer l.runner.view.Refused.Note(l.thing(), nil)
	defer workers.Wait()
	l.open(ctx, batches)
	for ctx.Err() == nil && l.await(ctx) {
		m, err := pull(ctx, l.runner.js.Conn(), names.SinkConsumer(l.runner.cfg.Leg, l.stream, l.id), pullTime(l.runner.cfg.AckWait))
		if err == nil {
			workers.Go(func() {
				defer l.release()
				newWork(l, m).do(ctx)
			})
			continue
		}
		l.release()
		if !errors.Is(err, jspull.ErrOver) {
			pause.For(ctx, 100*time.Millisecond)
		}
		if errors.Is(err, jspull.ErrGone) {
			l.open(ctx, batches)
		}
	}
}

// open makes the consumer, or finds the one of an earlier run. It returns when that is there, or ctx ends.
func (l *lane) open(ctx context.Context, batches jetstream.Stream) {
	for ctx.Err() == nil {
		_, err := batches.CreateOrUpdateConsumer(ctx, l.runner.consumerConfig(l.stream, l.id))
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			l.runner.log.Warn("waiting for the consumer of batches", "stream", l.stream, "error", err)
		}
		pause.For(ctx, time.Second)
	}
}

// await returns when another batch may be fetched, and counts it as in work. A lane whose destination fails rests between
// tries, and has one batch in work at a time.
func (l *lane) await(ctx context.Context) bool {
	for {
		l.mu.Lock()
		limit, rest := l.runner.cfg.PerStream, time.Until(l.rest)
		if l.failures > 0 {
			limit = 1
		}
		if l.working < limit && rest <= 0 {
			l.working++
			l.mu.Unlock()
			return true
		}
		l.mu.Unlock()
		timer := time.NewTimer(max(rest, time.Millisecond))
		if rest <= 0 {
			timer.Stop() // what is awaited is a worker, who signals
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-l.turn:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (l *lane) release() {
	l.mu.Lock()
	l.working--
	l.mu.Unlock()
	l.signal()
}

func (l *lane) succeeded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures, l.rest, l.round = 0, time.Time{}, nil
}

// givesWay tells whether a batch is to be handed back untried, because it has failed in this round and others may wait behind it.
// JetStream hands out first what is due again: two batches that fail each on its own would have every turn of a lane that rests
// between turns. A round is over when one comes for which nobody else is due any more. After a few failures in a row the rests are short,
// and nothing has to give way.
func (l *lane) givesWay(seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	gave, failed := l.round[seq]
	switch {
	case !failed || l.failures < 4:
		return false
	case gave || len(l.round) == 1:
		l.round = nil
		return false
	default:
		l.round[seq] = true
		return true
	}
}

// failed makes the lane rest, and returns how long the batch, which failed for the attempt-th time, should wait. Batches that
// fail beside each other count as one failure.
func (l *lane) failed(class Class, seq uint64, attempt int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.round == nil {
		l.round = map[uint64]bool{}
	}
	l.round[seq] = false
	if now := time.Now(); now.After(l.rest) {
		l.failures++
		l.rest = now.Add(l.runner.delay(l.failures))
	}
	if class == Permanent {
		return jitter(l.runner.cfg.MaxDelay)
	}
	return l.runner.delay(attempt)
}

// delay is the exponential backoff after the n-th failure, with jitter.
func (r *Runner) delay(n int) time.Duration {
	d := r.cfg.MinDelay << min(max(n-1, 0), 20)
	if d <= 0 || d > r.cfg.MaxDelay {
		d = r.cfg.MaxDelay
	}
	return jitter(d)
}

// jitter spreads retries over half of their delay.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
