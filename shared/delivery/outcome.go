package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/faultpoint"
	"hydrant/shared/names"
)

// succeed sees a batch off that has its outcome.
func (w *work) succeed(ctx context.Context, d batch.Descriptor, stream *catalog.DeliveryStream, result Result) {
	entry := w.outcome(d, result)
	faultpoint.Hit("sink.delivered")
	if err := w.writeDown(ctx, entry, stream); err != nil {
		w.putOff(ctx, "its outcome could not be written down", err)
		return
	}
	faultpoint.Hit("sink.before-ack")
	w.acknowledge(ctx)
	w.forget(ctx, d)
	w.lane.succeeded()
	w.metrics.delivered(entry)
	w.logOutcome(ctx, entry, result.Warning)
	if expired(entry) {
		w.logExpired(ctx, entry, stream)
	}
	switch {
	case entry.FailedRecords > 0:
		w.logSetAside(ctx, d, entry, stream, result.Warning)
	case result.Warning != nil:
		w.warn(ctx, d, stream, result.Warning)
	}
	w.errors.succeeded(ctx, stream)
}

func (w *work) outcome(d batch.Descriptor, result Result) batch.Delivery {
	return batch.Delivery{
		Batch: d.ID(), Stream: d.Stream, StreamID: d.StreamID, Leg: d.Leg, Shard: d.Shard, First: d.First, Last: d.Last,
		Outcome: result.Outcome, Location: result.Location, Version: result.Version,
		Records: result.Records, Bytes: result.Bytes,
		FailedRecords: result.FailedRecords, FailedBytes: result.FailedBytes, FailedLocation: result.FailedLocation,
		ExpiredRecords: result.ExpiredRecords, ExpiredMessages: d.Missing,
		Attempts: w.attempt, Oldest: d.Oldest, Time: time.Now().UTC(),
	}
}

func expired(entry batch.Delivery) bool { return entry.ExpiredRecords > 0 || entry.ExpiredMessages > 0 }

func (w *work) logOutcome(ctx context.Context, entry batch.Delivery, why *Error) {
	log, level := w.log, slog.LevelDebug
	if expired(entry) {
		level = slog.LevelError
	}
	if entry.FailedRecords > 0 {
		log, level = log.With("failed_records", entry.FailedRecords, "failed_location", entry.FailedLocation), slog.LevelError
		if why != nil {
			log = log.With("code", why.Code, "error", w.cleaner.detail(why.Err))
		}
	}
	log.Log(ctx, level, "batch "+string(entry.Outcome), "location", entry.Location, "records", entry.Records,
		"bytes", entry.Bytes, "expired_records", entry.ExpiredRecords, "expired_messages", entry.ExpiredMessages,
		"took", time.Since(w.began))
}

// warn tells the owner of the delivery stream of something that is wrong with a batch which is delivered.
func (w *work) warn(ctx context.Context, d batch.Descriptor, stream *catalog.DeliveryStream, e *Error) {
	entry := w.entry(d, e)
	w.log.Error("batch delivered, but not as the delivery stream asks for", "code", e.Code, "message", e.Message, "error", entry.Detail)
	w.errors.warned(ctx, stream, entry)
}

// logSetAside tells the owner of the delivery stream where the records are that could not be delivered, and why. It is
// written like a loss, always: nobody else will see to them.
func (w *work) logSetAside(ctx context.Context, d batch.Descriptor, entry batch.Delivery, stream *catalog.DeliveryStream, why *Error) {
	if why == nil {
		why = &Error{Code: CodeSetAside, Message: "Records could not be delivered and were set aside."}
	}
	told := w.entry(d, why)
	told.Records, told.SetAsideAt = entry.FailedRecords, entry.FailedLocation
	w.errors.lost(ctx, stream, told)
}

func (w *work) logExpired(ctx context.Context, entry batch.Delivery, stream *catalog.DeliveryStream) {
	w.errors.lost(ctx, stream, LogEntry{
		Batch: entry.Batch, Records: entry.ExpiredRecords, Attempt: w.attempt, ErrorCode: CodeExpired,
		Message: "Records were not delivered before their retention was over and are lost.",
		Detail:  fmt.Sprintf("%d records, and %d messages that were never counted, had left the log", entry.ExpiredRecords, entry.ExpiredMessages),
	})
}

// entry is the error log entry of an error.
func (w *work) entry(d batch.Descriptor, e *Error) LogEntry {
	return LogEntry{
		Batch: d.ID(), Records: d.Records, Attempt: w.attempt, ErrorCode: e.Code, Message: e.Message, Detail: w.cleaner.detail(e.Err),
		RequestID: w.cleaner.clean(e.RequestID, mostID), HostID: w.cleaner.clean(e.HostID, mostID),
	}
}

// writeDown publishes the outcome, to DELIVERIES last: an entry there says that all was told. Where one publication is
// refused, or its answer lost, the batch is handed back, and its next outcome is published everywhere once more. That makes
// further entries of the same batch id, which readers count once. A worker that wakes late leaves announcing to whoever has
// the batch now: what it announces may have been dealt with long ago.
func (w *work) writeDown(ctx context.Context, entry batch.Delivery, stream *catalog.DeliveryStream) error {
	data, err := entry.Encode()
	if err != nil {
		return err
	}
	for _, subject := range w.announcements(entry, stream) {
		if err := w.held(); err != nil {
			return err
		}
		if err := w.publish(ctx, subject, data); err != nil {
			return err
		}
		faultpoint.Hit("sink.announced")
	}
	return w.publish(ctx, names.DeliveriesSubject(entry.Leg, entry.Stream), data)
}

func (w *work) announcements(entry batch.Delivery, stream *catalog.DeliveryStream) []string {
	if w.cfg.Announce == nil {
		return nil
	}
	return w.cfg.Announce(stream, entry)
}

func (w *work) publish(ctx context.Context, subject string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if _, err := w.js.Publish(ctx, subject, data); err != nil {
		return fmt.Errorf("publish to %s: %w", subject, err)
	}
	return nil
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

// forget removes what is kept of the batch's failures, now that it has its outcome. What cannot be removed goes with its
// age.
func (w *work) forget(ctx context.Context, d batch.Descriptor) {
	if w.before.revision == 0 {
		return
	}
	if err := w.retries.remove(ctx, d.ID()); err != nil {
		w.log.Debug("what is kept of the batch's failures was not removed", "error", err)
	}
}
