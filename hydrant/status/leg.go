package status

import (
	"time"

	"hydrant/shared/names"
)

// Leg is the state of one leg of one delivery stream. Its JSON form is stable: fields are added, never renamed.
type Leg struct {
	Stream names.Stream   `json:"stream"`
	ID     names.StreamID `json:"id,omitempty"`     // of this incarnation of the delivery stream
	Status string         `json:"status,omitempty"` // CREATING, ACTIVE or DELETING
	Leg    names.Leg      `json:"leg,omitempty"`    // s3, es, backup or redshift; absent when the delivery stream has no destination
	Shards int            `json:"shards"`

	Buffered  Buffered `json:"buffered"`
	Pending   Pending  `json:"pending"`
	Delivered Total    `json:"delivered"`
	SetAside  Total    `json:"set_aside"`
	Expired   Expired  `json:"expired"`
	Failing   Failing  `json:"failing"`

	// OldestUndelivered is when the oldest record arrived that is buffered or pending. It is absent, and its age null, when
	// there is none. The age is that at the time of the collection.
	OldestUndelivered        time.Time `json:"oldest_undelivered_at,omitzero"`
	OldestUndeliveredSeconds *int64    `json:"oldest_undelivered_seconds"`

	// Problem says what of the leg could not be read, and why. The numbers do not count it.
	Problem string `json:"problem,omitempty"`
}

// Buffered is what the logs hold that no batch covers yet. Messages is exact.
type Buffered struct {
	Records    int64  `json:"records"`
	Bytes      int64  `json:"bytes"` // of records, as they were put
	Messages   uint64 `json:"messages"`
	LowerBound bool   `json:"lower_bound"` // there are more records and bytes than were counted
}

// Pending is the batches that are cut and have no outcome. Those of the leg redshift are the objects that the leg s3 has staged
// and that are not loaded yet.
type Pending struct {
	Batches    int64 `json:"batches"`
	Records    int64 `json:"records"`
	Bytes      int64 `json:"bytes"`       // of records, before compression
	LowerBound bool  `json:"lower_bound"` // there are more than were counted
}

// Total is what was delivered, or set aside, in the time that the collection covers, and of how many batches. One of which
// some records were delivered and others set aside counts as a batch of both; a record is in one.
type Total struct {
	Batches int64 `json:"batches"`
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"` // of records, before compression
}

// Expired is what left the logs before it was delivered, in the time that the collection covers. Messages were gone before
// their records were counted; each held one record or more.
type Expired struct {
	Records  int64  `json:"records"`
	Messages uint64 `json:"messages"`
}

// Failing is the pending batches that were tried without success, as far as it is known: those that were given to a worker
// more than once, or one of which the error log tells. The error is the newest in the delivery stream's error log, if it is
// of this leg and recent. LoggingOff says that there is none and why: the delivery stream's
// CloudWatchLoggingOptions do not enable it.
type Failing struct {
	Batches          int64     `json:"batches"`
	LastErrorCode    string    `json:"last_error_code,omitempty"`
	LastErrorMessage string    `json:"last_error_message,omitempty"`
	LastErrorAt      time.Time `json:"last_error_at,omitzero"`
	LoggingOff       bool      `json:"logging_off,omitempty"`
}

// undelivered notes a record that waits since at.
func (l *Leg) undelivered(at time.Time) {
	if !at.IsZero() && (l.OldestUndelivered.IsZero() || at.Before(l.OldestUndelivered)) {
		l.OldestUndelivered = at.UTC()
	}
}

// problem notes what could not be read. The first says enough.
func (l *Leg) problem(text string) {
	if l.Problem == "" {
		l.Problem = text
	}
}

func (t *Total) add(records, bytes int64) {
	t.Batches++
	t.Records += records
	t.Bytes += bytes
}
