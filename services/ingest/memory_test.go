package ingest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLeaseReads(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		body io.Reader
		most int
		want int
		err  error
	}{
		"nothing":              {strings.NewReader(""), 100, 0, nil},
		"a little":             {strings.NewReader("abc"), 100, 3, nil},
		"all there may be":     {strings.NewReader("abc"), 3, 3, nil},
		"one more":             {strings.NewReader("abcd"), 3, 0, errTooLarge},
		"one buffer":           {strings.NewReader(strings.Repeat("x", smallestBuffer)), 1 << 20, smallestBuffer, nil},
		"one more than that":   {strings.NewReader(strings.Repeat("x", smallestBuffer+1)), 1 << 20, smallestBuffer + 1, nil},
		"the largest":          {strings.NewReader(strings.Repeat("x", largestBuffer)), largestBuffer, largestBuffer, nil},
		"larger":               {strings.NewReader(strings.Repeat("x", largestBuffer+1)), largestBuffer, 0, errTooLarge},
		"byte by byte":         {iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 10_000))), 1 << 20, 10_000, nil},
		"the end with data":    {iotest.DataErrReader(strings.NewReader(strings.Repeat("x", 10_000))), 10_000, 10_000, nil},
		"an error":             {iotest.ErrReader(broken), 100, 0, broken},
		"an error at the end":  {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 3, 0, broken},
		"cut off by the other": {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(io.ErrUnexpectedEOF)), 10, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			memory := newMemory(leastMemory)
			lease := memory.lease()
			body, err := lease.read(test.body, 0, test.most)
			if !errors.Is(err, test.err) || err == nil && len(body) != test.want {
				t.Errorf("%d bytes, %v", len(body), err)
			}
			lease.close()
			if used := memory.used.Load(); used != 0 {
				t.Errorf("%d bytes are held after the end", used)
			}
		})
	}
}

// TestLeaseKeepsToTheBudget takes buffers until there is no more, and checks that what is given back can be had again.
func TestLeaseKeepsToTheBudget(t *testing.T) {
	memory := newMemory(10 * smallestBuffer)
	first, second := memory.lease(), memory.lease()
	var buffers [][]byte
	for range 5 {
		buffers = append(buffers, must[[]byte](t)(first.buffer(1)), must[[]byte](t)(second.buffer(smallestBuffer)))
	}
	for _, size := range []int{0, 1, smallestBuffer + 1} {
		if _, err := first.buffer(size); !errors.Is(err, errOverBudget) {
			t.Errorf("%d bytes beyond the budget: %v", size, err)
		}
	}
	if err := second.reserve(1); !errors.Is(err, errOverBudget) {
		t.Errorf("a byte beyond the budget: %v", err)
	}
	first.discard(buffers[0][:10])
	first.discard(buffers[0]) // given back already: nothing happens
	if err := second.reserve(smallestBuffer); err != nil {
		t.Error(err)
	}
	first.close()
	second.close()
	if used := memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
	if _, err := first.buffer(largestBuffer + 1); !errors.Is(err, errTooLarge) {
		t.Errorf("a buffer that is too large: %v", err)
	}
}

// TestLeaseLeaves checks that a buffer which somebody else may still read is not given to another request.
func TestLeaseLeaves(t *testing.T) {
	memory := newMemory(1 << 20)
	first := memory.lease()
	left := must[[]byte](t)(first.buffer(100))
	first.leave(left[:0])
	first.close()
	for range 100 {
		next := memory.lease()
		if buffer := must[[]byte](t)(next.buffer(100)); &buffer[0] == &left[0] {
			t.Fatal("the buffer is used again")
		}
		next.close()
	}
	if used := memory.used.Load(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}

func BenchmarkReadPut(b *testing.B) {
	for _, bench := range []struct{ records, size int }{{1, 1000}, {500, 1000}, {500, 8000}} {
		b.Run(fmt.Sprintf("records=%d/size=%d", bench.records, bench.size), func(b *testing.B) {
			body := batchOf(bench.records, bench.size)
			memory := newMemory(64 << 20)
			b.SetBytes(int64(bench.records * bench.size))
			b.ReportAllocs()
			for b.Loop() {
				lease := memory.lease()
				read, err := lease.read(strings.NewReader(body), int64(len(body)), 8<<20)
				if err != nil {
					b.Fatal(err)
				}
				call := &request{lease: lease, body: read}
				if _, err := put(true, nil).parse(call); err != nil {
					b.Fatal(err)
				}
				lease.close()
			}
		})
	}
}
