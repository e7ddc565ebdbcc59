package redshiftstandin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// farewell is how long what clients are in the middle of may take when the stand-in ends.
const farewell = 5 * time.Second

// Config is a stand-in's settings.
type Config struct {
	Listen   string `name:"listen" default:"127.0.0.1:5439" help:"Address to listen at, host:port."`
	Upstream string `name:"upstream" default:"127.0.0.1:5432" help:"The PostgreSQL behind, host:port. Only stand-ins use it."`
	Admin    Admin  `embed:""`
	S3       S3     `embed:""`
	TLSCert  string `name:"tls-cert" placeholder:"FILE" help:"Certificate for clients that ask for TLS; without, they are told there is none."`
	TLSKey   string `name:"tls-key" placeholder:"FILE" help:"Its key."`

	FinishWithoutClient bool `name:"finish-without-client" help:"Carry a query out to its end when its client is gone, COMMIT included, as a server does that has not noticed. Without, a COPY that is under way is given up."`
}

// Validate finds settings that make no sense.
func (c Config) Validate() error {
	if err := splitAddress("listen", "HYDRANT_LISTEN", c.Listen); err != nil {
		return err
	}
	if err := splitAddress("upstream", "HYDRANT_UPSTREAM", c.Upstream); err != nil {
		return err
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert (HYDRANT_TLS_CERT) and --tls-key (HYDRANT_TLS_KEY): one is set and the other is not; use both or none")
	}
	if (c.S3.AccessKeyID == "") != (c.S3.SecretAccessKey == "") {
		return errors.New("--s3-access-key-id (HYDRANT_S3_ACCESS_KEY_ID) and --s3-secret-access-key (HYDRANT_S3_SECRET_ACCESS_KEY): one is set and the other is not; use both or none")
	}
	return nil
}

// Server is a stand-in.
type Server struct {
	config    Config
	log       *slog.Logger
	listener  net.Listener
	tls       *tls.Config // nil for none
	transport *http.Transport
	catalog   *catalog

	mu     sync.Mutex
	copies map[cancelKey]context.CancelFunc // what a CancelRequest ends
}

// cancelKey is how a CancelRequest names a session.
type cancelKey struct {
	process uint32
	secret  string
}

// New listens. Nothing is asked of the PostgreSQL behind before a client comes.
func New(config Config, log *slog.Logger) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		config: config, log: log, transport: http.DefaultTransport.(*http.Transport).Clone(),
		catalog: newCatalog(config.Upstream, config.Admin), copies: map[cancelKey]context.CancelFunc{},
	}
	if config.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(config.TLSCert, config.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert (HYDRANT_TLS_CERT) and --tls-key (HYDRANT_TLS_KEY): %w", err)
		}
		s.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	var err error
	if s.listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", config.Listen); err != nil {
		return nil, fmt.Errorf("--listen (HYDRANT_LISTEN): %w", err)
	}
	return s, nil
}

// Addr is the address it listens at.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends. Then sessions that do nothing end at once, and others when what they do is done, or after some
// seconds. It returns when all have ended.
func (s *Server) Run(ctx context.Context) error {
	defer s.transport.CloseIdleConnections()
	hard, give := context.WithCancel(context.WithoutCancel(ctx))
	defer give()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	s.log.Info("the Redshift stand-in listens", "addr", s.Addr(), "upstream", s.config.Upstream)
	var sessions sync.WaitGroup
	err := s.accept(ctx, hard, &sessions)
	if ctx.Err() == nil {
		give() // it cannot listen any more: nobody waits for a farewell
	}
	late := time.AfterFunc(farewell, give)
	defer late.Stop()
	sessions.Wait()
	return err
}

// accept serves each client that comes.
func (s *Server) accept(ctx, hard context.Context, sessions *sync.WaitGroup) error {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // it was closed for that
			}
			return fmt.Errorf("accept clients: %w", err)
		}
		sessions.Go(func() {
			if err := s.serve(ctx, hard, conn); err != nil {
				s.log.Debug("a session ended", "client", conn.RemoteAddr(), "error", err)
			}
		})
	}
}

// serve is one client's whole visit. Its connections are closed when it ends, or when hard does.
func (s *Server) serve(ctx, hard context.Context, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(hard, func() { _ = conn.Close() })
	defer stop()
	opened, err := s.open(hard, conn)
	if err != nil || opened == nil {
		return err
	}
	defer func() { _ = opened.upstreamConn.Close() }()
	stopUpstream := context.AfterFunc(hard, func() { _ = opened.upstreamConn.Close() })
	defer stopUpstream()
	if err := opened.authenticate(hard); err != nil {
		return err
	}
	return opened.run(ctx, hard)
}

// register has a CancelRequest end what ctx, which is returned, is for.
func (s *Server) register(ctx context.Context, key cancelKey) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies[key] = cancel
	return ctx, func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.copies, key)
	}
}

// cancelCopy ends the COPY of a session, if it has one.
func (s *Server) cancelCopy(key cancelKey) {
	s.mu.Lock()
	cancel := s.copies[key]
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
