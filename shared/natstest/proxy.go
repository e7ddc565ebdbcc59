package natstest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// Proxy stands between clients and a server, or between two servers. While it is stalled it takes what it is sent and passes
// nothing on, as a network that drops packets or a server that hangs: connections stay open, and nobody is told. While it
// refuses, there are no connections, and whoever makes one is told so.
type Proxy struct {
	t        testing.TB
	listener net.Listener
	target   string
	toServer flow // what clients send
	toClient flow

	mu       sync.Mutex
	refusing bool // from when it is closed, too
	conns    []net.Conn
	copiers  sync.WaitGroup
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
	p.toServer.stall()
	p.toClient.stall()
}

// Resume passes on what was sent while stalled, and goes on.
func (p *Proxy) Resume() {
	p.toServer.resume()
	p.toClient.resume()
}

// Refuse resets all connections, and each that is made until Accept. What was not passed on is lost.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	for _, c := range p.conns {
		reset(c)
	}
	p.conns = nil
}

// Accept takes connections again.
func (p *Proxy) Accept() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
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
		p.connect(client, server)
	}
}

func (p *Proxy) connect(client, server net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		reset(client)
		reset(server)
		return
	}
	p.conns = append(p.conns, client, server)
	p.copiers.Go(func() { p.toServer.copy(server, client) })
	p.copiers.Go(func() { p.toClient.copy(client, server) })
}

// reset ends a connection as one that the other side knows nothing of.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.Refuse()
	p.Resume()
	p.copiers.Wait()
}
