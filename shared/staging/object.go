package staging

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
)

// Object is a staged object: what the S3 sink announced of it. Location is s3://bucket/key.
type Object struct {
	batch.Delivery
	Attempt int // how often it had been handed out when it was collected, as far as JetStream remembers; 1 the first time

	// Of the Queue, which guards them.
	messages []*nats.Msg
	told     time.Time // since when, at the latest, JetStream knows that it is held
}

// errNotStaged says that what was announced is no staged object.
var errNotStaged = errors.New("not a staged object")

// decode reads an announcement.
func decode(data []byte) (batch.Delivery, error) {
	d, err := batch.DecodeDelivery(data)
	if err != nil {
		return batch.Delivery{}, err
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(d.Location, "s3://"), "/")
	if d.Batch == "" || d.StreamID == "" || !strings.HasPrefix(d.Location, "s3://") || bucket == "" || key == "" {
		return batch.Delivery{}, fmt.Errorf("%w: %.200q", errNotStaged, data)
	}
	return d, nil
}

// join adds a message of the object. One that was handed out before is replaced: only the newer can be handed back.
func (o *Object) join(m *nats.Msg, meta *nats.MsgMetadata, told time.Time) {
	o.told = told
	for i, other := range o.messages {
		if before, err := other.Metadata(); err == nil && before.Sequence.Stream == meta.Sequence.Stream {
			o.messages[i] = m
			return
		}
	}
	o.messages = append(o.messages, m)
}
