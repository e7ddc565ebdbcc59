package buffer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// cursor is the last message on the subject of a leg and shard: how far its batches reach, and what the next one is
// compared with. It is all the state that a leg has.
type cursor struct {
	sequence uint64 // on BATCHES, of whatever is the last message there; 0 when there is none
	found    bool   // the message is a batch of this log; if not, the leg has none yet, or none any more
	last     uint64
	id       batch.ID
}

// readCursor asks the leader of BATCHES, which is never behind: the stream has no direct get.
func readCursor(ctx context.Context, batches jetstream.Stream, leg names.Leg, log names.Log) (cursor, error) {
	m, err := batches.GetLastMsgForSubject(ctx, names.BatchesSubject(leg, log.Stream, log.Shard))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return cursor{}, nil
	}
	if err != nil {
		return cursor{}, fmt.Errorf("read the cursor: %w", err)
	}
	d, err := batch.Decode(m.Data)
	if err != nil {
		return cursor{}, fmt.Errorf("read the cursor, message %d of %s: %w", m.Sequence, names.BatchesStream, err)
	}
	if d.StreamID != log.ID {
		return cursor{sequence: m.Sequence}, nil // of an earlier stream of that name
	}
	return cursor{sequence: m.Sequence, found: true, last: d.Last, id: d.ID()}, nil
}

// hints are what a cutter knows of its delivery stream's configuration.
type hints struct {
	version  int
	bytes    int64
	interval time.Duration
	created  time.Time // of the delivery stream
	since    time.Time // when the leg began
}

// begin is where the next batch of a leg begins.
//
// Without a cursor it is the first message that arrived at or after the leg's beginning. For a leg that is as old as its
// delivery stream this is the beginning of the log: sequence 1 as long as no descriptor can have expired, kept being how
// long they are kept, so that what expired before it was ever cut is counted; and the first one left after that, since
// what is gone was cut while it was there.
func begin(c cursor, h hints, first uint64, kept time.Duration, now time.Time) start {
	switch {
	case c.found:
		return start{sequence: c.last + 1}
	case h.since.After(h.created):
		return start{since: h.since}
	case kept == 0 || now.Sub(h.created)+clockMargin < kept:
		return start{sequence: 1}
	default:
		return start{sequence: max(first, 1)}
	}
}

// clockMargin is how far the clocks of the servers may differ.
const clockMargin = time.Minute
