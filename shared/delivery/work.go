package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/faultpoint"
	"hydrant/shared/format"
	"hydrant/shared/jspull"
	"hydrant/shared/pause"
)

// publishTime is how long writing down an outcome may take before the batch is handed back instead.
const publishTime = 5 * time.Second

// work is one batch in the hands of one worker.
type work struct {
	lane *lane
	*Runner
	message *message
	log     *slog.Logger
	attempt int
	proved  bool                      // that the view was up to date when the batch was in hand
	before  kept                      // of earlier failures, when the attempt began
	told    atomic.Pointer[time.Time] // when JetStream was last told of the work, or asked for the batch
	began   time.Time
	quiet   func() // ends the telling
}

func newWork(l *lane, m *message) *work {
	w := &work{lane: l, Runner: l.runner, message: m, attempt: m.attempt(), began: time.Now()}
	w.told.Store(&m.asked)
	w.log = w.Runner.log.With("stream", l.stream, "leg", w.cfg.Leg, "attempt", w.attempt)
	return w
}

// do sees the batch through: to an outcome, or back to JetStream. When ctx ends it goes on for the grace and then hands
// the batch back.
func (w *work) do(ctx context.Context) {
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	telling, quiet := context.WithCancel(working)
	told := make(chan struct{})
	w.quiet = func() { quiet(); <-told }
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	background.Go(func() { w.endAfterGrace(ctx, working, cancel) })
	background.Go(func() { defer close(told); w.keepTelling(telling) })

	d, err := batch.Decode(w.message.Data)
	if err != nil {
		w.unreadable(err)
		return
	}
	w.log = w.log.With("batch", d.ID())
	if w.lane.givesWay(w.message.sequence()) {
		w.handBack(w.cfg.MinDelay)
		return
	}
	if w.attempt > 1 {
		if err := w.prove(ctx); err != nil {
			w.putOff(ctx, "it is not known where it may have been delivered to", err)
			return
		}
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-ctx.Done():
		w.handBack(0)
		return
	}
	if err := w.held(); err != nil {
		w.log.Warn("batch left alone", "error", err)
		return
	}
	w.deliver(working, d)
}

// endAfterGrace ends the work when the grace after the end of the service, or of the lane, is over.
func (w *work) endAfterGrace(stopping, working context.Context, end context.CancelFunc) {
	select {
	case <-stopping.Done():
		pause.For(working, w.cfg.Grace)
		end()
	case <-working.Done():
	}
}

func (w *work) deliver(ctx context.Context, d batch.Descriptor) {
	stream, err := w.owner(ctx, d)
	if err != nil {
		w.putOff(ctx, "the catalog cannot be read", err)
		return
	}
	if stream == nil {
		w.log.Info("batch of a deleted delivery stream discarded", "records", d.Records)
		w.acknowledge(ctx)
		return
	}
	if err := w.recall(ctx, d); err != nil {
		w.unrecalled(ctx, err)
		return
	}
	result, err := w.destination.Deliver(ctx, Attempt{
		Batch: d, Stream: stream, Number: w.attempt, FailedSince: w.before.FirstFailure, Progress: w.before.Progress, Held: w.held,
	})
	switch {
	case errors.Is(err, ErrNotHeld):
		w.log.Warn("attempt given up", "error", err) // who has the batch now sees to it
		return
	case errors.Is(err, format.ErrNewer): // a failure of this process: the batch's own clock does not start
		w.unreadable(err)
		return
	}
	if err != nil {
		w.fail(ctx, d, stream, classify(ctx, err))
		return
	}
	w.view.Refused.Read(w.lane.thing(), w.cfg.MaxDelay)
	w.succeed(ctx, d, stream, result)
}

// prove brings the view up to date by proof. A batch that was tried before may be where the newest configuration had it delivered to,
// and is looked for there if the view has that configuration, and nowhere else. While NATS proves nothing the batch waits.
//
// It is done before the worker takes a slot, and holds for the attempt: as long as the batch is held nobody else tries it.
func (w *work) prove(ctx context.Context) error {
	err := w.view.ProveUnlessFull(ctx)
	w.proved = err == nil
	return err
}

// owner returns the delivery stream that the batch is of, or nil if that is deleted. The view is brought up to date first.
// It may lag behind the buffer's: a destination looks for what an earlier attempt did under the batch's version and those after it, so
// that none must be made under one before it. A document that is older than its batches all the same is one that was restored.
func (w *work) owner(ctx context.Context, d batch.Descriptor) (*catalog.DeliveryStream, error) {
	if err := w.view.Freshen(ctx); err != nil {
		return nil, err
	}
	stream, err := w.known(d)
	if stream == nil || stream.Version >= d.Version || w.proved {
		return stream, err
	}
	if err := w.prove(ctx); err != nil {
		return nil, err
	}
	return w.known(d)
}

func (w *work) known(d batch.Descriptor) (*catalog.DeliveryStream, error) {
	if err := w.view.Unreadable(d.Stream); err != nil {
		return nil, err
	}
	if stream := w.view.Get(d.Stream); stream != nil && stream.ID == d.StreamID {
		return stream, nil
	}
	return nil, nil
}

// recall reads what is kept of the batch's earlier failures. It does so at what JetStream says is the first attempt as
// well: a consumer that was made anew counts from 1.
func (w *work) recall(ctx context.Context, d batch.Descriptor) (err error) {
	if w.retries == nil {
		return nil
	}
	if w.before, err = w.retries.read(ctx, d.ID()); err != nil {
		return err
	}
	if w.before.damaged != nil {
		w.log.Error("what is kept of the batch's failures is replaced: it cannot be read", "first_failure", w.before.FirstFailure, "error", w.before.damaged)
	}
	w.attempt = max(w.attempt, w.before.Attempts+1)
	return nil
}

// unrecalled hands the batch back because nobody knows whether it failed before. An attempt all the same could start the
// clock of its retries again.
func (w *work) unrecalled(ctx context.Context, err error) {
	if errors.Is(err, format.ErrNewer) {
		w.unreadable(err)
		return
	}
	w.putOff(ctx, "it is not known whether it failed before", err)
}

// keep writes down that the attempt failed, for the next one. A batch of which that cannot be written is tried again all
// the same.
func (w *work) keep(ctx context.Context, d batch.Descriptor, e *Error) {
	if w.retries == nil {
		return
	}
	next := retry{Stream: d.Stream, Attempts: w.attempt, Progress: w.before.Progress}
	if len(e.Progress) > MostProgress {
		w.log.Warn("progress of the attempt not kept: it is too large", "bytes", len(e.Progress), "most", MostProgress)
	} else if e.Progress != nil {
		next.Progress = e.Progress
	}
	switch err := w.retries.write(ctx, d.ID(), w.before, next); {
	case errors.Is(err, errOvertaken):
		w.log.Debug("failure not kept", "error", err)
	case err != nil:
		w.log.Warn("failure not kept: the batch may be retried for longer", "error", err)
	}
	faultpoint.Hit("sink.kept")
}

// unreadable deals with a message that is no descriptor this build can read, or whose retries it cannot read. What is of a
// newer version waits for an upgrade; anything else was never a batch. It says nothing of the destination, so the lane does not rest:
// JetStream hands out again first what is due again, and a lane that rests as long as that would come to nothing else.
func (w *work) unreadable(err error) {
	w.log.Error("batch handed back: it cannot be read", "error", err)
	w.view.Refused.Note(w.lane.thing(), err)
	w.handBack(w.cfg.MaxDelay)
}

func (w *work) fail(ctx context.Context, d batch.Descriptor, stream *catalog.DeliveryStream, e *Error) {
	if e.Class == ShuttingDown {
		w.log.Info("batch handed back: the service is stopping")
		w.handBack(0)
		return
	}
	w.keep(ctx, d, e)
	delay := time.Duration(0)
	if !w.outdated(stream) {
		delay = w.lane.failed(e.Class, w.message.sequence(), w.attempt)
	}
	w.metrics.failed(d, e.Code)
	entry := w.entry(d, e)
	w.log.Warn("delivery failed, will be tried again", "code", e.Code, "error", entry.Detail, "delay", delay)
	w.errors.failed(ctx, stream, entry)
	w.handBack(delay)
}

// outdated tells that the configuration which the attempt was made with is not the newest any more. Its failure then says
// nothing of the next attempt, and must not undo the wake-up that came with the change.
func (w *work) outdated(stream *catalog.DeliveryStream) bool {
	newest := w.view.Get(stream.Name)
	return newest != nil && newest.ID == stream.ID && newest.Version > stream.Version
}

// putOff hands the batch back for a reason that is not its destination's, but holds up all of the lane.
func (w *work) putOff(ctx context.Context, why string, err error) {
	if ctx.Err() != nil {
		w.handBack(0)
		return
	}
	w.log.Warn("batch handed back: "+why, "error", err)
	w.handBack(w.lane.failed(Retryable, w.message.sequence(), w.attempt))
}

// handBack returns the batch to JetStream, to be tried again after delay. If that is lost, the ack wait does the same. A
// batch that may be another worker's is left to that.
func (w *work) handBack(delay time.Duration) {
	w.quiet() // a word of work in progress that arrives after it would undo the delay
	err := w.held()
	if err == nil {
		err = w.message.handBack(delay)
	}
	if err != nil {
		w.log.Debug("batch not handed back, its ack wait will do so", "error", err)
	}
}

// keepTelling tells JetStream that the work goes on until ctx ends, or until it is too late to tell.
func (w *work) keepTelling(ctx context.Context) {
	for {
		// After a stall the batch may be another's: telling of the work now would not bring it back, and would make
		// Held say otherwise.
		if w.held() != nil {
			return
		}
		wait := w.cfg.AckWait / 4
		sent := time.Now()
		if err := w.tell(ctx); err == nil {
			w.told.Store(&sent)
		} else {
			wait /= 4
		}
		if !pause.For(ctx, wait) {
			return
		}
	}
}

// tell tells JetStream of the work. An answer that comes so late that the ack wait may have been over before counts as none.
func (w *work) tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.AckWait/4)
	defer cancel()
	return w.message.inProgress(ctx)
}

// held returns ErrNotHeld when so much of the ack wait has passed since JetStream was last told, or was asked for the batch, that
// another worker may have it soon.
func (w *work) held() error {
	silent := jspull.Since(*w.told.Load())
	if silent > w.cfg.AckWait*3/4 {
		return fmt.Errorf("%w: JetStream was not told of the work for %s", ErrNotHeld, silent.Round(time.Millisecond))
	}
	return nil
}
