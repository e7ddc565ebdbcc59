package delivery

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// What follows is for a destination that no Runner feeds, because it takes many batches at once: first failures, error logs and
// outcomes are kept the same way, and with the same guarantees, as a Runner keeps them.

// Retries is the bucket of first failures.
type Retries struct{ *retries }

// OpenRetries opens the bucket, which must be there.
func OpenRetries(ctx context.Context, js jetstream.JetStream) (Retries, error) {
	r, err := openRetries(ctx, js)
	return Retries{r}, err
}

// Failures is what is kept of the failures of a batch. Its zero value says that no attempt has failed.
type Failures struct {
	Since    time.Time // of the first, by JetStream's clock
	Attempts int       // that were written down
	Progress []byte    // that was written down last
	Damaged  error     // why what was kept could not be read, beyond since when
	before   kept
}

// Any tells whether an attempt has failed.
func (f Failures) Any() bool { return f.before.revision != 0 }

// Read returns what is kept. An error says that nobody knows, never that there is nothing.
func (r Retries) Read(ctx context.Context, id batch.ID) (Failures, error) {
	k, err := r.read(ctx, id)
	return Failures{Since: k.FirstFailure, Attempts: k.Attempts, Progress: k.Progress, Damaged: k.damaged, before: k}, err
}

// Write puts a failure of a delivery stream's batch after those that f has; progress of nil leaves what is kept. Where another
// attempt was written down meanwhile it leaves that as it is, and stored is false.
func (r Retries) Write(ctx context.Context, stream names.Stream, id batch.ID, f Failures, progress []byte) (stored bool, err error) {
	if progress == nil {
		progress = f.Progress
	}
	err = r.write(ctx, id, f.before, retry{Stream: stream, Attempts: f.Attempts + 1, Progress: progress})
	if errors.Is(err, errOvertaken) {
		return false, nil
	}
	return err == nil, err
}

// Remove takes out a batch that has its outcome.
func (r Retries) Remove(ctx context.Context, id batch.ID) error { return r.remove(ctx, id) }

// ErrorLog writes the error logs of delivery streams: a loss always, a failure where the delivery stream has logging enabled, and
// not all of many.
type ErrorLog struct {
	log   *errorLog
	clean cleaner
}

// NewErrorLog returns one. Of cfg it needs LogStream, Location and Logging.
func NewErrorLog(js jetstream.JetStream, cfg Config, log *slog.Logger) *ErrorLog {
	return &ErrorLog{log: newErrorLog(js, cfg, log), clean: newCleaner()}
}

// Entry is that of an error, with its words made fit to be read by the owner of the delivery stream.
func (l *ErrorLog) Entry(e *Error) LogEntry {
	return LogEntry{ErrorCode: e.Code, Message: e.Message, Detail: l.clean.detail(e.Err), RequestID: l.clean.clean(e.RequestID, mostID), HostID: l.clean.clean(e.HostID, mostID)}
}

// Failed writes the entry of a failure that is tried again.
func (l *ErrorLog) Failed(ctx context.Context, d *catalog.DeliveryStream, entry LogEntry) {
	l.log.failed(ctx, d, entry)
}

// Warned writes the entry of something that is wrong with what was delivered.
func (l *ErrorLog) Warned(ctx context.Context, d *catalog.DeliveryStream, entry LogEntry) {
	l.log.warned(ctx, d, entry)
}

// Lost writes the entry of what was not delivered for good.
func (l *ErrorLog) Lost(ctx context.Context, d *catalog.DeliveryStream, entry LogEntry) {
	l.log.lost(ctx, d, entry)
}

// Succeeded writes the last of what was left out, now that no failure follows.
func (l *ErrorLog) Succeeded(ctx context.Context, d *catalog.DeliveryStream) { l.log.succeeded(ctx, d) }

// Forget drops what is known of a delivery stream that is gone.
func (l *ErrorLog) Forget(id names.StreamID) { l.log.forget(id) }

// Close writes the last of what was left out.
func (l *ErrorLog) Close(ctx context.Context) { l.log.close(ctx) }

// WriteDown publishes an outcome. A repeat after a lost answer makes a second entry of the same batch id, which readers count
// once.
func WriteDown(ctx context.Context, js jetstream.JetStream, entry batch.Delivery) error {
	data, err := entry.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	_, err = js.Publish(ctx, names.DeliveriesSubject(entry.Leg, entry.Stream), data)
	return err
}
