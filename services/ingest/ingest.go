// Package ingest is the Firehose-compatible HTTP API: it takes records and writes them to the record logs, and it keeps
// the delivery streams' configuration.
//
// Guarantees:
//   - A record that was acknowledged is on disk, once, however often its call was repeated under one invocation id within
//     the duplicate window; DESIGN.md says how. A record that was refused, or not answered for, may be stored all the
//     same; a retry of the call does not store it twice.
//   - CreateDeliveryStream answers when the delivery stream takes records, on every replica. DeleteDeliveryStream answers
//     when the deletion can no longer be lost. Either goes on after the death of the replica that was asked, on any other.
//   - What the API has and this version has not is refused with an error that names it, never accepted and ignored.
//   - What clients can hold is bounded: memory (--request-memory), time for a header, a body and an answer, and the size of each.
//
// Failures: while NATS is away or full, puts and changes are answered with ServiceUnavailableException, which clients
// repeat; the service starts, waits and goes on by itself. Replicas share nothing but NATS.
//
// Not built yet: signatures are not verified, so whoever reaches the port may call. The access key that a request names
// only serves to tell the calls of one client from those of another.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/services/ingest/internal/model"
	"hydrant/shared/broker"
	"hydrant/shared/clocks"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
	"hydrant/shared/service"
	"hydrant/shared/session"
)

// Config is the service's settings.
type Config struct {
	NATS          broker.Config `embed:""`
	Gate          GateConfig    `embed:""`
	Listen        string        `name:"listen" default:"127.0.0.1:4573" help:"Address of the HTTP API."`
	Region        string        `name:"region" default:"us-east-1" help:"AWS region in the ARNs of delivery streams."`
	AccountID     string        `name:"account-id" default:"000000000000" help:"AWS account id, 12 digits, in the ARNs of delivery streams and in messages."`
	Shards        int           `name:"shards" default:"1" help:"Shards of new delivery streams. The records of one shard keep their order; more shards take more records a second."`
	MaxStreams    int           `name:"max-streams" default:"5000" help:"Most delivery streams there may be."`
	RequestMemory int64         `name:"request-memory" default:"268435456" help:"Bytes that requests in flight may hold together. Beyond it, requests are refused with ServiceUnavailableException."`
}

const (
	mostShards    = 64
	mostStreams   = 100_000
	leastMemory   = 2 * largestBuffer // one put of the largest size
	accountDigits = `^[0-9]{12}$`
	regionForm    = `^[a-z0-9-]{1,64}$`
)

// Validate finds wrong values.
func (c Config) Validate() error {
	switch _, _, err := net.SplitHostPort(c.Listen); {
	case err != nil:
		return fmt.Errorf("--listen (HYDRANT_LISTEN): %q is not accepted; use host:port", c.Listen)
	case !regexp.MustCompile(regionForm).MatchString(c.Region):
		return fmt.Errorf("--region (HYDRANT_REGION): %q is not accepted; use a name such as us-east-1", c.Region)
	case !regexp.MustCompile(accountDigits).MatchString(c.AccountID):
		return fmt.Errorf("--account-id (HYDRANT_ACCOUNT_ID): %q is not accepted; use 12 digits", c.AccountID)
	case c.Shards < 1 || c.Shards > mostShards:
		return fmt.Errorf("--shards (HYDRANT_SHARDS): %d is not accepted; use 1 to %d", c.Shards, mostShards)
	case c.MaxStreams < 1 || c.MaxStreams > mostStreams:
		return fmt.Errorf("--max-streams (HYDRANT_MAX_STREAMS): %d is not accepted; use 1 to %d", c.MaxStreams, mostStreams)
	case c.RequestMemory < leastMemory:
		return fmt.Errorf("--request-memory (HYDRANT_REQUEST_MEMORY): %d is not accepted; use %d bytes or more", c.RequestMemory, leastMemory)
	}
	return errors.Join(c.NATS.Validate(), c.Gate.Validate())
}

// Service is one replica.
type Service struct {
	cfg      Config
	log      *slog.Logger
	registry prometheus.Registerer
	metrics  *apiMetrics
	points   *datapoints.Recorder
	clocks   *clocks.Watch
	listener net.Listener
	server   *webServer
	session  session.Session
	model    *model.Model

	resumeAfter time.Duration // a constant, but for tests
}

// New returns a replica that listens, so that its address is known, and serves once it runs.
func New(cfg Config, runtime service.Runtime) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	constraints, err := model.Load()
	if err != nil {
		return nil, err
	}
	memory := newMemory(cfg.RequestMemory)
	points, err := datapoints.NewRecorder("ingest", runtime.Metrics, runtime.Log)
	if err != nil {
		return nil, err
	}
	watch, err := clocks.New("ingest", runtime.Metrics, runtime.Log)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: runtime.Log, registry: runtime.Metrics, points: points, clocks: watch, model: constraints, resumeAfter: resumeAfter,
		session: session.Session{Refused: runtime.Refused}}
	metrics, err := newAPIMetrics(runtime.Metrics, memory, points, s.exists)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen (HYDRANT_LISTEN): %w", err)
	}
	s.metrics, s.listener = metrics, listener
	s.server = &webServer{limits: defaultLimits(), memory: memory, metrics: metrics, log: runtime.Log}
	return s, nil
}

// exists reports whether a delivery stream is in the catalog, as far as this replica knows.
func (s *Service) exists(name names.Stream) bool {
	view := s.session.View()
	return view != nil && view.Get(name) != nil
}

// Addr is the address of the HTTP API.
func (s *Service) Addr() string { return s.listener.Addr().String() }

// Ready returns what keeps the service from taking records, or nil.
func (s *Service) Ready() error {
	if s.server.operations.Load() == nil {
		return errors.New("waiting for NATS")
	}
	return s.session.Ready()
}

// Run serves until ctx ends. It then takes no more requests, finishes those in flight, and ends what they needed: the
// put log and what is beside it, and the connection to NATS last.
func (s *Service) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	working, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()

	backend := make(chan error, 1)
	go func() {
		defer stop()
		backend <- s.runBackend(working)
	}()
	s.log.Info("listening", "addr", s.Addr())
	err := s.server.run(serving, s.listener)
	end()
	return errors.Join(err, <-backend)
}

// runBackend waits for NATS, opens the API, and runs what it needs until ctx ends.
func (s *Service) runBackend(ctx context.Context) error {
	open, err := s.session.Open(ctx, s.cfg.NATS, "hydrant-ingest", s.log)
	if err == nil {
		defer open.Conn.Close()
		err = s.serveFrom(ctx, open)
	}
	if ctx.Err() == nil || !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (s *Service) serveFrom(ctx context.Context, open session.Handles) error {
	js, view := open.JetStream, open.View
	gate := newGate(js, s.cfg.NATS, s.cfg.Gate, s.log)
	refresher := newRefresher(view.Freshen)
	puts := newPutLog(open.Conn, view, gate, s.log)
	if err := registerCommitMetrics(s.registry, puts, gate); err != nil {
		return err
	}
	cycle := &lifecycle{
		js: js, catalog: open.Catalog, view: view, prove: view.Prove,
		patience: s.resumeAfter, log: s.log,
		wake: make(chan struct{}, 1),
	}
	a := &api{
		cfg: s.cfg, model: s.model, catalog: open.Catalog, view: view, refresher: refresher, lifecycle: cycle,
		puts: puts, metrics: s.metrics, log: s.log,
	}
	operations := a.operations()
	s.server.operations.Store(&operations)
	return service.RunAll(ctx, gate.Run, puts.Run,
		func(ctx context.Context) error { return s.points.Run(ctx, open.Conn) },
		func(ctx context.Context) error { s.clocks.Run(ctx, js, s.cfg.NATS); return nil },
		func(ctx context.Context) error { view.Run(ctx, a.changed); return nil },
		func(ctx context.Context) error { refresher.run(ctx); return nil },
		func(ctx context.Context) error { cycle.run(ctx); return nil },
	)
}

// changed is told of each change of the catalog.
func (a *api) changed(name names.Stream) {
	d := a.view.Get(name)
	switch {
	case d == nil:
		a.metrics.forget(name)
	case d.Status != types.DeliveryStreamStatusActive:
		a.lifecycle.kick()
	}
}
