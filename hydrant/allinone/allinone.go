// Package allinone runs a whole installation in one process: every service, an embedded NATS server, and an S3 server as
// a child process.
//
// It calls the same New and Run as the services' own programs, with the same settings; the services do not know that it
// exists. All state is below one data directory, so an installation that is started again there goes on where it stopped.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"hydrant/hydrant/internal/memory"
	"hydrant/hydrant/internal/natsserver"
	"hydrant/hydrant/internal/s3note"
	"hydrant/hydrant/internal/s3server"
	"hydrant/services/buffer"
	"hydrant/services/es"
	"hydrant/services/ingest"
	"hydrant/services/redshift"
	"hydrant/services/s3sink"
	"hydrant/shared/format"
	"hydrant/shared/service"
)

// Config is where everything listens and stores. Every other setting of a service is taken from the environment.
type Config struct {
	DataDir     string `name:"data-dir" default:".hydrant" type:"path" help:"Directory for everything that is kept."`
	Listen      string `name:"listen" default:"127.0.0.1:4573" help:"Address of the Firehose-compatible API."`
	S3Listen    string `name:"s3-listen" default:"127.0.0.1:4572" help:"Address of the embedded S3 server."`
	NATSListen  string `name:"nats-listen" default:"127.0.0.1:4222" help:"Address of the embedded NATS server."`
	NATSMon     string `name:"nats-monitor-listen" default:"127.0.0.1:0" help:"Address of the embedded NATS server's monitoring. Port 0 takes a free one."`
	AdminAddr   string `name:"admin-addr" default:"127.0.0.1:4574" help:"Address of /healthz, /readyz and /metrics."`
	StoreBytes  int64  `name:"store-bytes" default:"0" help:"Most bytes that records and state may take on disk. 0 means three quarters of what is free."`
	MemoryLimit int64  `name:"memory-limit" default:"0" help:"Bytes of memory that the process should stay below; it takes more while it needs more. 0 means 1 GiB, or leaves it to Go where GOMEMLIMIT is set. The embedded S3 server is a process of its own."`

	S3AccessKey string `name:"s3-access-key-id" default:"local" help:"Access key of the embedded S3 server."`
	S3SecretKey string `name:"s3-secret-access-key" default:"localsecret" secret:"" help:"Secret of the embedded S3 server."`

	// Clusters are the settings of the Elasticsearch sink that an installation needs as soon as its cluster wants to know who asks.
	Clusters es.Clusters `embed:""`

	// S3Command starts the embedded S3 server; empty means this program's own hidden sub-command.
	S3Command []string `kong:"-"`
	// Banner receives the text for the person who started it, once everything is ready. Nil means none.
	Banner io.Writer `kong:"-"`
	// Ready is closed, if it is not nil, once everything is ready.
	Ready chan<- struct{} `kong:"-"`
}

// Validate finds contradictions.
func (c *Config) Validate() error {
	if c.StoreBytes < 0 {
		return fmt.Errorf("--store-bytes (HYDRANT_STORE_BYTES): %d is not accepted; use 0 or more", c.StoreBytes)
	}
	if c.MemoryLimit < 0 {
		return fmt.Errorf("--memory-limit (HYDRANT_MEMORY_LIMIT): %d is not accepted; use 0 or more", c.MemoryLimit)
	}
	if err := c.Clusters.Validate(); err != nil {
		return err
	}
	seen := map[string]string{}
	for flag, addr := range map[string]string{"listen": c.Listen, "s3-listen": c.S3Listen, "nats-listen": c.NATSListen, "admin-addr": c.AdminAddr} {
		if other, taken := seen[addr]; taken && !portZero(addr) {
			return fmt.Errorf("--%s and --%s: both are %s; give each an address of its own", flag, other, addr)
		}
		seen[addr] = flag
	}
	return nil
}

func portZero(addr string) bool { return len(addr) > 2 && addr[len(addr)-2:] == ":0" }

// Run runs everything until ctx ends: it starts NATS and the S3 server, then the services, and stops them in the reverse
// order, so that what is in work can be finished.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := os.MkdirAll(cfg.DataDir, 0o750); err != nil {
		return fmt.Errorf("--data-dir (HYDRANT_DATA_DIR): %w", err)
	}
	nats, err := natsserver.Start(ctx, natsserver.Config{
		Addr: cfg.NATSListen, MonitorAddr: cfg.NATSMon, StoreDir: filepath.Join(cfg.DataDir, "nats"),
		StoreBytes: cfg.StoreBytes, Logger: log.With("service", "nats"),
	})
	if err != nil {
		return fmt.Errorf("%w (--nats-listen, HYDRANT_NATS_LISTEN; --data-dir, HYDRANT_DATA_DIR)", err)
	}
	defer nats.Shutdown()
	s3, err := s3server.New(s3server.SupervisorConfig{
		Command: cfg.S3Command, Addr: cfg.S3Listen, Dir: filepath.Join(cfg.DataDir, "s3"),
		AccessKey: cfg.S3AccessKey, SecretKey: cfg.S3SecretKey, Logger: log.With("service", "s3"),
	})
	if err != nil {
		return err
	}
	services, err := newServices(cfg, nats, log)
	if err != nil {
		return err
	}
	return service.RunAll(ctx, func(ctx context.Context) error { return underneath(ctx, s3.Run, services.run) }, keepMemory(cfg.MemoryLimit))
}

// keepMemory keeps the process near its limit, unless the limit is Go's own.
func keepMemory(limit int64) func(context.Context) error {
	switch {
	case limit > 0:
	case os.Getenv("GOMEMLIMIT") != "":
		return func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	default:
		limit = memory.Default
	}
	return memory.NewKeeper(limit).Run
}

// underneath runs base for as long as top runs: base ends only after top has, and its failure ends top.
func underneath(ctx context.Context, base, top func(context.Context) error) error {
	baseCtx, endBase := context.WithCancel(context.WithoutCancel(ctx))
	defer endBase()
	topCtx, endTop := context.WithCancel(ctx)
	defer endTop()
	ended := make(chan error, 1)
	go func() {
		err := base(baseCtx)
		endTop()
		ended <- err
	}()
	err := top(topCtx)
	endBase()
	return errors.Join(withoutCancelled(err), withoutCancelled(<-ended))
}

func withoutCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// services are Hydrant's services and the admin port they share.
type services struct {
	cfg    Config
	nats   *natsserver.Server
	parts  []service.Service
	ingest *ingest.Service
	admin  *service.Admin
	log    *slog.Logger
}

func newServices(cfg Config, nats *natsserver.Server, log *slog.Logger) (*services, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c, err := readConfigs(cfg, nats)
	if err != nil {
		return nil, err
	}
	s, refused := &services{cfg: cfg, nats: nats, log: log}, new(format.Refused)
	if err := s.build(c, registry, refused, log); err != nil {
		return nil, err
	}
	s.admin, err = service.NewAdmin(cfg.AdminAddr, registry, s.ready, refused, log.With("service", "admin"))
	return s, err
}

func (s *services) build(c *configs, registry *prometheus.Registry, refused *format.Refused, log *slog.Logger) (err error) {
	runtime := func(name string) service.Runtime {
		return service.Runtime{Log: log.With("service", name), Metrics: registry, Refused: refused}
	}
	if s.ingest, err = ingest.New(c.ingest, runtime("ingest")); err != nil {
		return err
	}
	b, err := buffer.New(c.buffer, runtime("buffer"))
	if err != nil {
		return err
	}
	k, err := s3sink.New(c.s3sink, runtime("s3sink"))
	if err != nil {
		return err
	}
	e, err := es.New(c.es, runtime("es"))
	if err != nil {
		return err
	}
	r, err := redshift.New(c.redshift, runtime("redshift"))
	if err != nil {
		return err
	}
	s.parts = []service.Service{s.ingest, b, k, e, r}
	return nil
}

func (s *services) ready() error {
	var errs []error
	for _, p := range s.parts {
		errs = append(errs, p.Ready())
	}
	return errors.Join(errs...)
}

func (s *services) run(ctx context.Context) error {
	parts := []func(context.Context) error{s.admin.Run, s.announce}
	for _, p := range s.parts {
		parts = append(parts, p.Run)
	}
	return service.RunAll(ctx, parts...)
}

// announce waits until everything is ready and tells whoever waits for it, the tools first. It ends when everything does.
func (s *services) announce(ctx context.Context) error {
	if !s.awaitReady(ctx) {
		return nil
	}
	defer s3note.Write(ctx, s.nats.URL(), "http://"+s.cfg.S3Listen, s.log)()
	if s.cfg.Banner != nil {
		printBanner(s.cfg.Banner, s.cfg, s.ingest.Addr(), s.nats.URL(), s.admin.Addr())
	}
	if s.cfg.Ready != nil {
		close(s.cfg.Ready)
	}
	<-ctx.Done()
	return nil
}

// awaitReady returns false where ctx ended first.
func (s *services) awaitReady(ctx context.Context) bool {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for s.ready() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}
