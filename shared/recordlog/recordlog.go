// Package recordlog reads a batch's records back from the log.
//
// A read yields the messages that are there, in order, and counts them. It does not fail because some are gone: it is for
// the reader to compare Counts with the descriptor before it completes anything, since a range whose beginning has expired
// starts silently at the first message left. A read that ends early because a replica that answered had not caught up is
// found by the same comparison. A log that does not answer is an error.
package recordlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/record"
)

const (
	pullMessages = 1000
	pullBytes    = 2 << 20          // what one pull may hold in memory, and one message more
	pullTime     = 10 * time.Second // a log that is silent for longer does not answer
)

// Log reads record logs.
type Log struct {
	js       jetstream.JetStream
	patience time.Duration // with each answer
}

// New returns a reader of the logs on js.
func New(js jetstream.JetStream) *Log { return &Log{js: js, patience: pullTime} }

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

// Read calls yield with the payload of each message of the batch. The payload is valid until yield returns, which may take
// as long as it likes. An error of yield ends the read and is returned as it is. That the log has no more is no error;
// that it does not answer, or that it is not there, is.
func (l *Log) Read(ctx context.Context, d batch.Descriptor, yield func(payload []byte) error) (Counts, error) {
	r := l.Open(d)
	defer r.Close()
	for {
		payload, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return r.counts, nil
		}
		if err != nil {
			return r.counts, err
		}
		if err := yield(payload); err != nil {
			return r.counts, err
		}
	}
}

var errStalled = errors.New("the log did not answer in time")

// stored returns the sequence of a message of the log, and false for an answer that is JetStream's own. JetStream writes
// its headers after those of the publisher.
func stored(m *nats.Msg) (uint64, bool) {
	values := m.Header.Values(jetstream.SequenceHeader)
	if len(values) == 0 {
		return 0, false
	}
	sequence, err := strconv.ParseUint(values[len(values)-1], 10, 64)
	return sequence, err == nil
}

// endOf reads the answer after the last message.
func endOf(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "204", "404": // the end of the piece; nothing there
		return nil
	case "503":
		return nats.ErrNoResponders
	default:
		return fmt.Errorf("the log answered %q, %q", status, m.Header.Get("Description"))
	}
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
