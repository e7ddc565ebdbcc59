package s3sink

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

func TestBuffers(t *testing.T) {
	b := newBuffers(10, 25)
	first, err := b.get(t.Context())
	check(t, err)
	_, err = b.get(t.Context())
	check(t, err)
	wantEqual(t, "how many are lent", b.lent(), 2)
	gone := errors.New("nobody waits any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := b.get(ctx); !errors.Is(err, gone) {
		t.Errorf("a third was lent, or %v", err)
	}
	b.put(append(first, 1, 2, 3))
	again, err := b.get(t.Context())
	check(t, err)
	wantEqual(t, "what is in one that came back", len(again), 0)
	wantEqual(t, "its size", cap(again), 10)
	wantEqual(t, "how many were made", b.made, 2)
}

// TestPartsAreBounded has more workers at it than there is memory for: each waits for its turn and all come through.
func TestPartsAreBounded(t *testing.T) {
	for _, parts := range []int64{1, 2, 3} {
		t.Run(itoa(int(parts)), func(t *testing.T) {
			r := newRig(t)
			destination := r.destination(inParts, func(c *Config) { c.PartMemory = parts * minPartSize })
			var delivering sync.WaitGroup
			for i := range 5 {
				s := r.stream(names.Stream("demo-" + itoa(i)))
				want := s.fill(12 << 20)
				attempt := s.attempt(s.batch())
				delivering.Go(func() { deliverAndCompare(t, r, destination, attempt, want) })
			}
			delivering.Wait()
			if n := int64(destination.buffers.made); n > parts {
				t.Errorf("%d buffers were made, %d are allowed", n, parts)
			}
			wantEqual(t, "the buffers in use", destination.buffers.lent(), 0)
		})
	}
}

func deliverAndCompare(t *testing.T, r *rig, to *destination, a delivery.Attempt, want []byte) {
	t.Helper()
	result, err := to.Deliver(t.Context(), a)
	if err != nil || result.Outcome != batch.Delivered {
		t.Errorf("delivered with %v, %v", result, err)
		return
	}
	if got, _ := r.content(result.Location); !bytes.Equal(got, want) {
		t.Errorf("%s is not what was published", result.Location)
	}
}
