package buffer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/members"
	"hydrant/shared/names"
)

const (
	trimEvery = 5 * time.Second
	// restTurns is how many turns a pass is due in while nothing happens.
	restTurns = 6

	// pressure is how full the store is, in percent of its limit, when everything delivered goes. Ingest refuses new records
	// somewhat later, at 85 %.
	pressure = 80

	// budgetGoal is what a trim leaves of the replay budget, in percent, so that not every pass has to trim a little.
	budgetGoal = 95
)

// trimmer removes delivered records from the logs when their replay window takes too much of the disk, and reports what is
// not delivered.
//
// One replica at a time does it, by the membership. That is for economy: what is delivered stays delivered and a purge up
// to a sequence can be repeated, so two trimmers, or one that wakes after a minute, remove nothing that another would not.
type trimmer struct {
	cfg     Config
	js      jetstream.JetStream
	batches jetstream.Stream
	view    *catalog.View
	group   *members.Group
	metrics *metrics
	log     *slog.Logger

	known map[key]known // what the last pass found
	still stillness
	late  map[legName]bool
}

func newTrimmer(cfg Config, js jetstream.JetStream, batches jetstream.Stream, view *catalog.View, group *members.Group, m *metrics, log *slog.Logger) *trimmer {
	return &trimmer{
		cfg: cfg, js: js, batches: batches, view: view, group: group, metrics: m, log: log,
		known: map[key]known{}, late: map[legName]bool{},
	}
}

// run trims every few seconds, with at least four times the pause of what a pass took, until ctx ends.
func (t *trimmer) run(ctx context.Context) {
	defer t.metrics.report.Store(nil)
	timer := time.NewTimer(trimEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		t.turn(ctx)
		timer.Reset(max(trimEvery, 4*time.Since(began)))
	}
}

func (t *trimmer) turn(ctx context.Context) {
	if !t.group.Owns("trim") {
		t.metrics.report.Store(nil)
		t.known, t.still = map[key]known{}, stillness{}
		return
	}
	if t.still.rests(t.used(ctx)) {
		return
	}
	r, err := t.pass(ctx)
	if err != nil {
		t.still = stillness{}
		if ctx.Err() == nil {
			t.log.Warn("logs not trimmed", "error", err)
		}
		return
	}
	t.metrics.report.Store(r)
	t.warn(r, time.Now())
}

// used is the size of the store, or -1 where that cannot be read.
func (t *trimmer) used(ctx context.Context) int64 {
	store, err := broker.Usage(ctx, t.js, t.cfg.NATS)
	if err != nil {
		return -1
	}
	return store.Used
}

// stillness finds out that nothing happens: no record is put, no batch is cut and none is delivered without the store
// growing. An idle installation of thousands of logs is then looked at less often.
type stillness struct {
	used  int64
	looks int // in a row that found the store as it was
}

// rests tells that a pass is not needed. The first after a change is followed by another, for what JetStream does a moment
// after it has stored, such as to count an acknowledgement.
func (s *stillness) rests(used int64) bool {
	if used < 0 || used != s.used {
		*s = stillness{used: used}
		return false
	}
	s.looks++
	return s.looks > 1 && s.looks%restTurns != 0
}

// pass looks at every log once and trims where it has to.
func (t *trimmer) pass(ctx context.Context) (*report, error) {
	store, err := broker.Usage(ctx, t.js, t.cfg.NATS)
	if err != nil {
		return nil, err
	}
	s, err := t.survey(ctx)
	if err != nil {
		return nil, err
	}
	// The catalog is read after the sinks: a leg that this view does not have yet begins after everything that the sinks
	// had acknowledged.
	if err := t.view.Freshen(ctx); err != nil {
		return nil, err
	}
	logs, r := t.inspect(ctx, s)
	if plan(logs, store, t.cfg) {
		// A NATS server that was stopped and wakes may not know a leg yet that began meanwhile, and has something still to deliver. In
		// a store that is full its word has to do: only a trim makes room there.
		if err := t.view.ProveUnlessFull(ctx); err != nil {
			return nil, err
		}
		logs, r = t.inspect(ctx, s)
		plan(logs, store, t.cfg)
	}
	r.store = store
	for _, l := range logs {
		t.purge(ctx, l)
		r.replay += l.replayBytes()
	}
	return r, nil
}

// inspect finds out how far each log of each delivery stream is delivered.
func (t *trimmer) inspect(ctx context.Context, s *survey) ([]*trimLog, *report) {
	r := &report{legs: map[legName]undelivered{}}
	found := map[key]known{}
	var logs []*trimLog
	for _, d := range t.view.All() {
		if d.Status != types.DeliveryStreamStatusActive {
			continue
		}
		for shard := range names.Shard(d.Shards) {
			source := names.Log{Stream: d.Name, Shard: shard, ID: d.ID}
			state, there := s.logs[source.JetStream()]
			if !there {
				continue
			}
			l := &trimLog{source: source, first: state.FirstSeq, last: state.LastSeq, bytes: state.Bytes, delivered: math.MaxUint64}
			for _, leg := range d.Legs() {
				k := key{leg.Leg, source}
				late := leg.Since
				if !late.After(d.Created) { // as the cutter has it: see begin
					late = time.Time{}
				}
				p := t.locate(ctx, k, late, state, s, found)
				l.delivered = min(l.delivered, p.delivered)
				r.add(legName{d.Name, leg.Leg}, p.oldest, d.Retention())
			}
			if l.delivered != math.MaxUint64 { // a stream without a leg delivers nothing
				logs = append(logs, l)
			}
		}
	}
	t.known = found
	return logs, r
}

// locate uses what the last pass found as long as neither the log nor the sink has moved.
func (t *trimmer) locate(ctx context.Context, k key, late time.Time, state jetstream.StreamState, s *survey, found map[key]known) position {
	floor, there := s.floors[names.SinkConsumer(k.leg, k.source.Stream, k.source.ID)]
	before, seen := t.known[k]
	now := known{first: state.FirstSeq, last: state.LastSeq, floor: floor, consumer: there}
	if seen && before.same(now) {
		found[k] = before
		return before.position
	}
	p, err := findPosition(ctx, t.batches, k, state, late, floor, there, before.position)
	if err != nil {
		// Nothing is known to be delivered, so nothing is trimmed, and the next pass asks again.
		t.log.Debug("how far a leg has delivered is not known", "stream", k.source.Stream, "leg", k.leg, "error", err)
		return position{oldest: before.position.oldest}
	}
	now.position = p
	found[k] = now
	return p
}

// trimLog is what a pass knows of a log, and how much of it is to go.
type trimLog struct {
	source      names.Log
	first, last uint64
	bytes       uint64
	delivered   uint64 // up to here by every leg
	upTo        uint64 // to be removed
}

// count is how many sequences are delivered and still there.
func (l *trimLog) count() uint64 {
	if l.delivered < l.first || l.first == 0 || l.last < l.first {
		return 0
	}
	return min(l.delivered, l.last) - l.first + 1
}

// deliveredBytes estimates, from the share of the sequences, the bytes that are delivered and still there.
func (l *trimLog) deliveredBytes() float64 {
	if l.count() == 0 {
		return 0
	}
	return float64(l.bytes) * float64(l.count()) / float64(l.last-l.first+1)
}

// replayBytes estimates what is left of them after the purge.
func (l *trimLog) replayBytes() int64 {
	if l.upTo < l.first {
		return int64(l.deliveredBytes())
	}
	return int64(l.deliveredBytes() * (1 - float64(l.upTo-l.first+1)/float64(l.count())))
}

// give marks the oldest fraction of what is delivered to go.
func (l *trimLog) give(fraction float64) {
	n := min(uint64(math.Ceil(float64(l.count())*fraction)), l.count())
	if n > 0 {
		l.upTo = max(l.upTo, l.first+n-1)
	}
}

// goes tells whether something of the log is to go. The first sequence of one that never had a message is 0.
func (l *trimLog) goes() bool { return l.upTo > 0 && l.upTo >= l.first }

// plan decides what goes of each log, and tells whether anything does. It is never more than what is delivered.
func plan(logs []*trimLog, store broker.Store, cfg Config) (some bool) {
	sum := 0.0
	streams := map[names.Stream]uint64{}
	for _, l := range logs {
		sum += l.deliveredBytes()
		streams[l.source.Stream] += l.bytes
	}
	fraction := 0.0
	if budget := float64(cfg.ReplayBytes); sum > budget {
		fraction = 1 - budget*budgetGoal/100/sum
	}
	if store.Limit > 0 && float64(store.Used) >= float64(store.Limit)*pressure/100 {
		fraction = 1
	}
	share := float64(store.Limit) * float64(cfg.StreamSharePercent) / 100
	for _, l := range logs {
		if share > 0 && float64(streams[l.source.Stream]) > share/2 {
			l.give(1)
		}
		l.give(fraction)
		some = some || l.goes()
	}
	return some
}

// purge removes what the plan says from the log of exactly that incarnation, whose id is in the log's name.
//
// A lost answer: the purge was done or the next pass repeats it. A repeat, or a process that wakes after a minute, removes
// up to the same sequence once more: what is gone is gone, what came later is behind it. The log of a stream that was made
// again has another name, and one that is deleted is not found.
func (t *trimmer) purge(ctx context.Context, l *trimLog) {
	if !l.goes() {
		return
	}
	log := t.log.With("log", l.source.JetStream(), "up_to", l.upTo)
	stream, err := t.js.Stream(ctx, l.source.JetStream())
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSequence(l.upTo+1))
	}
	switch {
	case err == nil:
		log.Debug("delivered records removed", "messages", l.upTo-l.first+1)
	case errors.Is(err, jetstream.ErrStreamNotFound) || ctx.Err() != nil:
	default:
		log.Warn("delivered records not removed", "error", err)
	}
}

// survey is the state of all logs and sinks, taken with a request for a few hundred of each.
type survey struct {
	floors map[string]uint64 // of sink consumers: up to this sequence of BATCHES everything is acknowledged
	logs   map[string]jetstream.StreamState
}

// survey asks the sinks first. A batch that is acknowledged later is found undelivered, which only keeps it longer.
func (t *trimmer) survey(ctx context.Context) (*survey, error) {
	s := &survey{floors: map[string]uint64{}, logs: map[string]jetstream.StreamState{}}
	consumers := t.batches.ListConsumers(ctx)
	for c := range consumers.Info() {
		s.floors[c.Name] = c.AckFloor.Stream
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the sinks: %w", err)
	}
	streams := t.js.ListStreams(ctx, jetstream.WithStreamListSubject(names.AllRecords))
	for i := range streams.Info() {
		s.logs[i.Config.Name] = i.State
	}
	if err := streams.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the record logs: %w", err)
	}
	return s, nil
}
