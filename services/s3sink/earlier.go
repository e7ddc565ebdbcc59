package s3sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
)

// lookBack looks for what an earlier attempt delivered. Under the earlier configurations it is the only protection against
// a second object, so it is done even if JetStream knows of no earlier attempt: its count does not outlive a consumer.
// Under the newest one the condition of the write protects, and looking first saves reading and sending a batch again.
func (t *try) lookBack(ctx context.Context) (*delivery.Result, error) {
	for _, old := range t.previous {
		result, err := t.look(ctx, old)
		if result != nil {
			return result, nil
		}
		if err == nil {
			continue
		}
		// An answer that will not change cannot be waited for. A failure that may pass is waited for, but not until
		// there is nothing left to deliver.
		if over(ctx, err) || !objectstore.Refused(err) && time.Since(t.Batch.Oldest) < t.Stream.Retention()/2 {
			return nil, fmt.Errorf("look for an earlier delivery at %s: %w", old, err)
		}
		t.log.Warn("batch possibly delivered twice: whether it was delivered under an earlier configuration cannot be found out",
			"object", old.String(), "version", old.version, "error", err)
	}
	if t.Number == 1 {
		return nil, nil
	}
	result, err := t.lookHere(ctx)
	overdue := time.Since(t.Batch.Newest) > t.Stream.Retention()
	if err != nil && (objectstore.Refused(err) || overdue) && !over(ctx, err) {
		return nil, nil // the write will tell, or the log that nothing is left to write
	}
	return result, err
}

// over tells that an attempt ends for a reason which has nothing to do with S3.
func over(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, delivery.ErrNotHeld)
}

// lookHere looks under the newest configuration.
func (t *try) lookHere(ctx context.Context) (*delivery.Result, error) {
	for _, here := range []target{t.whole, t.rest} {
		if result, err := t.look(ctx, here); result != nil || err != nil {
			return result, err
		}
	}
	return nil, nil
}

// look returns what an earlier attempt made of the batch at a target, or nil. Unfinished uploads there are aborted first,
// so that a worker which stalled in the middle of one cannot complete it after we looked.
func (t *try) look(ctx context.Context, at target) (*delivery.Result, error) {
	if t.Number > 1 {
		if err := t.Held(); err != nil {
			return nil, err
		}
		t.store.Sweep(ctx, t.object(at, t.Batch))
	}
	found, err := t.store.Look(ctx, t.object(at, t.Batch))
	var other *objectstore.ForeignError
	if found == nil || err != nil {
		if errors.As(err, &other) {
			return nil, nil // the write will tell
		}
		return nil, err
	}
	return t.result(at, found), nil
}
