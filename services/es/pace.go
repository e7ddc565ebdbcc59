package es

import "sync"

const (
	// smallestRequest is down to which size requests shrink because a server is busy or does not answer. Only 413 makes them
	// smaller.
	smallestRequest = 256 << 10
	// sizeSteps is in how many good answers a request grows back to twice its size.
	sizeSteps = 8
	// ceilingRest is after how many good answers it is tried whether a server takes larger requests than it once refused.
	ceilingRest = 256
)

// pace is how much one server is asked at a time, by all workers of the process: how many requests, and of what size. Both grow
// slowly while it answers, and are halved when it is busy (additive increase, multiplicative decrease), so that replicas which
// know nothing of each other share what it can do.
type pace struct {
	mostFlying, mostSize int

	mu      sync.Mutex
	flying  int
	limit   float64 // of requests in flight
	size    int     // of a request
	ceiling int     // of its size: half of what was refused as too large
	good    int     // answers since it was refused
	changed chan struct{}
}

func newPace(mostFlying, mostSize int) *pace {
	return &pace{
		mostFlying: mostFlying, mostSize: mostSize, limit: float64(mostFlying), size: mostSize, ceiling: mostSize, changed: make(chan struct{}),
	}
}

// begin takes the right to send one request, or returns what to wait for.
func (p *pace) begin() (ok bool, wait <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying < max(int(p.limit), 1) {
		p.flying++
		return true, nil
	}
	return false, p.changed
}

// end gives it back.
func (p *pace) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying--
	close(p.changed)
	p.changed = make(chan struct{})
}

// requestSize is how large a request may be now.
func (p *pace) requestSize() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(p.size, p.ceiling)
}

// faster is for an answer in which nothing was refused for being too much.
func (p *pace) faster() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = min(p.limit+1/max(p.limit, 1), float64(p.mostFlying))
	p.size = min(p.size+p.size/sizeSteps, p.mostSize)
	if p.ceiling == p.mostSize {
		return
	}
	if p.good++; p.good >= ceilingRest {
		p.good, p.ceiling = 0, min(p.ceiling+p.ceiling/4+1, p.mostSize)
	}
}

// slower is for an answer, or none, that says the server has too much to do: first fewer requests, and then smaller ones.
func (p *pace) slower() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 1 {
		p.limit = max(p.limit/2, 1)
		return
	}
	p.size = max(p.size/2, min(smallestRequest, p.mostSize))
}

// smaller is for a request that was too large for the server, or for what is in front of it.
func (p *pace) smaller(refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good, p.ceiling = 0, max(min(p.ceiling, refused/2), 1)
}
