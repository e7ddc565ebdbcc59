package ingest

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"hydrant/shared/record"
)

// Sizes of buffers: powers of two, so that one size serves many requests.
const (
	smallestBuffer = 4 << 10
	bufferSizes    = 12 // up to 8 MiB
	largestBuffer  = smallestBuffer << (bufferSizes - 1)
	growth         = 16 // of a body's buffer, at most, each time that what has arrived fills it
)

// memory is the budget that all requests share, in bytes, and the buffers they use again. It bounds what bodies and what
// is decoded of them may hold together, whoever sends them and however slowly.
type memory struct {
	limit   int64
	used    atomic.Int64
	buffers [bufferSizes]sync.Pool
	leases  sync.Pool
}

func newMemory(limit int64) *memory { return &memory{limit: limit} }

var (
	errOverBudget = errors.New("too many bytes of requests are in flight (--request-memory)")
	errTooLarge   = errors.New("the body is too large")
)

// lease is what one request holds of the budget. It is used by one goroutine, and ended by close, after which it may be
// another request's.
type lease struct {
	memory *memory
	held   int64
	open   []*[]byte

	lengths [record.MaxBatchRecords]int // room for those of the records, beside the budget
}

func (m *memory) lease() *lease {
	if l, ok := m.leases.Get().(*lease); ok {
		return l
	}
	return &lease{memory: m}
}

// reserve takes n bytes, or returns errOverBudget.
func (l *lease) reserve(n int64) error {
	if l.memory.used.Add(n) > l.memory.limit {
		l.memory.used.Add(-n)
		return errOverBudget
	}
	l.held += n
	return nil
}

func (l *lease) release(n int64) {
	l.memory.used.Add(-n)
	l.held -= n
}

// buffer returns a buffer of at least size bytes, which may hold anything, and reserves what it takes.
func (l *lease) buffer(size int) ([]byte, error) {
	if size > largestBuffer {
		return nil, fmt.Errorf("%w: %d bytes", errTooLarge, size)
	}
	class := sizeClass(size)
	if err := l.reserve(int64(smallestBuffer) << class); err != nil {
		return nil, err
	}
	buffer, ok := l.memory.buffers[class].Get().(*[]byte)
	if !ok {
		made := make([]byte, smallestBuffer<<class)
		buffer = &made
	}
	l.open = append(l.open, buffer)
	return *buffer, nil
}

func sizeClass(size int) int {
	return bits.Len(uint(max(size, smallestBuffer)-1)) - bits.Len(uint(smallestBuffer-1))
}

// discard gives one buffer of the lease back; b may be any beginning of it.
func (l *lease) discard(b []byte) {
	if buffer := l.take(b); buffer != nil {
		l.memory.buffers[sizeClass(len(*buffer))].Put(buffer)
	}
}

// leave gives up one buffer, of which b is a beginning, without giving it back: somebody else may still read it.
func (l *lease) leave(b []byte) { _ = l.take(b) }

// take removes a buffer from the lease, and returns nil if it is not there.
func (l *lease) take(b []byte) *[]byte {
	b = b[:cap(b)]
	for i, buffer := range l.open {
		if &(*buffer)[0] == &b[0] {
			l.open = slices.Delete(l.open, i, i+1)
			l.release(int64(len(*buffer)))
			return buffer
		}
	}
	return nil
}

// close gives everything back. Nothing of the lease or its buffers may be in use any more.
func (l *lease) close() {
	for len(l.open) > 0 {
		l.discard(*l.open[0])
	}
	l.release(l.held)
	l.memory.leases.Put(l)
}

// read returns what body holds, up to most bytes, in a buffer of the lease. The buffer grows with what has arrived, so a body
// of which announced bytes are announced and not sent holds little memory.
func (l *lease) read(body io.Reader, announced int64, most int) ([]byte, error) {
	buffer, err := l.buffer(smallestBuffer)
	n := 0
	for err == nil {
		switch {
		case n == most:
			return buffer[:n], atEnd(body)
		case n == len(buffer):
			buffer, err = l.grow(buffer, announced)
		default:
			var m int
			m, err = body.Read(buffer[n:min(len(buffer), most)])
			n += m
		}
	}
	if errors.Is(err, io.EOF) {
		return buffer[:n], nil
	}
	return nil, err
}

func (l *lease) grow(buffer []byte, announced int64) ([]byte, error) {
	size := max(2*len(buffer), int(min(announced, int64(growth*len(buffer)))))
	larger, err := l.buffer(size)
	if err != nil {
		return nil, err
	}
	copy(larger, buffer)
	l.discard(buffer)
	return larger, nil
}

// atEnd returns an error unless body ends here.
func atEnd(body io.Reader) error {
	var more [1]byte
	_, err := io.ReadFull(body, more[:])
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return errTooLarge
	}
	return err
}
