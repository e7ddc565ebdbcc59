package es

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/format"
)

// someLedger is one of n messages, in all states.
func someLedger(t testing.TB, n int, random *rand.Rand) (*ledger, batch.Descriptor) {
	d := batch.Descriptor{StreamID: "s", First: 1000, Leg: "es"}
	l := newLedger(d.First)
	sequence := d.First
	for range n {
		sequence += uint64(random.IntN(2))
		size := 1 + random.IntN(3)
		_, err := l.place(sequence, size)
		if err != nil {
			t.Fatal(err)
		}
		d.Messages++
		d.Records += size
		d.Last = sequence
		sequence++
	}
	for i := range l.states {
		switch random.IntN(5) {
		case 0:
			l.states[i] = done
		case 1:
			l.states[i] = expired
		case 2:
			l.fail(i, reason{Final: true, Status: 400, Text: fmt.Sprintf("reason %d", random.IntN(20)), Attempts: 3})
		case 3:
			l.fail(i, reason{Status: 429, Text: "too much"})
		}
	}
	d.Bytes = 1 << 30
	l.tries, l.bytes, l.whole = 7, 12345, true
	return l, d
}

func TestProgress(t *testing.T) {
	for _, n := range []int{0, 1, 10, 1000} {
		l, d := someLedger(t, n, rand.New(rand.NewPCG(1, uint64(n))))
		if n == 0 {
			d.Last = d.First
		}
		got, err := readProgress(l.progress(), d)
		check(t, err)
		wantEqual(t, "whether the states are the same", reflect.DeepEqual(got.states, l.states) || n == 0, true)
		wantEqual(t, "the tally", got.tally(), l.tally())
		wantEqual(t, "the messages", fmt.Sprint(got.offsets, got.starts), fmt.Sprint(l.offsets, l.starts))
		wantEqual(t, "the reasons", fmt.Sprintf("%+v", got.reasons), fmt.Sprintf("%+v", l.reasons))
		wantEqual(t, "the rest", fmt.Sprint(got.tries, got.bytes, got.whole), "7 12345 true")
	}
}

// What is pending of a large batch fits; what does not fit is left out rather than be wrong.
func TestProgressFits(t *testing.T) {
	l := newLedger(1)
	for i := range 200_000 {
		_, err := l.place(uint64(i+1), 5)
		check(t, err)
	}
	for i := range l.states {
		if i%100_000 != 0 {
			l.states[i] = done
		}
	}
	d := batch.Descriptor{First: 1, Last: 200_000, Messages: 200_000, Records: 1_000_000}
	p := l.progress()
	if len(p) > 10_000 {
		t.Errorf("ten pending documents of a million take %d bytes", len(p))
	}
	got, err := readProgress(p, d)
	check(t, err)
	wantEqual(t, "what is pending", got.tally().pending, 10)

	random := rand.New(rand.NewPCG(1, 2))
	for i := range l.states {
		l.states[i] = state(random.IntN(2)) // a million bits of noise, which nothing packs enough
	}
	for i := range 300 {
		l.fail(i, reason{Final: true, Status: 400, Text: string(bytes.Repeat([]byte{byte('a' + i%26)}, 900)) + fmt.Sprint(i)})
	}
	if p := l.progress(); len(p) > delivery.MostProgress {
		t.Errorf("progress takes %d bytes", len(p))
	}
}

// A million records in the worst order that packs fit what is unpacked; more than is unpacked is not kept.
func TestProgressUnpacks(t *testing.T) {
	for _, c := range []struct {
		records int
		kept    bool
	}{{1_000_000, true}, {3_000_000, false}} {
		l := newLedger(1)
		_, err := l.place(1, c.records)
		check(t, err)
		for i := range l.states {
			l.states[i] = state(i % 2) // done or untried
		}
		d := batch.Descriptor{First: 1, Last: 1, Messages: 1, Records: c.records}
		p := l.progress()
		wantEqual(t, "whether it is kept", p != nil, c.kept)
		if !c.kept {
			continue
		}
		got, err := readProgress(p, d)
		check(t, err)
		wantEqual(t, "what is pending", got.tally().pending, c.records/2)
	}
}

// What a newer version found out is not passed over: documents without ids would be indexed again.
func TestProgressOfANewerVersion(t *testing.T) {
	_, d := someLedger(t, 3, rand.New(rand.NewPCG(1, 2)))
	try := &try{destination: &destination{log: slog.New(slog.DiscardHandler)}, Attempt: delivery.Attempt{Batch: d, Progress: []byte{progressFormat + 1, 7}}}
	if err := try.startLedger(); !errors.Is(err, format.ErrNewer) {
		t.Errorf("got %v", err)
	}
}

// Whatever was kept, a ledger that is read fits its batch, and is written again as the same.
func FuzzProgress(f *testing.F) {
	l, d := someLedger(f, 20, rand.New(rand.NewPCG(1, 2)))
	f.Add(l.progress())
	f.Add([]byte{progressFormat})
	f.Add([]byte{2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readProgress(data, d)
		if err != nil {
			return
		}
		if len(got.states) > d.Records || len(got.offsets) > d.Messages {
			t.Fatalf("%d records in %d messages", len(got.states), len(got.offsets))
		}
		for ordinal := range got.states {
			_ = got.reason(ordinal)
			_ = got.pending(ordinal)
		}
		kept, _ := got.encode(true)
		again, err := readProgress(kept, d)
		if err != nil || again.tally() != got.tally() {
			t.Fatalf("read again: %v", err)
		}
	})
}
