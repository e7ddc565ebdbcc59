package checker

import (
	"fmt"
	"hash/maphash"
	"sync"
)

// Outcome is what the producer knows of a record.
type Outcome int

const (
	// Unknown is the outcome of a record that was offered and has no clear answer, or none yet.
	Unknown Outcome = iota
	// Acknowledged is the outcome of a record that was answered with a RecordId.
	Acknowledged
	// Refused is the outcome of a record that was answered with an error that says it is not stored.
	Refused
)

// String returns the outcome's name.
func (o Outcome) String() string {
	return [...]string{"without an answer", "acknowledged", "refused"}[o]
}

// Ledger is what the producers know of the records they offered. All methods may be called concurrently.
//
// A record is entered before it is sent, so that a producer which dies in between leaves it there as Unknown.
type Ledger struct {
	seed maphash.Seed

	mu      sync.Mutex
	entries map[Record]*entry
}

type entry struct {
	outcome     Outcome
	form        Form
	discardable bool
	recordID    string
	// The hash stands for the content, which would be too much to keep.
	hash uint64
}

// Counts is how many records of a ledger have each outcome. A discardable record is counted under its outcome as well.
type Counts struct {
	Offered, Acknowledged, Refused, Unknown, Discardable int
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{seed: maphash.MakeSeed(), entries: make(map[Record]*entry)}
}

// Offer enters a record that is about to be sent. It fails for content that ParseLine refuses and for a record that
// was entered before: offering a record again as a new call may rightly deliver it twice, so nobody could judge it.
func (l *Ledger) Offer(line []byte) (Record, error) {
	record, form, err := parseForm(line)
	if err != nil {
		return Record{}, fmt.Errorf("offered record %.60q: %w", line, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries[record] != nil {
		return Record{}, fmt.Errorf("record %s was offered before", record)
	}
	l.entries[record] = &entry{form: form, hash: l.hash(line)}
	return record, nil
}

// Acknowledge enters that a record was answered with the RecordId.
func (l *Ledger) Acknowledge(record Record, recordID string) error {
	return l.settle(record, Acknowledged, recordID)
}

// Refuse enters that a record was answered with an error that says it is not stored.
func (l *Ledger) Refuse(record Record) error {
	return l.settle(record, Refused, "")
}

// Discard marks every record offered to the delivery stream up to now as one that may be missing in S3, because the
// stream was deleted, and returns how many there are. It is to be called after the stream is gone and before one of the
// same name is made, while records may still be on their way.
func (l *Ledger) Discard(stream string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for record, e := range l.entries {
		if record.Stream == stream {
			e.discardable = true
			n++
		}
	}
	return n
}

// Discardable marks one acknowledged record as one that may be missing in S3.
func (l *Ledger) Discardable(record Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[record]
	if e == nil {
		return fmt.Errorf("record %s was never offered", record)
	}
	e.discardable = true
	return nil
}

// Counts returns how many records have each outcome.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Counts{Offered: len(l.entries)}
	for _, e := range l.entries {
		switch e.outcome {
		case Acknowledged:
			c.Acknowledged++
		case Refused:
			c.Refused++
		case Unknown:
			c.Unknown++
		}
		if e.discardable {
			c.Discardable++
		}
	}
	return c
}

func (l *Ledger) settle(record Record, outcome Outcome, recordID string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[record]
	switch {
	case e == nil:
		return fmt.Errorf("record %s was never offered", record)
	case e.outcome != Unknown:
		return fmt.Errorf("record %s is %s already", record, e.outcome)
	}
	e.outcome, e.recordID = outcome, recordID
	return nil
}

// find returns a copy of what is known of a record.
func (l *Ledger) find(record Record) (entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[record]
	if e == nil {
		return entry{}, false
	}
	return *e, true
}

func (l *Ledger) hash(line []byte) uint64 {
	return maphash.Bytes(l.seed, line)
}
