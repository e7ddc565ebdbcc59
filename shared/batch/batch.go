// Package batch is what the stages after the record log pass on: the descriptor of a batch, which the buffer publishes,
// and the outcome of its delivery, which a sink publishes.
//
// A descriptor names a range of sequences of one shard, not a copy of the data. Descriptors of a leg and shard are
// contiguous: first = previous last + 1. A batch is the same bytes each time it is read, or it is reported as different:
// a reader compares what it read with the descriptor's counts. Both forms are JSON with a format version; a reader
// refuses a newer version than it knows.
package batch

import (
	"encoding/json"
	"fmt"
	"time"

	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// Format is the version of the forms below that this build writes, and the newest it reads.
const Format = 1

// Reason says why a batch was cut.
type Reason string

// The reasons to cut a batch.
const (
	ReasonSize     Reason = "size"     // the size hint, or the larger effective size of a backlog, was reached
	ReasonInterval Reason = "interval" // the interval hint was reached
	ReasonGap      Reason = "gap"      // everything in the range was gone before it could be cut
	ReasonFormat   Reason = "format"   // the next message is of a format that the buffer does not know
)

// ID names a batch: <stream id>.<leg>.<shard>.<first>-<last>.
type ID string

// Descriptor is a batch.
type Descriptor struct {
	Format   int            `json:"format"`
	Stream   names.Stream   `json:"stream"`
	StreamID names.StreamID `json:"stream_id"`
	Version  int            `json:"version"` // of the delivery stream's configuration when the batch was cut
	Leg      names.Leg      `json:"leg"`
	Shard    names.Shard    `json:"shard"`

	First    uint64 `json:"first"` // sequences of the shard's JetStream stream, inclusive
	Last     uint64 `json:"last"`
	Messages int    `json:"messages"`
	Records  int    `json:"records"`
	Bytes    int64  `json:"bytes"` // of records, before compression

	// Missing counts the messages of the range that had gone from the log before the batch was cut, expired or purged.
	Missing uint64 `json:"missing,omitempty"`

	Oldest time.Time `json:"oldest"` // arrival of the first and the last message there is, by JetStream's clock
	Newest time.Time `json:"newest"`
	Reason Reason    `json:"reason"`

	// RecordFormat is the newest format of the batch's messages (record.Format), and absent where that is 1. A sink that does not
	// know it hands the batch back before it has delivered anything of it.
	RecordFormat int `json:"record_format,omitempty"`
}

// ID returns the batch's name.
func (d Descriptor) ID() ID {
	return ID(fmt.Sprintf("%s.%s.%d.%d-%d", d.StreamID, d.Leg, d.Shard, d.First, d.Last))
}

// Log is the record log that the batch is of.
func (d Descriptor) Log() names.Log {
	return names.Log{Stream: d.Stream, Shard: d.Shard, ID: d.StreamID}
}

// Encode returns the stored form.
func (d Descriptor) Encode() ([]byte, error) {
	d.Format = Format
	return json.Marshal(d)
}

// Decode reads a stored descriptor.
func Decode(data []byte) (Descriptor, error) {
	var d Descriptor
	if err := decode(data, &d); err != nil {
		return Descriptor{}, fmt.Errorf("batch descriptor: %w", err)
	}
	if err := format.Check(d.RecordFormat, record.Format); err != nil {
		return Descriptor{}, fmt.Errorf("batch descriptor: its records were %w", err)
	}
	if d.StreamID == "" || d.Leg == "" || d.First == 0 || d.Last < d.First {
		return Descriptor{}, fmt.Errorf("batch descriptor: not a range of a stream: %.200q", data)
	}
	return d, nil
}

// Outcome says what became of a batch.
type Outcome string

// The outcomes of a batch. A batch leaves the pipeline by exactly one of them.
const (
	Delivered Outcome = "delivered" // all of it, or at least one record while others were set aside or had expired
	SetAside  Outcome = "set_aside" // none of it was delivered, and what was left is in the file of failed records
	Expired   Outcome = "expired"   // nothing of it was left to deliver
)

// Delivery is what a sink publishes to deliveries.<leg>.<stream> before it acknowledges a batch. A crash between the two
// leaves a second entry for the same batch, so readers count a batch id once.
type Delivery struct {
	Format   int            `json:"format"`
	Batch    ID             `json:"batch"`
	Stream   names.Stream   `json:"stream"`
	StreamID names.StreamID `json:"stream_id"`
	Leg      names.Leg      `json:"leg"`
	Shard    names.Shard    `json:"shard"`
	First    uint64         `json:"first"`
	Last     uint64         `json:"last"`

	Outcome  Outcome `json:"outcome"`
	Location string  `json:"location,omitempty"` // s3://bucket/key
	Version  int     `json:"version"`            // of the configuration it was delivered under
	Records  int     `json:"records"`            // delivered
	Bytes    int64   `json:"bytes"`              // of records delivered, before compression

	// FailedRecords could not be delivered and are kept at FailedLocation instead.
	FailedRecords  int    `json:"failed_records,omitempty"`
	FailedBytes    int64  `json:"failed_bytes,omitempty"`
	FailedLocation string `json:"failed_location,omitempty"` // s3://bucket/key

	// ExpiredRecords are of the batch but were gone from the log before they could be delivered; ExpiredMessages were
	// gone before the batch was cut, when nobody had counted the records in them.
	ExpiredRecords  int    `json:"expired_records,omitempty"`
	ExpiredMessages uint64 `json:"expired_messages,omitempty"`

	Attempts int       `json:"attempts"`
	Oldest   time.Time `json:"oldest"`
	Time     time.Time `json:"time"`
}

// Encode returns the stored form.
func (d Delivery) Encode() ([]byte, error) {
	d.Format = Format
	return json.Marshal(d)
}

// DecodeDelivery reads a stored outcome.
func DecodeDelivery(data []byte) (Delivery, error) {
	var d Delivery
	if err := decode(data, &d); err != nil {
		return Delivery{}, fmt.Errorf("delivery: %w", err)
	}
	return d, nil
}

func decode(data []byte, into any) error {
	if err := format.CheckDocument(data, Format); err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
