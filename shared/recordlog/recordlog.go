// Package recordlog reads a batch's records back from the log.
//
// A read yields the messages that are there, in order, and counts them. It does not fail because some are gone: it is for
// the reader to compare Counts with the descriptor before it completes anything, since a range whose beginning has expired
// starts silently at the first message left. A read that ends early because the server stalled, or because a replica
// that answered had not caught up, is found by the same comparison.
package recordlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"hydrant/shared/batch"
	"hydrant/shared/record"
)

const (
	pullMessages = 1000
	pullBytes    = 4 << 20          // what one pull may hold in memory, and one message more
	pullTime     = 10 * time.Second // a pull that takes longer has failed
)

// Log reads record logs.
type Log struct {
	js jetstream.JetStream
}

// New returns a reader of the logs on js.
func New(js jetstream.JetStream) *Log { return &Log{js: js} }

// Counts is what a read found.
type Counts struct {
	Messages int
	Records  int
	Bytes    int64

	first, last uint64 // sequences found
}

// Whole reports whether everything of the batch was read.
func (c Counts) Whole(d batch.Descriptor) bool {
	return c.Messages == d.Messages && c.Records == d.Records && c.Bytes == d.Bytes
}

// Survivors reports whether what was read is certain to be all that the log still has of the batch: it reaches the
// batch's end without a hole, so only a beginning is missing, which is how records expire. A read that was cut short
// does not look like that.
func (c Counts) Survivors(d batch.Descriptor) bool {
	return c.Messages > 0 && c.last == d.Last && uint64(c.Messages) == c.last-c.first+1
}

// Gone reports whether the log has nothing left of the batch. It asks the log for its state rather than conclude it from
// an empty read, which a stalled server yields too.
func (l *Log) Gone(ctx context.Context, d batch.Descriptor) (bool, error) {
	stream, err := l.js.Stream(ctx, d.Log().JetStream())
	if err != nil {
		return false, fmt.Errorf("read the state of the record log: %w", err)
	}
	return stream.CachedInfo().State.FirstSeq > d.Last, nil
}

// Read calls yield with the payload of each message of the batch. The payload is valid until yield returns. An error of
// yield ends the read and is returned as it is.
func (l *Log) Read(ctx context.Context, d batch.Descriptor, yield func(payload []byte) error) (Counts, error) {
	var counts Counts
	stream := d.Log().JetStream()
	for next := d.First; next <= d.Last; {
		last, err := l.pull(ctx, stream, next, d, &counts, yield)
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return counts, nil
		}
		if err != nil {
			return counts, err
		}
		next = last + 1
	}
	return counts, nil
}

// pull reads a bounded piece beginning at sequence next, and returns the last sequence it saw.
func (l *Log) pull(ctx context.Context, stream string, next uint64, d batch.Descriptor, counts *Counts, yield func([]byte) error) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTime)
	defer cancel()
	want := int(min(d.Last-next+1, pullMessages))
	messages, err := jetstreamext.GetBatch(ctx, l.js, stream, want, jetstreamext.GetBatchSeq(next), jetstreamext.GetBatchMaxBytes(pullBytes))
	if err != nil {
		return 0, fmt.Errorf("read %s from %d: %w", stream, next, err)
	}
	seen := uint64(0)
	for m, err := range messages {
		if err != nil {
			return 0, fmt.Errorf("read %s from %d: %w", stream, next, err)
		}
		seen = m.Sequence
		if seen > d.Last {
			return seen, nil
		}
		counts.add(m.Sequence, m.Header, len(m.Data))
		if err := yield(m.Data); err != nil {
			return 0, err
		}
	}
	if seen == 0 {
		return 0, jetstreamext.ErrNoMessages
	}
	return seen, nil
}

func (c *Counts) add(sequence uint64, h nats.Header, size int) {
	if c.Messages == 0 {
		c.first = sequence
	}
	c.last = sequence
	c.Messages++
	c.Records += record.Count(h, size)
	c.Bytes += int64(size)
}
