// Package natstest is test support: it runs a real NATS server with JetStream inside a test, in the way that Hydrant
// expects one to run. Nothing but tests may import it.
//
// The server syncs every write before it acknowledges, keeps its store in the test's own temporary folder, and has a
// monitoring port. It can be stopped and started again at the same addresses and with the same store, which is what a
// client sees of a restart of NATS. It ends with the test, after every connection that Conn and JetStream returned.
package natstest

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

const (
	startTime = 20 * time.Second
	waitTime  = 60 * time.Second
	attempts  = 5
)

// Server is a NATS server. Its methods end the test when they fail, so they are for the test's own goroutine, except URL
// and MonitorURL.
type Server struct {
	t       testing.TB
	options server.Options
	running *server.Server // nil while stopped
}

// Start runs a server until the test ends. Each change is applied to the server's options before it starts.
func Start(t testing.TB, changes ...func(*server.Options)) *Server {
	t.Helper()
	s := &Server{t: t, options: hydrantOptions(t)}
	for _, change := range changes {
		change(&s.options)
	}
	for attempt := 1; ; attempt++ {
		s.options.Port, s.options.HTTPPort = freePort(t), freePort(t)
		err := s.start()
		if err == nil {
			t.Cleanup(s.Stop) // before its ports are given up
			return s
		}
		if attempt == attempts {
			t.Fatalf("natstest: %v", err)
		}
	}
}

// hydrantOptions are those of a server as Hydrant expects one, with a store in the test's own temporary folder.
func hydrantOptions(t testing.TB) server.Options {
	t.Helper()
	return server.Options{
		ServerName: "natstest",
		Host:       "127.0.0.1",
		HTTPHost:   "127.0.0.1",
		NoLog:      true,
		NoSigs:     true,
		JetStream:  true,
		StoreDir:   t.TempDir(),
		SyncAlways: true,
		JetStreamLimits: server.JSLimitOpts{
			DefaultMaxConsumers:   -1,
			MaxBatchInflightTotal: 100_000,
		},
	}
}

// freePort returns a port that nothing uses, from below those that systems give to outgoing connections: no client that tries
// to reconnect connects to itself while the server is stopped. It is the test's until the test ends. Nobody else is given it
// meanwhile, in this process or in another, although nothing listens on it: of the UDP port of the same number, which nothing
// else has a use for, there is one, and it is held.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.N(20_000)
		if claim, err := claim(port); err == nil {
			t.Cleanup(func() { _ = claim.Close() })
			return port
		}
	}
	t.Fatal("natstest: no free port")
	return 0
}

// claim takes a port, on which nothing listens, until what it returns is closed.
func claim(port int) (io.Closer, error) {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	claimed, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		_ = claimed.Close()
		return nil, err
	}
	return claimed, l.Close()
}

func (s *Server) start() error {
	options := s.options // the server changes what it is given
	running, err := server.NewServer(&options)
	if err != nil {
		return err
	}
	running.Start()
	// One of a cluster gets ready for JetStream with the others.
	if !running.ReadyForConnections(startTime) || options.Cluster.Name == "" && !running.JetStreamEnabled() {
		running.Shutdown()
		running.WaitForShutdown()
		return fmt.Errorf("the server at %s is not ready after %s", s.URL(), startTime)
	}
	s.running = running
	return nil
}

// URL is where clients connect. A restart does not change it.
func (s *Server) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.options.Port) }

// MonitorURL is the address of the monitoring port. A restart does not change it.
func (s *Server) MonitorURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.options.HTTPPort) }

// Stop ends the server and waits until it has ended. What it acknowledged stays for Restart. It may be called again.
func (s *Server) Stop() {
	if s.running == nil {
		return
	}
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}

// Restart stops the server if it runs, and starts it at the same addresses with the same store, after each change was
// applied to its options.
func (s *Server) Restart(changes ...func(*server.Options)) {
	s.t.Helper()
	s.Stop()
	for _, change := range changes {
		change(&s.options)
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("natstest: restart: %v", err)
	}
}

// LimitAccount lets the account of all clients store that much on disk, until the server is stopped.
func (s *Server) LimitAccount(bytes int64) {
	s.t.Helper()
	limits := map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: bytes, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1}}
	if err := s.running.GlobalAccount().UpdateJetStreamLimits(limits); err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
}

// Conn returns a connection of its own, which ends with the test. It has no reconnect buffer and never stops trying to
// reconnect, as Hydrant's own, but to this server alone.
func (s *Server) Conn() *nats.Conn { s.t.Helper(); return connect(s.t, s.URL()) }

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url,
		nats.Name(t.Name()),
		nats.IgnoreDiscoveredServers(),
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
	)
	if err != nil {
		t.Fatalf("natstest: connect to %s: %v", url, err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// JetStream returns a JetStream client on a connection of its own, which ends with the test.
func (s *Server) JetStream() jetstream.JetStream {
	s.t.Helper()
	js, err := jetstream.New(s.Conn())
	if err != nil {
		s.t.Fatalf("natstest: %v", err)
	}
	return js
}

// WaitFor returns when ok does, which is asked again and again, and ends the test when that takes too long.
func WaitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(waitTime)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", waitTime, what)
		}
		<-ticker.C
	}
}

// ServersOwn are goroutines that a NATS server leaves behind now and then when it is stopped, for goleak to pass over.
func ServersOwn() []goleak.Option {
	const server = "github.com/nats-io/nats-server/v2/server"
	return []goleak.Option{
		goleak.IgnoreAnyFunction(server + ".(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction(server + ".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server + "/ats.Register.func1"),
	}
}
