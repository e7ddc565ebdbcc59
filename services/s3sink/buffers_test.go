package s3sink

import (
	"bytes"
	"sync"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

// TestPartsAreBounded has more workers at it than there is memory for: each waits for its turn and all come through.
func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	for _, parts := range []int64{1, 2, 3} {
		t.Run(itoa(int(parts)), func(t *testing.T) {
			r := newRig(t)
			destination := r.destination(inParts, func(c *Config) { c.PartMemory = parts * part })
			var delivering sync.WaitGroup
			for i := range 5 {
				s := r.stream(names.Stream("demo-" + itoa(i)))
				want := s.fill(12 * part / 5)
				attempt := s.attempt(s.batch())
				delivering.Go(func() { deliverAndCompare(t, r, destination, attempt, want) })
			}
			delivering.Wait()
			if n := int64(destination.buffers.Made()); n > parts {
				t.Errorf("%d buffers were made, %d are allowed", n, parts)
			}
			wantEqual(t, "the buffers in use", destination.buffers.Lent(), 0)
		})
	}
}

func deliverAndCompare(t *testing.T, r *rig, to *deliverer, a delivery.Attempt, want []byte) {
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
