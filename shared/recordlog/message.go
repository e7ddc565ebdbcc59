package recordlog

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/record"
)

// Message is a message of the log, for those who tell its records apart.
type Message struct {
	Sequence uint64
	Arrived  time.Time // by JetStream's clock
	Payload  []byte    // the records, concatenated
	Lengths  []int     // of the records; they add up to the payload
}

// NextMessage is Next with all that the log knows of the message. Its parts are the caller's from then on.
func (r *Reader) NextMessage(ctx context.Context) (Message, error) {
	m, err := r.message(ctx)
	if err != nil {
		return Message{}, err
	}
	arrived, err := arrival(m)
	if err != nil {
		return Message{}, fmt.Errorf("read %s: message %d: %w", r.stream, r.next-1, err)
	}
	return Message{Sequence: r.next - 1, Arrived: arrived, Payload: m.Data, Lengths: record.Lengths(m.Header, len(m.Data))}, nil
}

// arrival is the last value of its header: JetStream writes its own after those of the publisher.
func arrival(m *nats.Msg) (time.Time, error) {
	values := m.Header.Values(jetstream.TimeStampHeaer)
	if len(values) == 0 {
		return time.Time{}, fmt.Errorf("the log's answer has no %s", jetstream.TimeStampHeaer)
	}
	return time.Parse(time.RFC3339Nano, values[len(values)-1])
}
