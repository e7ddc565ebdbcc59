package s3sink

import "sync"

// buffers keeps the memory that parts are assembled in. How many there are is bounded by who borrows them: each worker
// has at most partsInMemory.
type buffers struct {
	size int

	mu   sync.Mutex
	idle [][]byte // the last given back is taken first, so that no more are made than were needed at once
	made int
	lent int
}

func newBuffers(size int64) *buffers { return &buffers{size: int(size)} }

// get returns an empty buffer with room for one part.
func (b *buffers) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lent++
	if n := len(b.idle); n > 0 {
		buffer := b.idle[n-1]
		b.idle = b.idle[:n-1]
		return buffer[:0]
	}
	b.made++
	return make([]byte, 0, b.size)
}

// put takes a buffer back that nobody reads any more.
func (b *buffers) put(buffer []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lent--
	b.idle = append(b.idle, buffer)
}
