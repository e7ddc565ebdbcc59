package es

import (
	"context"
	"errors"
	"fmt"
	"io"

	"hydrant/shared/batch"
	"hydrant/shared/recordlog"
)

// read reads the messages of the batch that have, or may have, records which are wanted, and gives each a place in the ledger.
// After it the ledger knows of every message there is, and what has left the log.
func (t *try) read(ctx context.Context, wanted func(ordinal int) bool, visit func(m recordlog.Message, start int) error) error {
	d := t.Batch
	if t.ledger.whole {
		if d.First, d.Last, d.Messages = t.ledger.extent(wanted); d.Messages == 0 {
			return nil
		}
	}
	r := t.records.Open(d)
	defer r.Close()
	first := d.Last + 1
	for {
		m, err := r.NextMessage(ctx)
		if errors.Is(err, io.EOF) {
			return t.account(ctx, d, r.Counts(), first)
		}
		if err != nil {
			return err
		}
		first = min(first, m.Sequence)
		start, err := t.ledger.place(m.Sequence, len(m.Lengths))
		if err != nil {
			return err
		}
		if err := visit(m, start); err != nil {
			return err
		}
	}
}

// account compares what was read of a range, from first on, with what there is to read. A beginning that is missing has
// expired. Anything else that is missing is a read that was cut short, or a hole that nobody can explain, and is read again.
func (t *try) account(ctx context.Context, d batch.Descriptor, counts recordlog.Counts, first uint64) error {
	switch {
	case counts.Messages == d.Messages && (t.ledger.whole || counts.Whole(d)):
		t.ledger.whole = true
		return nil
	case counts.Survivors(d) && counts.Messages < d.Messages:
	case counts.Messages == 0:
		gone, err := t.records.Gone(ctx, d)
		if err != nil {
			return err
		}
		if !gone {
			return &shortError{d, counts}
		}
	default:
		return &shortError{d, counts}
	}
	t.ledger.expire(first)
	t.ledger.whole = true
	return nil
}

// shortError says that the log gave other than what there is.
type shortError struct {
	want batch.Descriptor
	got  recordlog.Counts
}

func (e *shortError) Error() string {
	return fmt.Sprintf("read other than the batch has: %d messages, %d records, %d bytes from %d to %d, where %d messages are",
		e.got.Messages, e.got.Records, e.got.Bytes, e.want.First, e.want.Last, e.want.Messages)
}
