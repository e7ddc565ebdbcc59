package es

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/format"
)

// progressFormat is the version of what is kept between two attempts. A build that reads an older one begins anew, which sends
// again what is in the index already and is refused there; one that reads a newer one leaves the batch alone.
const progressFormat = 1

// mostProgress bounds what unpacks from it: it is kept by us, and yet comes from outside. Reasons take 1 MB at the most
// (mostReasons of two texts of mostReason bytes), and records two bytes where each is in another state than the one before:
// with those of a million records, which is a hundred bytes for each in the largest batch there is, that makes 3 MB.
const mostProgress = 4 << 20

// progress is the ledger for the next attempt, of whatever worker: a format, and deflated: tries, bytes delivered, whether the
// batch is known as a whole, the reasons, the messages as runs of the same gap and size, and the records as runs of the same
// state. One that does not fit leaves out why documents failed, which are then sent once more to find out; one that does not
// fit even so is none.
func (l *ledger) progress() []byte {
	for _, withFailed := range []bool{true, false} {
		if p, whole := l.encode(withFailed); len(p) <= delivery.MostProgress && whole <= mostProgress {
			return p
		}
	}
	return nil
}

// encode returns what is kept, and how large it unpacks.
func (l *ledger) encode(withFailed bool) (kept []byte, whole int) {
	out := bytes.NewBuffer([]byte{progressFormat})
	packed, _ := flate.NewWriter(out, flate.BestSpeed) // its error is a wrong level
	w := &progressWriter{to: packed}
	w.numbers(uint64(l.tries), uint64(l.bytes), truth(l.whole))
	reasons := l.reasons
	if !withFailed {
		reasons = nil
	}
	w.numbers(uint64(len(reasons)))
	for _, r := range reasons {
		w.numbers(truth(r.Final), uint64(r.Status), uint64(r.Attempts), uint64(len(r.Text)))
		w.text(r.Text)
	}
	l.encodeMessages(w)
	l.encodeStates(w, withFailed)
	_ = packed.Close() // into memory
	return out.Bytes(), w.written
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// encodeMessages writes runs of messages that are as far from the one before and have as many records.
func (l *ledger) encodeMessages(w *progressWriter) {
	w.numbers(uint64(len(l.offsets)))
	next := uint32(0)
	for i := 0; i < len(l.offsets); {
		gap, size := l.offsets[i]-next, l.end(i)-int(l.starts[i])
		run := 0
		for i < len(l.offsets) && l.offsets[i]-next == gap && l.end(i)-int(l.starts[i]) == size {
			next = l.offsets[i] + 1
			run, i = run+1, i+1
		}
		w.numbers(uint64(run), uint64(gap), uint64(size))
	}
}

func (l *ledger) encodeStates(w *progressWriter, withFailed bool) {
	kept := func(s state) state {
		if s >= firstReason && !withFailed {
			return untried
		}
		return s
	}
	for i := 0; i < len(l.states); {
		s, from := kept(l.states[i]), i
		for i < len(l.states) && kept(l.states[i]) == s {
			i++
		}
		w.numbers(uint64(i-from), uint64(s))
	}
}

// progressWriter writes into memory, which does not fail.
type progressWriter struct {
	to      io.Writer
	written int
}

func (w *progressWriter) numbers(numbers ...uint64) {
	var b [binary.MaxVarintLen64]byte
	for _, n := range numbers {
		size := binary.PutUvarint(b[:], n)
		_, _ = w.to.Write(b[:size])
		w.written += size
	}
}

func (w *progressWriter) text(s string) {
	_, _ = io.WriteString(w.to, s)
	w.written += len(s)
}

var errProgress = errors.New("what was kept of earlier attempts cannot be read")

// readProgress undoes progress. The ledger is one that the batch can have, or there is an error.
func readProgress(data []byte, d batch.Descriptor) (*ledger, error) {
	if len(data) > 0 {
		if err := format.Check(int(data[0]), progressFormat); err != nil {
			return nil, fmt.Errorf("what was kept of earlier attempts: %w", err)
		}
	}
	if len(data) == 0 || data[0] != progressFormat {
		return nil, fmt.Errorf("%w: it is of another format", errProgress)
	}
	packed, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data[1:])), mostProgress))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProgress, err)
	}
	r := &progressReader{data: packed}
	l := newLedger(d.First)
	l.tries, l.bytes, l.whole = int(r.number(1<<20)), int64(r.number(uint64(d.Bytes))), r.number(1) == 1
	r.reasons(l)
	r.messages(l, d)
	r.states(l)
	if r.bad || len(r.data) > 0 {
		return nil, fmt.Errorf("%w: it does not fit the batch", errProgress)
	}
	return l, nil
}

type progressReader struct {
	data []byte
	bad  bool
}

// number reads one that is at most so large.
func (r *progressReader) number(most uint64) uint64 {
	n, size := binary.Uvarint(r.data)
	if r.bad || size <= 0 || n > most {
		r.bad = true
		return 0
	}
	r.data = r.data[size:]
	return n
}

func (r *progressReader) reasons(l *ledger) {
	for range r.number(2 * mostReasons) {
		found := reason{Final: r.number(1) == 1, Status: int(r.number(1000)), Attempts: int(r.number(1 << 20))}
		size := int(r.number(uint64(len(r.data))))
		if r.bad || size > len(r.data) {
			r.bad = true
			return
		}
		found.Text, r.data = string(r.data[:size]), r.data[size:]
		l.keep(found)
	}
}

func (r *progressReader) messages(l *ledger, d batch.Descriptor) {
	next, records := d.First, 0
	for left := r.number(uint64(max(d.Messages, 0))); left > 0 && !r.bad; {
		run, gap, size := r.number(left), r.number(d.Last-d.First), int(r.number(uint64(max(d.Records, 0))))
		if run == 0 {
			r.bad = true
		}
		for range run {
			next += gap
			records += size
			if r.bad || next > d.Last || records > d.Records {
				r.bad = true
				return
			}
			if _, err := l.add(next, size); err != nil {
				r.bad = true
				return
			}
			next++
		}
		left -= run
	}
}

func (r *progressReader) states(l *ledger) {
	for i := 0; i < len(l.states) && !r.bad; {
		run, s := int(r.number(uint64(len(l.states)-i))), state(r.number(uint64(int(firstReason)+len(l.reasons)-1)))
		if run == 0 || r.bad {
			r.bad = true
			return
		}
		for range run {
			l.states[i] = s
			i++
		}
	}
}
