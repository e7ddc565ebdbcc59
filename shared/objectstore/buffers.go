package objectstore

import (
	"context"
	"sync"
)

// Buffers keep the memory that parts are assembled in. There are only so many for all workers together; who needs one more
// waits for one to come back, in the order of asking.
//
// Nobody waits for ever: whoever asks for one has given those that it filled to the requests that send them, which end and
// give them back without needing another.
type Buffers struct {
	size int
	all  chan struct{} // holds one for each that is lent

	mu   sync.Mutex
	idle [][]byte // the last given back is taken first, so that no more are made than were needed at once
	made int
}

// NewBuffers returns as many as --part-memory has room for.
func NewBuffers(cfg Settings) *Buffers {
	size, memory := cfg.PartSize, cfg.PartMemory
	return &Buffers{size: int(size), all: make(chan struct{}, memory/size)}
}

// get returns an empty buffer with room for one part, once there is one. It fails when ctx ends first.
func (b *Buffers) get(ctx context.Context) ([]byte, error) {
	select {
	case b.all <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.idle); n > 0 {
		buffer := b.idle[n-1]
		b.idle = b.idle[:n-1]
		return buffer[:0], nil
	}
	b.made++
	return make([]byte, 0, b.size), nil
}

// put takes a buffer back that nobody reads any more.
func (b *Buffers) put(buffer []byte) {
	b.mu.Lock()
	b.idle = append(b.idle, buffer)
	b.mu.Unlock()
	<-b.all
}

// Lent is how many somebody has.
func (b *Buffers) Lent() int { return len(b.all) }

// Made is how many were ever needed at once.
func (b *Buffers) Made() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made
}
