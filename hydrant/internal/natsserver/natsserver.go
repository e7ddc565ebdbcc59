// Package natsserver runs the NATS server of the all-in-one program inside its own process.
//
// Guaranteed while a Server runs:
//   - JetStream writes with sync always: a message is on disk before its acknowledgement leaves the server. Start reads
//     the setting back from the running server and fails if it is not in force.
//   - One server works on a store directory. The directory is locked before anything in it is read; two servers on one
//     store would each overwrite what the other wrote.
//   - What an earlier run wrote and did not sync is on disk before anything is recovered from it.
//   - Every stream on disk that holds messages is there. NATS itself only warns about a stream that it cannot recover and
//     goes on without it, and the next service would make it again, empty; Start fails instead and names the streams.
//   - After Shutdown the store is closed, the ports are free and the lock is gone.
//
// Not guaranteed: anything about a store that another program, which does not take this lock, writes to at the same time;
// and access control, for the server has no users: whoever reaches its address may read and write everything. It belongs
// on a loopback or otherwise private address.
//
// It listens on a real port rather than only in the process, so that the nats command line tool and every NATS client
// library can look at what the program knows.
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Config says where the server listens and where it stores.
type Config struct {
	// Addr is the host:port for clients, "127.0.0.1:4222". Port 0 takes any free port.
	Addr string
	// MonitorAddr is the host:port of the HTTP monitoring endpoints (/jsz, /varz, …). Empty means none, port 0 any free port.
	MonitorAddr string
	// StoreDir holds the JetStream store and its lock file. It is made if it is missing.
	StoreDir string
	// StoreBytes is the size at which JetStream refuses to store more (max_file_store). 0 takes 75 % of what the volume has
	// free and the store already uses together, which stays the same while the store grows.
	StoreBytes int64
	// Logger receives the server's log. nil discards it.
	Logger *slog.Logger
}

// Server is a running NATS server.
type Server struct {
	nats       *server.Server
	lock       *storeLock
	url        string
	monitorURL string
	storeBytes int64
}

// Start brings the server up and returns when clients can connect.
//
// It fails, leaving nothing behind, when an address is malformed or in use (the error names it), when another process has
// the store directory, when the volume is too full to work, and when a stream with messages could not be recovered.
// Recovery cannot be interrupted: a context that ends meanwhile is noticed after it, and the server is shut down again.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StoreDir, 0o750); err != nil {
		return nil, fmt.Errorf("make the store directory: %w", err)
	}
	lock, err := lockStore(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, cfg, opts, lock)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return s, nil
}

// start runs the server on a store that is locked already.
func start(ctx context.Context, cfg Config, opts *server.Options, lock *storeLock) (*Server, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := portsFree(ctx, cfg.Addr, cfg.MonitorAddr); err != nil {
		return nil, err
	}
	if opts.JetStreamMaxStore == 0 {
		limit, err := defaultStoreBytes(cfg.StoreDir)
		if err != nil {
			return nil, err
		}
		opts.JetStreamMaxStore = limit
	}
	if err := syncStore(cfg.StoreDir); err != nil {
		return nil, err
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("configure the NATS server: %w", err)
	}
	s := &Server{nats: ns, lock: lock}
	if err := s.bringUp(ctx, cfg); err != nil {
		s.stopNATS()
		return nil, fmt.Errorf("start the NATS server on %s: %w", cfg.Addr, err)
	}
	cfg.Logger.Info("NATS server is up", "url", s.url, "monitor", s.monitorURL, "store", cfg.StoreDir, "store_bytes", s.storeBytes)
	return s, nil
}

// bringUp starts the server and checks that what came up is what the package promises.
func (s *Server) bringUp(ctx context.Context, cfg Config) error {
	log := &logger{log: cfg.Logger}
	s.nats.SetLoggerV2(log, cfg.Logger.Enabled(ctx, slog.LevelDebug), false, false)
	// Start returns when the server accepts clients, or early after having logged a fatal error: it has no other way to
	// report one to a program that it is embedded in.
	s.nats.Start()
	if err := log.firstFatal(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.SyncAlways() {
		return errors.New("JetStream does not run with sync always: an acknowledged record could be lost")
	}
	missing, err := unrecovered(s.nats, cfg.StoreDir)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("these streams in %s hold messages and could not be recovered, see the warnings above: %s",
			cfg.StoreDir, strings.Join(missing, ", "))
	}
	s.url = reachable("nats", s.nats.Addr())
	s.monitorURL = reachable("http", s.nats.MonitorAddr())
	s.storeBytes = s.nats.JetStreamConfig().MaxStore
	return nil
}

// URL is where clients connect, "nats://127.0.0.1:4222", with the real port when the configured one was 0.
func (s *Server) URL() string { return s.url }

// MonitorURL is the base of the monitoring endpoints, "http://127.0.0.1:8222", or empty when they are off.
func (s *Server) MonitorURL() string { return s.monitorURL }

// StoreBytes is the size at which JetStream refuses to store more, as the server runs with it.
func (s *Server) StoreBytes() int64 { return s.storeBytes }

// SyncAlways tells whether the running server syncs every write before it acknowledges it. It is read from the server, not
// from the configuration, and is false after Shutdown.
func (s *Server) SyncAlways() bool {
	js := s.nats.JetStreamConfig()
	return js != nil && js.SyncAlways
}

// Shutdown closes the connections and the store and returns when the server is down. Calling it again does nothing.
func (s *Server) Shutdown() {
	s.stopNATS()
	// The lock goes last: until then the store is being written. Closing it can only fail when it is closed already.
	_ = s.lock.release()
}

func (s *Server) stopNATS() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
}

// reachable is the URL of a listener, with a loopback address where it listens on all interfaces, since "0.0.0.0" is no
// address to connect to.
func reachable(scheme string, addr net.Addr) string {
	// A listener that is off comes back as a nil *net.TCPAddr in the interface.
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp == nil {
		return ""
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(host, fmt.Sprint(tcp.Port))}
	return u.String()
}
