// Package buffer cuts the records of delivery streams into batches.
//
// Guarantees, of which DESIGN.md tells the reasons and the failure cases:
//   - The batches of a leg and shard are contiguous: each begins behind the one before, whatever number of replicas are at
//     work, stall, die or wake. None overlaps another and no message is left out.
//   - A batch is cut when it has the size of its hint, or when the interval has passed since its oldest message arrived in
//     JetStream, whichever is first. A restart does not lengthen the interval.
//   - What expired before it was cut is counted in the next batch, logged and measured.
//   - Of the log only what every leg has delivered is ever removed before its time.
//
// There is no buffer state to lose. The state of a leg is the last descriptor on its subject; what a cutter has filled
// is still in the log, and is dropped and read again whenever anything is in doubt.
package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/clocks"
	"hydrant/shared/members"
	"hydrant/shared/names"
	"hydrant/shared/service"
	"hydrant/shared/session"
)

// farewell is how long telling the other replicas of the end may take.
const farewell = time.Second

// openings is how many cutters may be at their beginning at once.
const openings = 64

// Config is the settings of the service.
type Config struct {
	NATS broker.Config `embed:""`

	ReplayBytes        int64 `name:"replay-bytes" default:"10737418240" help:"Bytes of delivered records that the logs keep for replay, all delivery streams together. 0 keeps none."`
	StreamSharePercent int   `name:"stream-share-percent" default:"50" help:"Share of the JetStream store that one delivery stream may take, in percent. From half of it on, what the stream has delivered is not kept for replay."`
}

// Validate finds wrong values.
func (c Config) Validate() error {
	if err := c.NATS.Validate(); err != nil {
		return err
	}
	if c.ReplayBytes < 0 {
		return fmt.Errorf("--replay-bytes (HYDRANT_REPLAY_BYTES): %d is not accepted; use 0 or more", c.ReplayBytes)
	}
	if c.StreamSharePercent < 1 || c.StreamSharePercent > 100 {
		return fmt.Errorf("--stream-share-percent (HYDRANT_STREAM_SHARE_PERCENT): %d is not accepted; use 1 to 100", c.StreamSharePercent)
	}
	return nil
}

// Service is the buffer.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	clocks  *clocks.Watch

	session session.Session
}

var _ service.Service = (*Service)(nil)

// New returns a service, or says which setting is wrong.
func New(cfg Config, rt service.Runtime) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(rt.Metrics)
	if err != nil {
		return nil, err
	}
	watch, err := clocks.New("buffer", rt.Metrics, rt.Log)
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, log: rt.Log, metrics: m, clocks: watch, session: session.Session{Refused: rt.Refused}}, nil
}

// Ready implements service.Service.
func (s *Service) Ready() error { return s.session.Ready() }

// Run implements service.Service. While NATS is away it waits, and is not ready. It ends at once: there is nothing to
// finish or to hand back.
func (s *Service) Run(ctx context.Context) error {
	open, err := s.session.Open(ctx, s.cfg.NATS, "hydrant-buffer", s.log)
	if err != nil {
		return err
	}
	defer open.Conn.Close()
	var batches jetstream.Stream
	err = session.Persist(ctx, s.log, func() (err error) {
		batches, err = open.JetStream.Stream(ctx, names.BatchesStream)
		return err
	})
	if err != nil {
		return err
	}
	return s.serve(ctx, open, batches)
}

func (s *Service) serve(ctx context.Context, open session.Handles, batches jetstream.Stream) error {
	conn, js, view := open.Conn, open.JetStream, open.View
	group := members.NewGroup(js, "buffer", s.log)
	link := newLink(conn)
	work := &allotment{
		env: &env{
			js: js, batches: batches, link: link, opening: make(chan struct{}, openings), metrics: s.metrics, refused: s.session.Refused, log: s.log,
		},
		view: view, group: group, changed: make(chan struct{}, 1), cutters: map[key]*cutter{},
	}
	trimmer := newTrimmer(s.cfg, js, batches, view, group, s.metrics, s.log)

	var running sync.WaitGroup
	running.Go(func() { link.run(ctx) })
	running.Go(func() { view.Run(ctx, func(names.Stream) { work.look() }) })
	running.Go(func() { group.Run(ctx, work.look) })
	running.Go(func() { trimmer.run(ctx) })
	running.Go(func() { s.clocks.Run(ctx, js, s.cfg.NATS) })
	work.run(ctx)
	// The others are told of the end, if NATS answers: a request that it does not answer ends with the connection.
	late := time.AfterFunc(farewell, conn.Close)
	defer late.Stop()
	running.Wait()
	return ctx.Err()
}
