package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// GateConfig says how full the JetStream store may become before records are refused.
type GateConfig struct {
	StoreRefusePercent int `name:"store-refuse-percent" default:"85" help:"Refuse new records while the JetStream store is fuller than this. The rest is for what delivery needs to go on."`
	StreamSharePercent int `name:"stream-share-percent" default:"50" help:"Refuse new records of a delivery stream that holds more than this part of the JetStream store."`
}

// Validate finds wrong values.
func (c GateConfig) Validate() error {
	if c.StoreRefusePercent < 1 || c.StoreRefusePercent > 99 {
		return fmt.Errorf("--store-refuse-percent (HYDRANT_STORE_REFUSE_PERCENT): %d is not accepted; use 1 to 99", c.StoreRefusePercent)
	}
	if c.StreamSharePercent < 1 || c.StreamSharePercent > 100 {
		return fmt.Errorf("--stream-share-percent (HYDRANT_STREAM_SHARE_PERCENT): %d is not accepted; use 1 to 100", c.StreamSharePercent)
	}
	return nil
}

const (
	lookEvery = time.Second
	lookTime  = 2 * time.Second
	staleTime = 5 * time.Second

	// messageOverhead is about what the server stores of a message beside its payload.
	messageOverhead = 300
)

// gate refuses records before the store is full, since a full one stops delivery too, which alone can empty it.
//
// It knows the store as it was a second ago, and adds what it has let in since, so that a burst does not overshoot. What
// other replicas let in meanwhile it does not know, nor what was let in and not yet stored when it looked; the space above
// the threshold has room for both.
//
// While the store cannot be looked at it adds on: JetStream may store and not answer looks, as when it is busy, or has lost the
// leader of its cluster and not those of the logs. What it adds while nothing is stored at all is counted too, and forgotten at the next look.
//
// It also refuses records while a server does not sync them, which happens where NATS is started anew with other settings: what was let
// in between that and the next look may be lost by a power failure, though it was acknowledged.
type gate struct {
	js     jetstream.JetStream
	broker broker.Config
	cfg    GateConfig
	log    *slog.Logger

	mu       sync.Mutex
	store    broker.Store // as seen last
	admitted int64        // let in since
	seen     time.Time    // when it was seen; zero before the first time
	streams  map[names.StreamID]*streamShare
	failed   map[string]bool // logs that NATS could not write

	asking   sync.Mutex // held while NATS is asked for those
	asked    time.Time  // when it was
	askedErr error
}

// errUnwritable is what a client is told of a log that NATS could not write. Which file that was, and why, is in NATS' log.
const errUnwritable = "NATS could not write the log of the delivery stream, as on a full disk, and stores nothing more in it until it is started anew"

// streamShare is what one delivery stream holds of the store.
type streamShare struct {
	stored   int64 // as seen last; 0 before
	admitted int64 // let in since
	logs     []names.Log
	touched  bool // records came since
}

func newGate(js jetstream.JetStream, natsConfig broker.Config, cfg GateConfig, log *slog.Logger) *gate {
	return &gate{js: js, broker: natsConfig, cfg: cfg, log: log, streams: map[names.StreamID]*streamShare{}}
}

// Run looks at the store until ctx ends.
func (g *gate) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var said lookState
	for {
		err := g.look(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		said = g.report(said, err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// lookState is what was logged last, so that it is logged once.
type lookState struct {
	failing, unlimited, unsynced, failed, refusing bool
}

func (g *gate) report(said lookState, err error) lookState {
	figures := g.figures()
	now := lookState{failing: err != nil, unlimited: err == nil && figures.Limit == 0, unsynced: figures.Unsynced, failed: figures.Failed > 0, refusing: figures.Refusing}
	if now.failing && !said.failing {
		g.log.Warn("the JetStream store cannot be looked at", "error", err)
	}
	if now.unlimited && !said.unlimited {
		g.log.Warn("the limit of the JetStream store is not known, so records are not refused before it is full; set --store-bytes (HYDRANT_STORE_BYTES)")
	}
	if now.unsynced && !said.unsynced {
		g.log.Error("new records are refused", "error", broker.ErrUnsynced)
	}
	if now.failed && !said.failed {
		g.log.Error("NATS could not write, as on a full disk: what it could not write it stores no more, so records are refused and deliveries wait; make room, and start it anew", "streams", figures.Failed)
	}
	if now.refusing && !said.refusing && !now.unsynced && !now.failed {
		g.log.Error("new records are refused: the JetStream store is almost full", "used", figures.Used, "limit", figures.Limit)
	}
	if !now.refusing && said.refusing {
		g.log.Info("new records are accepted again", "used", figures.Used, "limit", figures.Limit)
	}
	if now.failing {
		now.unlimited = said.unlimited
	}
	return now
}

// admit lets records of size bytes together in, or returns why not.
func (g *gate) admit(d *catalog.DeliveryStream, size int) error {
	bytes := int64(size) + messageOverhead
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.share(d)
	s.touched = true
	if g.store.Unsynced {
		return unavailable("the NATS server does not sync what it acknowledges, so that it could be lost")
	}
	if slices.ContainsFunc(s.logs, func(log names.Log) bool { return g.failed[log.JetStream()] }) {
		return unavailable(errUnwritable)
	}
	if g.store.Limit > 0 {
		if used := g.store.Used + g.admitted; used+bytes > g.refuseFrom() {
			return unavailable(fmt.Sprintf("the store is %d %% full: new records are refused from %d %% on (--store-refuse-percent)%s",
				used*100/g.store.Limit, g.cfg.StoreRefusePercent, g.reservation()))
		}
		if held := s.stored + s.admitted; held+bytes > g.shareLimit() {
			return unavailable(fmt.Sprintf("delivery stream %s holds %d %% of the store, undelivered: one may hold %d %% (--stream-share-percent)%s",
				d.Name, held*100/g.store.Limit, g.cfg.StreamSharePercent, g.reservation()))
		}
	}
	g.admitted += bytes
	s.admitted += bytes
	return nil
}

// reservation is what a refusal adds while the store cannot be looked at; it needs g.mu.
func (g *gate) reservation() string {
	age := time.Since(g.seen)
	if age < staleTime {
		return ""
	}
	return fmt.Sprintf("; it could not be looked at for %s, and what came since is counted as stored", age.Round(time.Second))
}

func (g *gate) refuseFrom() int64 { return percent(g.store.Limit, g.cfg.StoreRefusePercent) }
func (g *gate) shareLimit() int64 { return percent(g.store.Limit, g.cfg.StreamSharePercent) }

func percent(of int64, n int) int64 { return int64(float64(of) * float64(n) / 100) }

// share needs g.mu.
func (g *gate) share(d *catalog.DeliveryStream) *streamShare {
	s := g.streams[d.ID]
	if s == nil {
		s = new(streamShare)
		for shard := range max(d.Shards, 1) {
			s.logs = append(s.logs, names.Log{Stream: d.Name, Shard: names.Shard(shard), ID: d.ID})
		}
		g.streams[d.ID] = s
	}
	return s
}

// gateFigures is what the gate knows, for metrics.
type gateFigures struct {
	Used, Limit int64 // bytes of the JetStream store; a limit of 0 is not known
	Unsynced    bool
	Failed      int  // logs that NATS could not write
	Refusing    bool // for any of these reasons
}

func (g *gate) figures() gateFigures {
	g.mu.Lock()
	defer g.mu.Unlock()
	used := g.store.Used + g.admitted
	full := g.store.Limit > 0 && used >= g.refuseFrom()
	return gateFigures{Used: used, Limit: g.store.Limit, Unsynced: g.store.Unsynced, Failed: len(g.failed), Refusing: full || g.store.Unsynced || len(g.failed) > 0}
}

// look takes the store's figures, and those of the delivery streams that may be near their share. What was let in before
// it begins is in the figures from then on, what is let in later is added to them.
func (g *gate) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	_, _ = g.failedWrites(ctx) // until a server says otherwise, what was known is so
	g.mu.Lock()
	before := g.admitted
	g.mu.Unlock()
	store, err := broker.Usage(ctx, g.js, g.broker)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if store.Untold {
		store.Unsynced = g.store.Unsynced // until a server says otherwise
	}
	g.store, g.seen = store, time.Now()
	g.admitted -= before
	due := g.dueStreams()
	g.mu.Unlock()
	for _, s := range due {
		if err := g.lookAt(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// failedWrites returns the streams that NATS could not write, as it was when failedWrites was called or later: who waits for the answer to
// another's question takes the next, with all who wait.
func (g *gate) failedWrites(ctx context.Context) (map[string]bool, error) {
	called := time.Now()
	g.asking.Lock()
	defer g.asking.Unlock()
	if g.asked.Before(called) {
		g.asked = time.Now()
		var failed map[string]bool
		if failed, g.askedErr = broker.FailedWrites(ctx, g.broker); g.askedErr == nil {
			g.mu.Lock()
			g.failed = failed
			g.mu.Unlock()
		}
	}
	if g.askedErr != nil {
		return nil, g.askedErr
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed, nil
}

// dueStreams forgets the streams that are idle and far from their share, and returns those of the others that may be near
// it: none, while the whole store holds less than half a share. It needs g.mu.
func (g *gate) dueStreams() []*streamShare {
	var due []*streamShare
	near := g.shareLimit() / 2
	for id, s := range g.streams {
		switch {
		case !s.touched && s.stored < near || g.store.Limit == 0:
			delete(g.streams, id)
		case g.store.Used < near:
			s.stored, s.admitted = g.store.Used, 0
		default:
			due = append(due, s)
		}
		s.touched = false
	}
	return due
}

// lookAt reads what the logs of a delivery stream hold, on one server, as the store is counted. A log that is gone, with
// its delivery stream, holds nothing.
func (g *gate) lookAt(ctx context.Context, s *streamShare) error {
	g.mu.Lock()
	before := s.admitted
	g.mu.Unlock()
	stored := int64(0)
	for _, log := range s.logs {
		stream, err := g.js.Stream(ctx, log.JetStream())
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the size of %s: %w", log.JetStream(), err)
		}
		stored += int64(stream.CachedInfo().State.Bytes)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.stored = stored
	s.admitted -= before
	return nil
}
