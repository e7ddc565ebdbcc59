package natstest

import (
	"net"
	"sync"
)

// flow is one direction of a proxy.
type flow struct {
	gate sync.RWMutex // held for writing while stalled

	mu      sync.Mutex
	stalled bool
}

func (f *flow) stall() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.stalled {
		f.gate.Lock()
		f.stalled = true
	}
}

func (f *flow) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stalled {
		f.gate.Unlock()
		f.stalled = false
	}
}

// copy passes on what comes, and then the end. That the other side has ended is for the other direction to pass on, which may be stalled:
// until then what comes is thrown away, as by a network that does not bring the answer.
func (f *flow) copy(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		f.pass(to, buffer[:n])
		if err != nil {
			return
		}
	}
}

func (f *flow) pass(to net.Conn, sent []byte) {
	f.gate.RLock()
	defer f.gate.RUnlock()
	_, _ = to.Write(sent)
}

func (f *flow) isStalled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stalled
}
