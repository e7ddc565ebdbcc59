package buffer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

const (
	askTime = 2 * time.Second

	// With interval 0 the sink is asked so often whether it has nothing left to do; less often while it stays busy.
	minPoll = 10 * time.Millisecond
	maxPoll = time.Second

	minPause   = 50 * time.Millisecond // before a cutter begins again at the cursor
	maxPause   = 5 * time.Second
	stuckPause = 30 * time.Second // when only a person can help
	warnEvery  = 60               // failures in a row, which are five minutes
)

var (
	errReconnect = errors.New("the connection to NATS was made anew")
	errOrder     = errors.New("the messages read are not one after the other")
	errShortLog  = errors.New("the record log ends before the last batch that was cut; if the store was restored from a backup, records put until it is as long as before will not be delivered")
)

// key names a cutter: one leg of one shard of one incarnation of a delivery stream.
type key struct {
	leg    names.Leg
	source names.Log
}

// share is what the membership decides about: which replica has the key.
func (k key) share() string { return fmt.Sprintf("%s/%s/%d", k.leg, k.source.Stream, k.source.Shard) }

// env is what the cutters of a service have in common.
type env struct {
	js      jetstream.JetStream
	batches jetstream.Stream
	link    *link
	opening chan struct{} // a slot for each cutter that is at the beginning: thousands at once would be refused
	metrics *metrics
	refused *format.Refused
	log     *slog.Logger
}

// cutter cuts the batches of one key. Everything below the line belongs to the goroutine in run.
type cutter struct {
	key
	*env
	log    *slog.Logger
	cancel context.CancelFunc

	hints   atomic.Pointer[hints]
	changed chan struct{} // holds one token when hints were replaced
	bytes   atomic.Int64  // being filled, for the metrics
	records atomic.Int64

	// ---
	cursor     cursor
	unanswered *batch.Descriptor // published, but nobody said that it is stored
	next       uint64            // sequence the next batch begins with, 0 when it is the next message's
	read       uint64            // messages delivered by the reader
	filling    filling
	size       int64 // that the batch is filled to
	asked      bool  // whether size takes the backlog into account
	deadline   time.Time
	end        uint64 // sequence that completes a batch which is due; 0 before it is
	timer      *time.Timer
	progress   bool  // a batch was cut since the last begin
	stuck      bool  // at something that a newer version wrote
	calm       int64 // bytes that the batch must have for the cutter to park
}

func newCutter(k key, s *env, h hints, cancel context.CancelFunc) *cutter {
	c := &cutter{
		key: k, env: s, cancel: cancel, changed: make(chan struct{}, 1),
		log: s.log.With("stream", k.source.Stream, "leg", k.leg, "shard", k.source.Shard),
	}
	c.hints.Store(&h)
	return c
}

// configure gives the cutter other hints, which hold for the batch that is being filled.
func (c *cutter) configure(h hints) {
	if *c.hints.Load() == h {
		return
	}
	c.hints.Store(&h)
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// run cuts until ctx ends. There is nothing to hand back: what is filled is still in the log.
func (c *cutter) run(ctx context.Context) {
	c.timer = time.NewTimer(time.Hour)
	defer c.timer.Stop()
	defer c.readable()
	failures := 0
	for ctx.Err() == nil {
		began, again := time.Now(), c.link.again()
		err := c.follow(ctx, again)
		c.drop()
		if ctx.Err() != nil {
			return
		}
		if c.progress || time.Since(began) > 2*maxPause {
			failures = 0
		}
		failures++
		c.tell(ctx, err, failures)
		c.rest(ctx, again, err, failures)
	}
}

// follow reads the cursor and the log from there on, and cuts, until anything is in doubt.
func (c *cutter) follow(ctx context.Context, again <-chan struct{}) error {
	c.progress, c.read = false, 0
	r, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { r.close(ctx) }()
	for err == nil {
		if err = c.step(ctx, again, r); err == nil && c.parks(r, time.Now()) {
			r.close(ctx)
			if err = c.park(ctx, again, r.log); err == nil {
				r, err = c.resume(ctx, r)
			}
		}
	}
	return err
}

// resume reads on behind what has been read, with another reader.
func (c *cutter) resume(ctx context.Context, before *reader) (*reader, error) {
	if err := c.queue(ctx); err != nil {
		return before, err
	}
	defer c.leaveQueue()
	from := start{sequence: c.next}
	if !c.filling.empty() {
		from.sequence = c.filling.last + 1
	}
	r, err := openReader(ctx, before.log, c.link.conn, c.leg, from)
	if err != nil {
		return before, err
	}
	c.read = 0
	return r, nil
}

// queue waits for a slot among those that may be at their beginning at once.
func (c *cutter) queue(ctx context.Context) error {
	select {
	case c.opening <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cutter) leaveQueue() { <-c.opening }

// step waits for the next thing to happen. An idle cutter waits for its reader alone: its timer runs only while something
// is filled.
func (c *cutter) step(ctx context.Context, again <-chan struct{}, r *reader) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-again:
		return errReconnect
	case <-r.silence.C:
		return r.silent()
	case <-c.changed:
		return c.rehint(ctx)
	case m := <-r.answers:
		a, found, err := r.read(m)
		if err != nil || !found {
			return err
		}
		return c.take(ctx, a)
	case <-c.timer.C:
		return c.elapsed(ctx)
	}
}

// open finds where to go on, and starts to read there. Only so many cutters do it at once.
func (c *cutter) open(ctx context.Context) (*reader, error) {
	if err := c.queue(ctx); err != nil {
		return nil, err
	}
	defer c.leaveQueue()
	var err error
	if c.cursor, err = readCursor(ctx, c.batches, c.leg, c.source); err != nil {
		return nil, err
	}
	c.settle()
	log, err := c.js.Stream(ctx, c.source.JetStream())
	if err != nil {
		return nil, fmt.Errorf("open the record log: %w", err)
	}
	state := log.CachedInfo().State
	if c.cursor.found && state.LastSeq < c.cursor.last {
		return nil, fmt.Errorf("%w: sequence %d, and the batch ends at %d", errShortLog, state.LastSeq, c.cursor.last)
	}
	from := begin(c.cursor, *c.hints.Load(), state.FirstSeq, c.batches.CachedInfo().Config.MaxAge, time.Now())
	c.next = from.sequence
	if c.next != 0 && state.Msgs == 0 && state.LastSeq >= c.next {
		if err := c.cutGap(ctx, state.LastSeq); err != nil {
			return nil, err
		}
		from.sequence = c.next
	}
	return openReader(ctx, log, c.link.conn, c.leg, from)
}

// take adds a message to the batch and cuts the batch if that completes it.
func (c *cutter) take(ctx context.Context, a arrival) error {
	if a.delivery != c.read+1 || a.sequence < c.next || a.sequence <= c.filling.last && !c.filling.empty() {
		return fmt.Errorf("%w: sequence %d, delivery %d, after %d, %d", errOrder, a.sequence, a.delivery, c.filling.last, c.read)
	}
	c.read = a.delivery
	if err := format.Check(a.format, record.Format); err != nil {
		return c.stopAt(ctx, a, err)
	}
	c.readable()
	now := time.Now()
	fresh := c.filling.empty()
	c.filling.add(a, c.next, now)
	c.bytes.Store(c.filling.bytes)
	c.records.Store(int64(c.filling.records))
	if fresh {
		c.arm(now)
	}
	if c.full(ctx) {
		return c.publish(ctx, batch.ReasonSize)
	}
	if c.end != 0 || !now.Before(c.deadline) {
		return c.elapsed(ctx)
	}
	return nil
}

// stopAt cuts what comes before a message of a newer format, whose records nobody here can count. It and what comes after it
// wait in the log: nothing is cut over it, so nothing behind it is delivered out of order, and nothing of it trimmed.
func (c *cutter) stopAt(ctx context.Context, a arrival, newer error) error {
	if !c.filling.empty() {
		if err := c.publish(ctx, batch.ReasonFormat); err != nil {
			return err
		}
	}
	return fmt.Errorf("read the record log: message %d: %w", a.sequence, newer)
}

// arm sets size and deadline of the batch from the present hints.
func (c *cutter) arm(now time.Time) {
	h := c.hints.Load()
	c.size, c.asked, c.end = h.bytes, false, 0
	c.deadline = c.filling.due(h.interval)
	c.timer.Reset(max(c.deadline.Sub(now), 0))
}

// rehint applies changed hints to the batch that is being filled.
func (c *cutter) rehint(ctx context.Context) error {
	if c.filling.empty() {
		return nil
	}
	c.arm(time.Now())
	if c.full(ctx) {
		return c.publish(ctx, batch.ReasonSize)
	}
	return nil
}

// full reports whether the batch has the size it is to have. When the size hint is reached the sink is asked for its
// backlog: behind on its work, it gets fewer and larger batches.
func (c *cutter) full(ctx context.Context) bool {
	if c.filling.messages >= maxBatchMessages {
		return true
	}
	if c.filling.bytes < c.size {
		return false
	}
	if !c.asked {
		c.asked = true
		c.size = grown(c.size, c.waiting(ctx))
	}
	return c.filling.bytes >= c.size
}

// elapsed cuts a batch of which the interval has passed, together with what has arrived up to now: after a pause of the
// buffer that is more than the oldest message.
func (c *cutter) elapsed(ctx context.Context) error {
	if c.filling.empty() {
		return nil
	}
	if c.end == 0 {
		c.end = c.filling.end()
	}
	if c.filling.last < c.end {
		return nil // take gets there
	}
	if c.hints.Load().interval == 0 && c.waiting(ctx) > 0 {
		c.poll()
		return nil
	}
	return c.publish(ctx, batch.ReasonInterval)
}

// poll looks again a little later whether the sink still has batches waiting.
func (c *cutter) poll() {
	now := time.Now()
	wait := min(max(now.Sub(c.filling.began)/10, minPoll), maxPoll)
	c.end, c.deadline = 0, now.Add(wait)
	c.timer.Reset(wait)
}

// waiting returns how many batches of the leg no worker of the sink has taken yet. A sink that is not there yet, or of
// which nothing can be learned, has none.
func (c *cutter) waiting(ctx context.Context) uint64 {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	consumer, err := c.batches.Consumer(ctx, names.SinkConsumer(c.leg, c.source.Stream, c.source.ID))
	if err != nil {
		if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			c.log.Debug("the sink's backlog is not known", "error", err)
		}
		return 0
	}
	return consumer.CachedInfo().NumPending
}

// drop forgets what is filled; it is still in the log.
func (c *cutter) drop() {
	c.filling, c.end, c.calm = filling{}, 0, 0
	c.timer.Stop()
	c.bytes.Store(0)
	c.records.Store(0)
}

// tell logs why the cutter begins again. What passes by itself is not worth a warning until it has lasted.
func (c *cutter) tell(ctx context.Context, err error, failures int) {
	level := slog.LevelDebug
	switch {
	case isStuck(err):
		level = slog.LevelError
	case errors.Is(err, errLostRace), errors.Is(err, errReconnect), !c.link.up():
	case failures%warnEvery == 4:
		level = slog.LevelWarn
	}
	c.log.Log(ctx, level, "beginning again at the cursor", "reason", err)
	if errors.Is(err, format.ErrNewer) {
		c.stuck = true
		c.refused.Note(c.thing(), err)
	}
}

// readable says that what could not be read before can be now, or is another's to read.
func (c *cutter) readable() {
	if c.stuck {
		c.stuck = false
		c.refused.Note(c.thing(), nil)
	}
}

func (c *cutter) thing() string {
	return fmt.Sprintf("delivery stream %s, leg %s, shard %d", c.source.Stream, c.leg, c.source.Shard)
}

// isStuck tells what goes on until somebody does something about it.
func isStuck(err error) bool {
	return errors.Is(err, errShortLog) || errors.Is(err, format.ErrNewer)
}

// rest waits before the next begin; a new connection ends the wait.
func (c *cutter) rest(ctx context.Context, again <-chan struct{}, err error, failures int) {
	d := min(minPause<<min(failures-1, 10), maxPause)
	if isStuck(err) {
		d = stuckPause
	}
	if errors.Is(err, errReconnect) {
		again = nil // it is the one that was seen already
	}
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-again:
	case <-timer.C:
	}
}
