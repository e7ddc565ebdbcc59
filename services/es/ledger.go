package es

import (
	"fmt"
	"math"
	"sort"
)

// state is what is known of one record: one of the states below, or a reason by its number.
type state uint16

const (
	untried state = iota
	done          // it is in the index
	expired       // it left the log before it was delivered
	firstReason
)

// ledger is what is known of the records of a batch: two bytes for each, and eight for each message. Records are counted in the
// order of the log; a message that has expired since keeps its place.
type ledger struct {
	offsets []uint32 // of messages: the sequence, less that of the batch's first
	starts  []uint32 // the ordinal of each message's first record
	states  []state
	reasons []reason
	numbers map[reason]state // by what is alike in them

	first uint64 // sequence of the batch's beginning
	bytes int64  // of records that are done
	tries int    // passes made, by whatever worker
	whole bool   // every message of the batch that was there is known
}

func newLedger(first uint64) *ledger { return &ledger{first: first, numbers: map[reason]state{}} }

// add makes a place for a message that follows all known ones, and returns its first record's ordinal.
func (l *ledger) add(sequence uint64, records int) (int, error) {
	offset := sequence - l.first
	if sequence < l.first || offset > math.MaxUint32 || len(l.states)+records > math.MaxUint32 {
		return 0, fmt.Errorf("message %d is not of a batch that begins at %d", sequence, l.first)
	}
	start := len(l.states)
	l.offsets, l.starts = append(l.offsets, uint32(offset)), append(l.starts, uint32(start))
	l.states = append(l.states, make([]state, records)...)
	return start, nil
}

// place returns the ordinal of a message's first record. A message that is not known yet gets one if it follows all that are.
func (l *ledger) place(sequence uint64, records int) (int, error) {
	i := l.find(sequence)
	if i == len(l.offsets) {
		return l.add(sequence, records)
	}
	if l.sequence(i) != sequence || l.end(i)-int(l.starts[i]) != records {
		return 0, fmt.Errorf("message %d is not the one that was read before", sequence)
	}
	return int(l.starts[i]), nil
}

// find returns the first message from a sequence on.
func (l *ledger) find(sequence uint64) int {
	return sort.Search(len(l.offsets), func(i int) bool { return l.sequence(i) >= sequence })
}

func (l *ledger) sequence(i int) uint64 { return l.first + uint64(l.offsets[i]) }

// end is the ordinal behind a message's last record.
func (l *ledger) end(i int) int {
	if i+1 < len(l.starts) {
		return int(l.starts[i+1])
	}
	return len(l.states)
}

// pending tells whether a record is to be sent.
func (l *ledger) pending(ordinal int) bool {
	s := l.states[ordinal]
	return s == untried || s >= firstReason && !l.reasons[s-firstReason].Final
}

// failed tells whether a record is to be set aside whatever comes.
func (l *ledger) failed(ordinal int) bool {
	s := l.states[ordinal]
	return s >= firstReason && l.reasons[s-firstReason].Final
}

// reason is why a record is not in the index; nil of one that is, or was not tried.
func (l *ledger) reason(ordinal int) *reason {
	if s := l.states[ordinal]; s >= firstReason {
		return &l.reasons[s-firstReason]
	}
	return nil
}

// fail notes a reason.
func (l *ledger) fail(ordinal int, r reason) { l.states[ordinal] = l.number(r) }

// number finds a reason, or keeps it. Of very many the details are left out.
func (l *ledger) number(r reason) state {
	for _, r := range append([]reason{r}, r.withoutDetail()...) {
		if n, known := l.numbers[r.alike()]; known {
			return n
		}
		if len(l.reasons) < mostReasons {
			return l.keep(r)
		}
	}
	r.Text = fmt.Sprintf("status %d", r.Status)
	if n, known := l.numbers[r]; known {
		return n
	}
	return l.keep(r) // there are not many of those: statuses times passes
}

func (l *ledger) keep(r reason) state {
	n := firstReason + state(len(l.reasons))
	l.reasons, l.numbers[r.alike()] = append(l.reasons, r), n
	return n
}

// tally is the number of records in each state.
type tally struct{ done, pending, failed, expired int }

func (l *ledger) tally() tally {
	var t tally
	for i, s := range l.states {
		switch {
		case s == done:
			t.done++
		case s == expired:
			t.expired++
		case l.pending(i):
			t.pending++
		default:
			t.failed++
		}
	}
	return t
}

// extent returns the sequences of the first and the last message with a record that is wanted.
func (l *ledger) extent(wanted func(ordinal int) bool) (first, last uint64, messages int) {
	from, to := -1, -1
	for i := range l.offsets {
		for ordinal := int(l.starts[i]); ordinal < l.end(i); ordinal++ {
			if wanted(ordinal) {
				if from < 0 {
					from = i
				}
				to = i
				break
			}
		}
	}
	if from < 0 {
		return 0, 0, 0
	}
	return l.sequence(from), l.sequence(to), to - from + 1
}

// expire notes that the messages before a sequence are gone, with what of them was not delivered.
func (l *ledger) expire(before uint64) {
	for i := range l.states[:l.startOf(before)] {
		if l.states[i] != done {
			l.states[i] = expired
		}
	}
}

// startOf is the ordinal of the first record from a sequence on.
func (l *ledger) startOf(sequence uint64) int {
	if i := l.find(sequence); i < len(l.starts) {
		return int(l.starts[i])
	}
	return len(l.states)
}
