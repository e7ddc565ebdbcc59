package natstest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// Proxy stands between clients and a server, or between two servers. While it is stalled it takes what it is sent and passes
// nothing on, as a network that drops packets or a server that hangs: connections stay open, and nobody is told.
type Proxy struct {
	t        testing.TB
	listener net.Listener
	target   string
	flow     sync.RWMutex // held for writing while stalled

	mu      sync.Mutex
	stalled bool
	closed  bool
	conns   []net.Conn
	copiers sync.WaitGroup
}

// Proxy returns a new proxy to the server, which ends with the test.
func (s *Server) Proxy() *Proxy { s.t.Helper(); return NewProxy(s.t, s.URL()[len("nats://"):]) }

// NewProxy returns a new proxy to a host and port, which ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("natstest: %v", err)
	}
	p := &Proxy{t: t, listener: listener, target: target}
	p.copiers.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL is where clients connect.
func (p *Proxy) URL() string { return "nats://" + p.Addr() }

// Addr is the host and port of URL.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Conn is Server.Conn through the proxy.
func (p *Proxy) Conn() *nats.Conn { p.t.Helper(); return connect(p.t, p.URL()) }

// Stall stops passing on what is sent.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stalled {
		p.flow.Lock()
		p.stalled = true
	}
}

// Resume passes on what was sent while stalled, and goes on.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled {
		p.flow.Unlock()
		p.stalled = false
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = client.Close() // as if it had been refused
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		if p.closed {
			_, _ = client.Close(), server.Close()
		}
		p.mu.Unlock()
		p.copiers.Go(func() { p.copy(client, server) })
		p.copiers.Go(func() { p.copy(server, client) })
	}
}

// copy passes on what comes until one side is closed, and then closes the other.
func (p *Proxy) copy(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	defer func() { _ = from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.flow.RLock()
		_, failed := to.Write(buffer[:n])
		p.flow.RUnlock()
		if err != nil || failed != nil {
			return
		}
	}
}

func (p *Proxy) close() {
	p.Resume()
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.copiers.Wait()
}
