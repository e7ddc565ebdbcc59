package delivery

import (
	"net"
	"sync"
	"time"
)

// dropper dials connections of which nothing is read while it loses: what the server says stays in the socket, and comes
// late.
type dropper struct {
	mu   sync.Mutex
	held chan struct{} // closed at the end of the loss; nil while nothing is lost
}

func (d *dropper) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, 10*time.Second)
	return &held{conn, d}, err
}

func (d *dropper) lose() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		d.held = make(chan struct{})
	}
}

func (d *dropper) pass() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		close(d.held)
		d.held = nil
	}
}

func (d *dropper) wait() {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if held != nil {
		<-held
	}
}

type held struct {
	net.Conn
	by *dropper
}

func (h *held) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.by.wait()
	return n, err
}
