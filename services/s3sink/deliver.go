package s3sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
	"hydrant/shared/recordlog"
)

const (
	// survivorTries is how often what survives of a batch is counted and written while more of it expires.
	survivorTries = 4
	// mournAtMost bounds how long a batch of which nothing is left waits for S3 to say whether an earlier attempt took
	// effect. Its descriptor is kept for an hour longer than its records.
	mournAtMost = 30 * time.Minute
)

// destination delivers batches to S3.
type destination struct {
	store        *objectstore.Store
	records      *recordlog.Log
	installation string
	putSize      int64 // of objects that are sent in one request, straight from the log
	leastPart    int64 // that any attempt can have had, by another setting of --part-size too
	encoders     encoders
	log          *slog.Logger
}

var _ delivery.Destination = (*destination)(nil)

// Deliver implements delivery.Destination.
//
// An attempt is safe to repeat, to lose its answer and to be stopped for a minute anywhere: each name is written at most
// once (objectstore.Store.Create says how), and what an earlier attempt wrote under another name, of an earlier configuration or of
// what survived an expiry, is looked for before anything is written.
func (d *destination) Deliver(ctx context.Context, a delivery.Attempt) (delivery.Result, error) {
	if a.Batch.Messages == 0 {
		return delivery.Result{Outcome: batch.Expired, Version: a.Stream.Version, ExpiredRecords: a.Batch.Records}, nil
	}
	t, err := d.newTry(a)
	if err != nil {
		return delivery.Result{}, &delivery.Error{Class: delivery.Permanent, Code: objectstore.CodeInternal, Message: objectstore.Message(objectstore.CodeInternal, called), Err: err}
	}
	result, err := t.deliver(ctx)
	if err != nil {
		return delivery.Result{}, d.store.Classify(t.object(t.whole, t.Batch), err)
	}
	return *result, nil
}

// try is one attempt to deliver one batch.
type try struct {
	*destination
	delivery.Attempt
	log *slog.Logger

	whole, rest target   // what the batch becomes under the newest configuration: all of it, or what survived
	previous    []target // what it may have become under each earlier one, oldest first
}

func (d *destination) newTry(a delivery.Attempt) (*try, error) {
	if a.Batch.Oldest.IsZero() {
		return nil, fmt.Errorf("the descriptor of %s tells of messages and of no arrival", a.Batch.ID())
	}
	t := &try{destination: d, Attempt: a, log: d.log.With("stream", a.Batch.Stream, "batch", a.Batch.ID())}
	var err error
	to := a.Stream.Destination.S3Of(a.Batch.Leg)
	if t.whole, err = newTarget(d.installation, a.Batch, a.Stream.Version, to, wholeBatch); err != nil {
		return nil, err
	}
	if t.rest, err = newTarget(d.installation, a.Batch, a.Stream.Version, to, survivors); err != nil {
		return nil, err
	}
	for _, old := range a.Stream.DestinationsSince(a.Batch.Version) {
		for _, v := range []variant{wholeBatch, survivors} {
			// A destination that cannot be written was never written to.
			if target, err := newTarget(d.installation, a.Batch, old.Version, old.Destination.S3Of(a.Batch.Leg), v); err == nil {
				t.previous = append(t.previous, target)
			}
		}
	}
	return t, nil
}

func (t *try) deliver(ctx context.Context) (*delivery.Result, error) {
	if result, err := t.lookBack(ctx); result != nil || err != nil {
		return result, err
	}
	result, err := t.write(ctx, t.whole, t.Batch)
	var short *shortError
	if errors.As(err, &short) {
		return t.deliverRest(ctx)
	}
	return result, err
}

// deliverRest deals with a batch of which the log gave less than it has: because records expired, because a purge removed
// them, or because the read was cut short.
func (t *try) deliverRest(ctx context.Context) (*delivery.Result, error) {
	counts, err := t.count(ctx)
	if err != nil {
		return nil, err
	}
	if counts.Whole(t.Batch) {
		return t.write(ctx, t.whole, t.Batch)
	}
	if counts.Messages == 0 {
		return t.nothingLeft(ctx)
	}
	if !t.survive(counts) {
		return nil, &shortError{want: t.Batch, got: counts}
	}
	// A name that S3 does not let us ask for is no obstacle if nobody tried before; otherwise the batch might be there.
	result, err := t.lookHere(ctx)
	if result != nil || err != nil && (t.Number > 1 || !objectstore.Refused(err)) {
		return result, err
	}
	return t.writeSurvivors(ctx, counts)
}

// survive tells that counts are of what is left of the batch, and not of a read that went wrong.
func (t *try) survive(counts recordlog.Counts) bool {
	return counts.Survivors(t.Batch) && counts.Messages < t.Batch.Messages
}

// nothingLeft ends a batch that has left the log, unless an earlier attempt turns out to have delivered it.
func (t *try) nothingLeft(ctx context.Context) (*delivery.Result, error) {
	gone, err := t.records.Gone(ctx, t.Batch)
	if err != nil {
		return nil, err
	}
	if !gone {
		return nil, &shortError{want: t.Batch}
	}
	result, err := t.lookHere(ctx)
	if result != nil {
		return result, nil
	}
	if err != nil {
		overdue := time.Since(t.Batch.Newest) - t.Stream.Retention()
		if over(ctx, err) || !objectstore.Refused(err) && overdue < min(mournAtMost, t.Stream.Retention()) {
			return nil, err
		}
		t.log.Warn("batch counted as expired, though S3 could not be asked whether an earlier attempt delivered it", "object", t.whole.String(), "error", err)
	}
	return &delivery.Result{Outcome: batch.Expired, Version: t.Stream.Version, ExpiredRecords: t.Batch.Records}, nil
}

// writeSurvivors writes what is left of the batch under a name of its own. The object's metadata tells what it holds and
// is written before it, so what is read has to be what was counted: if more expired in between, it is counted again.
func (t *try) writeSurvivors(ctx context.Context, counts recordlog.Counts) (*delivery.Result, error) {
	for attempt := 1; ; attempt++ {
		holds := t.Batch
		holds.Messages, holds.Records, holds.Bytes = counts.Messages, counts.Records, counts.Bytes
		result, err := t.write(ctx, t.rest, holds)
		var short *shortError
		if attempt == survivorTries || !errors.As(err, &short) {
			return result, err
		}
		if counts, err = t.count(ctx); err != nil {
			return nil, err
		}
		if !t.survive(counts) {
			return nil, short
		}
	}
}

// count reads the batch for its counts alone.
func (t *try) count(ctx context.Context) (recordlog.Counts, error) {
	return t.records.Read(ctx, t.Batch, func([]byte) error { return nil })
}

// shortError says that the log gave other than what was to be written. Nothing was completed.
type shortError struct {
	want batch.Descriptor
	got  recordlog.Counts
}

func (e *shortError) Error() string {
	return fmt.Sprintf("read fewer records than the batch has: %d messages, %d records, %d bytes of %d, %d, %d",
		e.got.Messages, e.got.Records, e.got.Bytes, e.want.Messages, e.want.Records, e.want.Bytes)
}
