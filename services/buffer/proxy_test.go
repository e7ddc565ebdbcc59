package buffer

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between a service and NATS, and can be told to hold everything back, to swallow what the server answers, and
// to cut the connections.
type proxy struct {
	listener net.Listener
	server   string
	running  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	stalled bool
	mute    bool
	closed  bool
	conns   map[net.Conn]bool
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, server: strings.TrimPrefix(server, "nats://"), conns: map[net.Conn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.set(func() { p.closed, p.stalled = true, false })
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

func (p *proxy) stall()  { p.set(func() { p.stalled = true }) }
func (p *proxy) resume() { p.set(func() { p.stalled = false }) }

// swallow drops what the server sends from now on, until the next connection.
func (p *proxy) swallow() { p.set(func() { p.mute = true }) }

// cut ends the connections; new ones are let through whole.
func (p *proxy) cut() {
	p.set(func() {
		p.mute = false
		for c := range p.conns {
			_ = c.Close()
		}
		clear(p.conns)
	})
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.DialTimeout("tcp", p.server, 2*time.Second)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.set(func() {
			if p.closed {
				_ = client.Close()
				_ = server.Close()
				return
			}
			p.conns[client], p.conns[server] = true, true
		})
		p.running.Go(func() { p.copy(server, client, false) })
		p.running.Go(func() { p.copy(client, server, true) })
	}
}

func (p *proxy) copy(to, from net.Conn, answers bool) {
	defer func() { _ = to.Close() }()
	defer func() { _ = from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && p.pass(answers) {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while everything is held back, and reports whether to let it through then.
func (p *proxy) pass(answers bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled {
		p.changed.Wait()
	}
	return !answers || !p.mute
}
