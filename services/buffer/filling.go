package buffer

import (
	"time"

	"hydrant/shared/batch"
)

const (
	// maxBatchBytes bounds what a batch grows to in a backlog, and is the largest size hint there is.
	maxBatchBytes = 128 << 20
	// maxBatchMessages bounds a batch of small messages, so that one sink can read it in a reasonable time.
	maxBatchMessages = 100_000
)

// filling is the batch that a cutter fills. Its zero value is empty.
type filling struct {
	first, last   uint64
	messages      int
	records       int
	bytes         int64
	format        int       // the newest of the messages'
	oldest        time.Time // arrival, by JetStream's clock
	newest        time.Time
	began         time.Time // when the oldest was read, by the local clock
	pendingAtLast uint64    // messages behind the last one when it was sent
}

func (f *filling) empty() bool { return f.messages == 0 }

// add takes a message in. next is the sequence that the batch has to begin with, or 0 if that is the message's own.
func (f *filling) add(a arrival, next uint64, now time.Time) {
	if f.empty() {
		f.first, f.oldest, f.began = next, a.time, now
		if next == 0 {
			f.first = a.sequence
		}
	}
	f.last, f.newest, f.pendingAtLast = a.sequence, a.time, a.pending
	f.messages++
	f.records += a.records
	f.bytes += a.bytes
	f.format = max(f.format, a.format)
}

// due is when the interval has passed since the oldest message arrived. JetStream's clock and the local one may differ:
// the wait is never longer than the interval.
func (f *filling) due(interval time.Duration) time.Time {
	due, latest := f.oldest.Add(interval), f.began.Add(interval)
	if due.After(latest) {
		return latest
	}
	return due
}

// end is the sequence up to which a batch that is due takes in what had arrived by then.
func (f *filling) end() uint64 { return f.last + f.pendingAtLast }

func (f *filling) descriptor(reason batch.Reason) batch.Descriptor {
	d := batch.Descriptor{
		First: f.first, Last: f.last, Messages: f.messages, Records: f.records, Bytes: f.bytes,
		Missing: f.last - f.first + 1 - uint64(f.messages),
		Oldest:  f.oldest.UTC(), Newest: f.newest.UTC(), Reason: reason,
	}
	if f.format > 1 {
		d.RecordFormat = f.format
	}
	return d
}

// grown is the size that a batch is filled to when the size hint is reached and so many batches wait for the sink. It is
// computed anew for each batch.
func grown(hint int64, waiting uint64) int64 {
	if waiting < 2 {
		return hint
	}
	return max(hint, min(hint*int64(min(waiting, maxBatchBytes)), maxBatchBytes))
}
