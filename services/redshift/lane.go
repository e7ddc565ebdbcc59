package redshift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/staging"
)

// tidyEvery is how often a lane removes old rows of the ledger.
const tidyEvery = time.Hour

// queue is the staged objects of a delivery stream, as staging.Queue has them: each in the hands of one process at a time, as far as
// that can be known, until it is acknowledged or handed back.
type queue interface {
	Collect(ctx context.Context, most staging.Bound) ([]*staging.Object, error)
	Held(objects ...*staging.Object) error
	Acknowledge(ctx context.Context, objects ...*staging.Object) error
	HandBack(delay time.Duration, objects ...*staging.Object)
	Close()
}

var _ queue = (*staging.Queue)(nil)

// lane loads the objects of one delivery stream: all that wait by then, with one COPY, and then the next.
type lane struct {
	*desk
	stream *catalog.DeliveryStream // as it was when the lane was opened
	cancel context.CancelFunc
	turn   chan struct{}
	log    *slog.Logger
	loader *loader

	failures int // rounds in a row that loaded nothing
	tidied   time.Time
	warned   bool // that the ledger is not permitted
}

func newLane(d *desk, stream *catalog.DeliveryStream, cancel context.CancelFunc) *lane {
	log := d.log.With("stream", stream.Name)
	return &lane{
		desk: d, stream: stream, cancel: cancel, turn: make(chan struct{}, 1), log: log,
		loader: &loader{cfg: d.cfg, ledger: d.ledger, manifests: d.manifests, log: log, now: d.now},
	}
}

// signal ends a rest, because the configuration changed and may have healed what failed.
func (l *lane) signal() {
	select {
	case l.turn <- struct{}{}:
	default:
	}
}

func (l *lane) run(ctx context.Context) {
	defer l.loader.close()
	for ctx.Err() == nil {
		q, err := staging.Open(ctx, l.js, l.view, l.stream, staging.Config{AckWait: l.cfg.AckWait, Rest: l.cfg.RetryMax}, l.log)
		if err == nil {
			l.consume(ctx, q)
			q.Close()
			continue
		}
		if ctx.Err() == nil {
			l.log.Warn("waiting for the staged objects", "error", err)
		}
		l.pause(ctx, time.Second)
	}
}

// consume loads what comes until the queue has to be opened anew, or ctx ends.
func (l *lane) consume(ctx context.Context, q queue) {
	for ctx.Err() == nil {
		collected, err := q.Collect(ctx, l.cfg.bound())
		if err != nil {
			if ctx.Err() == nil {
				l.log.Warn("staged objects not collected", "error", err)
				l.pause(ctx, 100*time.Millisecond)
			}
			return
		}
		l.deliver(ctx, q, collected)
		if l.failures > 0 {
			l.pause(ctx, l.delay(l.failures))
		}
	}
}

// deliver tries each object once, and sees it off. When ctx ends it goes on for the grace, and then hands back what it has.
//
// It begins with a proof of the configuration, also where JetStream says that nobody tried before, since an object may be announced
// twice. What was sent to a database and not answered for is in that one's ledger: tried in the database that the delivery stream had
// before, because a NATS server is behind, it would be loaded there too.
func (l *lane) deliver(ctx context.Context, q queue, collected []*staging.Object) {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-working.Done():
		}
	})()
	if err := l.view.ProveUnlessFull(ctx); err != nil {
		l.putOff(ctx, q, collected, "it is not known where they may have been loaded", err)
		return
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		q.HandBack(0, collected...)
		return
	}
	stream, err := l.newest(working)
	if err != nil || stream == nil {
		l.putOff(working, q, collected, "the delivery stream cannot be read", err)
		return
	}
	objects := l.recall(working, q, collected)
	t := &try{lane: l, queue: q, stream: stream, objects: objects}
	t.run(working)
	if len(collected) < l.cfg.CopyObjects {
		l.tidy(working)
	}
}

// putOff hands objects back for a reason that is not the database's.
func (l *lane) putOff(ctx context.Context, q queue, objects []*staging.Object, why string, err error) {
	if ctx.Err() != nil {
		q.HandBack(0, objects...)
		return
	}
	l.log.Warn("staged objects handed back: "+why, "error", err)
	l.failures++
	q.HandBack(l.delay(l.failures), objects...)
}

// newest is the delivery stream as it is now, so that a corrected setting heals the backlog; nil if it is gone.
func (l *lane) newest(ctx context.Context) (*catalog.DeliveryStream, error) {
	if err := l.view.Freshen(ctx); err != nil {
		return nil, err
	}
	if err := l.view.Unreadable(l.stream.Name); err != nil {
		return nil, err
	}
	if d := l.view.Get(l.stream.Name); wanted(d) && d.ID == l.stream.ID {
		return d, nil
	}
	return nil, nil
}

// recall reads what is kept of the objects' failures. An object of which that cannot be read is not tried: it could start the clock of
// its retries again.
func (l *lane) recall(ctx context.Context, q queue, collected []*staging.Object) (objects []*object) {
	for i, c := range collected {
		var o *object
		kept, err := l.retries.Read(ctx, retryKey(c.Batch))
		if err == nil {
			o, err = recalled(c, kept)
		}
		if errors.Is(err, format.ErrNewer) {
			l.log.Error("staged object handed back: what is kept of its failures cannot be read", "batch", c.Batch, "error", err)
			l.view.Refused.Note(l.failuresThing(), err)
			q.HandBack(l.cfg.RetryMax, c)
			continue
		}
		if err != nil {
			l.log.Warn("staged objects handed back: it is not known whether they failed before", "error", err)
			l.failures++
			q.HandBack(l.delay(l.failures), collected[i:]...)
			return objects
		}
		if kept.Damaged != nil {
			l.log.Error("what is kept of the object's failures is replaced: it cannot be read", "batch", c.Batch, "error", kept.Damaged)
		}
		l.view.Refused.Read(l.failuresThing(), l.cfg.RetryMax)
		objects = append(objects, o)
	}
	return objects
}

// failuresThing is what those who run the service know the failures that are kept as.
func (l *lane) failuresThing() string {
	return fmt.Sprintf("failures of staged objects of delivery stream %s", l.stream.Name)
}

// tidy removes old rows of the ledger, now and then, after all that waited was tried: what is in the ledger, and was not acknowledged,
// was among it. That it fails is of no consequence.
func (l *lane) tidy(ctx context.Context) {
	now := l.now()
	if l.loader.db == nil || !l.loader.probed || l.loader.without || now.Sub(l.tidied) < tidyEvery {
		return
	}
	l.tidied = now
	if err := l.loader.tidy(ctx, l.stream.ID, now); err != nil {
		l.log.Warn("old rows of the ledger not removed", "error", err)
	}
}

// pause waits, until the end of ctx or a change of the configuration at most.
func (l *lane) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-l.turn:
	}
}

// delay is the exponential backoff after the n-th failure, with jitter over half of it.
func (l *lane) delay(n int) time.Duration {
	d := l.cfg.RetryMin << min(max(n-1, 0), 20)
	if d <= 0 || d > l.cfg.RetryMax {
		d = l.cfg.RetryMax
	}
	return d/2 + rand.N(d/2+1)
}
