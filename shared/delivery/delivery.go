// Package delivery takes batches to a destination: consuming, retrying, telling JetStream that work goes on, error logs,
// metrics and acknowledging are written here once, for every destination. A destination is one method.
//
// Guarantees:
//   - A batch is acknowledged only after the destination said what became of it and that is on disk in DELIVERIES, and
//     wherever else Config.Announce has it told.
//   - A batch that failed is tried again until the destination gives it an outcome; nothing is dropped. It waits for its
//     next try in JetStream, where it holds no worker.
//   - Where Config.KeepRetries asks for it, an attempt knows since when the batch fails and how far it got, whatever replica
//     tried it before: that is in RETRIES before the batch is handed back, and a batch of which it cannot be read is not tried.
//   - A repeated attempt is made under a configuration no older than that of any attempt before it, whatever the NATS server that is
//     asked still believes; so a destination which looks for what was delivered under the configurations from the batch's to the
//     attempt's misses none. The first attempt is made under the batch's or a newer one. While that cannot be known the batch
//     waits; in a store that is full, where delivery must not wait for what it makes room for, a server's word does.
//   - A delivery stream whose destination fails is probed by one worker at a time, so it costs the others next to nothing.
//
// Not guaranteed: that one worker has a batch at a time. A worker that stalls loses its batch to another after the ack
// wait and may then wake, or be handed the batch only then. Destinations must therefore be idempotent, and ask Attempt.Held,
// which counts from before the batch was asked for, before a step that is not.
//
// What can go wrong between the steps: a lost answer of the destination, a kill before DELIVERIES was written, a lost
// acknowledgement all lead to the batch being delivered again; the destination finds its earlier success, and DELIVERIES
// and what Config.Announce names, may get a second entry of the same batch id, which readers count once.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
)

// Destination delivers batches. Deliver returns what became of the batch; it may be called again for a batch that it
// delivered before, also while another call for it runs elsewhere, and must then find that out. Its error should be an
// *Error; any other counts as retryable. When ctx ends it returns soon, having completed nothing or everything.
type Destination interface {
	Deliver(ctx context.Context, a Attempt) (Result, error)
}

// Attempt is one try to deliver a batch.
type Attempt struct {
	Batch  batch.Descriptor
	Stream *catalog.DeliveryStream // the newest configuration known, no older than the batch's or an earlier attempt's
	Number int                     // 1 at the first delivery to any worker, as far as JetStream, or RETRIES, remembers

	// FailedSince is when an attempt at this batch, by whatever replica, failed first; zero says that none has. Only legs
	// with Config.KeepRetries know it.
	FailedSince time.Time
	// Progress is that of the last Error that had one, as far as it could be kept. It may be that of an older attempt, or
	// missing: what was delivered since then is delivered once more, which a destination must allow for anyway.
	Progress []byte

	// Held returns an error when the batch may meanwhile be another worker's: this process stalled, or could not tell
	// JetStream that it is at work.
	Held func() error
}

// Result is what became of a batch.
type Result struct {
	Outcome        batch.Outcome
	Location       string
	Version        int
	Records        int
	Bytes          int64
	ExpiredRecords int

	// FailedRecords are none of Records: they could not be delivered, and were set aside in the object FailedLocation.
	// Warning then says why.
	FailedRecords  int
	FailedBytes    int64
	FailedLocation string

	// Warning is what the owner of the delivery stream has to know although the batch has its outcome, or nil.
	Warning *Error
}

// Class says what to do about an error.
type Class int

// The classes of errors.
const (
	Retryable    Class = iota // may pass by itself
	Permanent                 // stays until somebody changes a configuration: tried again, at the longest delay
	ShuttingDown              // the attempt was given up because the process stops: handed back at once
)

// Error is a failed attempt.
type Error struct {
	Class   Class
	Code    string // of the guide's list, for example S3.AccessDenied
	Message string // the guide's, for the owner of the delivery stream
	Err     error  // what happened, in the server's words

	RequestID string // of the destination's answer, for those who run it; empty if there was none
	HostID    string // that S3 gives beside it

	// Progress is what the next attempt, of whatever replica, is to be given, at most MostProgress bytes; nil leaves what
	// is kept as it is. Only legs with Config.KeepRetries keep it.
	Progress []byte
}

// MostProgress bounds Error.Progress in bytes. What is larger is not kept: the next attempt has what was kept before, if
// anything.
const MostProgress = 256 << 10

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Code + ": " + e.Message
	}
	return fmt.Sprintf("%s: %v", e.Code, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotHeld is what Attempt.Held returns.
var ErrNotHeld = errors.New("the batch may be another worker's by now")

// internalError is the code for what has none of its own.
const internalError = "InternalError"

// classify reads an error that a destination returned.
func classify(ctx context.Context, err error) *Error {
	var e *Error
	switch {
	case ctx.Err() != nil:
		return &Error{Class: ShuttingDown, Code: internalError, Message: "The service is stopping.", Err: err}
	case errors.As(err, &e):
		return e
	default:
		return &Error{
			Class: Retryable, Code: internalError, Err: err,
			Message: "An internal error occurred while attempting to deliver data. Delivery will be retried.",
		}
	}
}
