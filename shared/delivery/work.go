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
	"hydrant/shared/names"
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
	told    atomic.Int64 // when JetStream was last told of the work, in nanoseconds of the process's monotonic clock
	began   time.Time
	quiet   func() // ends the telling
}

func newWork(l *lane, m *message) *work {
	w := &work{lane: l, Runner: l.runner, message: m, attempt: m.attempt(), began: time.Now()}
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
	w.deliver(working)
}

// endAfterGrace ends the work when the grace after the end of the service, or of the lane, is over.
func (w *work) endAfterGrace(stopping, working context.Context, end context.CancelFunc) {
	select {
	case <-stopping.Done():
		pause(working, w.cfg.Grace)
		end()
	case <-working.Done():
	}
}

func (w *work) deliver(ctx context.Context) {
	d, err := batch.Decode(w.message.Data)
	if err != nil {
		w.unreadable(err)
		return
	}
	w.log = w.log.With("batch", d.ID())
	stream, err := w.owner(ctx, d)
	if err != nil {
		w.log.Warn("batch handed back: the catalog cannot be read", "error", err)
		w.putOff(ctx)
		return
	}
	if stream == nil {
		w.log.Info("batch of a deleted delivery stream discarded", "records", d.Records)
		w.acknowledge(ctx)
		return
	}
	result, err := w.destination.Deliver(ctx, Attempt{Batch: d, Stream: stream, Number: w.attempt, Held: w.held})
	if errors.Is(err, ErrNotHeld) {
		w.log.Warn("attempt given up", "error", err) // who has the batch now sees to it
		return
	}
	if err != nil {
		w.fail(ctx, d, stream, classify(ctx, err))
		return
	}
	w.succeed(ctx, d, stream, result)
}

// owner returns the delivery stream that the batch is of, or nil if that is deleted. The view is brought up to date first.
// It may lag behind the buffer's, and behind that of a replica which tried the batch before: a destination can find what an
// earlier attempt did only under a configuration it knows of. That JetStream says it is the first attempt proves nothing:
// this process may have slept since it was told so.
func (w *work) owner(ctx context.Context, d batch.Descriptor) (*catalog.DeliveryStream, error) {
	if err := w.view.Freshen(ctx); err != nil {
		return nil, err
	}
	if err := w.view.Unreadable(d.Stream); err != nil {
		return nil, err
	}
	if stream := w.view.Get(d.Stream); stream != nil && stream.ID == d.StreamID {
		return stream, nil
	}
	return nil, nil
}

// unreadable deals with a message that is no descriptor this build can read. One of a newer version waits for an upgrade;
// anything else was never a batch.
func (w *work) unreadable(err error) {
	w.log.Error("batch handed back: it cannot be read", "error", err)
	w.lane.failed(Permanent, w.attempt)
	w.handBack(w.cfg.MaxDelay)
}

func (w *work) succeed(ctx context.Context, d batch.Descriptor, stream *catalog.DeliveryStream, result Result) {
	entry := batch.Delivery{
		Batch: d.ID(), Stream: d.Stream, StreamID: d.StreamID, Leg: d.Leg, Shard: d.Shard, First: d.First, Last: d.Last,
		Outcome: result.Outcome, Location: result.Location, Version: result.Version,
		Records: result.Records, Bytes: result.Bytes,
		FailedRecords: result.FailedRecords, FailedBytes: result.FailedBytes, FailedLocation: result.FailedLocation,
		ExpiredRecords: result.ExpiredRecords, ExpiredMessages: d.Missing,
		Attempts: w.attempt, Oldest: d.Oldest, Time: time.Now().UTC(),
	}
	faultpoint.Hit("sink.delivered")
	if err := w.writeDown(ctx, entry); err != nil {
		w.log.Warn("batch handed back: its outcome could not be written down", "error", err)
		w.putOff(ctx)
		return
	}
	faultpoint.Hit("sink.before-ack")
	w.acknowledge(ctx)
	w.lane.succeeded()
	w.metrics.delivered(entry)
	level := slog.LevelDebug
	if entry.ExpiredRecords > 0 || entry.ExpiredMessages > 0 {
		level = slog.LevelError
	}
	w.log.Log(ctx, level, "batch "+string(entry.Outcome), "location", entry.Location, "records", entry.Records,
		"bytes", entry.Bytes, "expired_records", entry.ExpiredRecords, "expired_messages", entry.ExpiredMessages,
		"took", time.Since(w.began))
	if level == slog.LevelError {
		w.logExpired(ctx, entry, stream)
	}
	if result.Warning != nil {
		w.warn(ctx, d, stream, result.Warning)
	}
	w.errors.succeeded(ctx, stream)
}

// warn tells the owner of the delivery stream of something that is wrong with a batch which is delivered.
func (w *work) warn(ctx context.Context, d batch.Descriptor, stream *catalog.DeliveryStream, e *Error) {
	entry := w.entry(d, e)
	w.log.Error("batch delivered, but not as the delivery stream asks for", "code", e.Code, "message", e.Message, "error", entry.Detail)
	w.errors.warned(ctx, stream, entry)
}

// entry is the error log entry of an error.
func (w *work) entry(d batch.Descriptor, e *Error) LogEntry {
	return LogEntry{
		Batch: d.ID(), Records: d.Records, Attempt: w.attempt, ErrorCode: e.Code, Message: e.Message, Detail: w.cleaner.detail(e.Err),
		RequestID: w.cleaner.clean(e.RequestID, mostID), HostID: w.cleaner.clean(e.HostID, mostID),
	}
}

// writeDown publishes the outcome. A repeat after a lost answer, by this worker or the next, makes a second entry of the
// same batch id, which readers count once.
func (w *work) writeDown(ctx context.Context, entry batch.Delivery) error {
	data, err := entry.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	_, err = w.js.Publish(ctx, names.DeliveriesSubject(entry.Leg, entry.Stream), data)
	return err
}

// acknowledge waits for JetStream's word that the acknowledgement arrived. If it is lost the batch is delivered again,
// and the destination finds that it has it.
func (w *work) acknowledge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if err := w.message.acknowledge(ctx); err != nil {
		w.log.Warn("acknowledgement not confirmed: the batch may be looked at once more", "error", err)
	}
}

func (w *work) fail(ctx context.Context, d batch.Descriptor, stream *catalog.DeliveryStream, e *Error) {
	if e.Class == ShuttingDown {
		w.log.Info("batch handed back: the service is stopping")
		w.handBack(0)
		return
	}
	delay := time.Duration(0)
	if !w.outdated(stream) {
		delay = w.lane.failed(e.Class, w.attempt)
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
func (w *work) putOff(ctx context.Context) {
	if ctx.Err() != nil {
		w.handBack(0)
		return
	}
	w.handBack(w.lane.failed(Retryable, w.attempt))
}

func (w *work) logExpired(ctx context.Context, entry batch.Delivery, stream *catalog.DeliveryStream) {
	w.errors.lost(ctx, stream, LogEntry{
		Batch: entry.Batch, Records: entry.ExpiredRecords, Attempt: w.attempt, ErrorCode: CodeExpired,
		Message: "Records were not delivered before their retention was over and are lost.",
		Detail:  fmt.Sprintf("%d records, and %d messages that were never counted, had left the log", entry.ExpiredRecords, entry.ExpiredMessages),
	})
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
		sent := time.Since(w.began)
		if err := w.tell(ctx); err == nil {
			w.told.Store(int64(sent))
		} else {
			wait /= 4
		}
		if !pause(ctx, wait) {
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

// held returns ErrNotHeld when so much of the ack wait has passed since JetStream was last told that another worker may
// have the batch soon.
func (w *work) held() error {
	silent := time.Since(w.began) - time.Duration(w.told.Load())
	if silent > w.cfg.AckWait*3/4 {
		return fmt.Errorf("%w: JetStream was not told of the work for %s", ErrNotHeld, silent.Round(time.Millisecond))
	}
	return nil
}
