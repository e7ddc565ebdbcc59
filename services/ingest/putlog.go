package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// Errors of a put. The first is wrapped with the reason.
var (
	// errUnavailable means that a record is not known to be stored. A retry of the same call is safe: it does not store
	// twice what was stored after all.
	errUnavailable = errors.New("not known to be stored")
	// errStreamGone means that the delivery stream was deleted, and its records with it.
	errStreamGone = errors.New("the delivery stream was deleted")
)

func unavailable(reason string) error { return fmt.Errorf("%w: %s", errUnavailable, reason) }

const (
	idleTime = 30 * time.Second // after which a log's committer ends
	tryTime  = 3 * time.Second  // for one answer of JetStream: a stalled server leads to repeats within a request's 10 s
)

// putResults are what became of a put's records: the first of them are in the log, in parts, and those after them failed.
type putResults struct {
	log     names.Log
	parts   []logMessage // which are in the log
	records int          // of the put
	err     error        // of those that are not in parts: nil if there are none, errStreamGone, or one that wraps errUnavailable
	inUse   bool         // the put's data may be on its way still, and must not be changed
}

// stored returns how many records are in the log, and their bytes.
func (r *putResults) stored() (records, bytes int) {
	for _, part := range r.parts {
		records += part.records
		bytes += len(part.payload)
	}
	return records, bytes
}

// gone reports whether no record was stored because the delivery stream was deleted.
func (r *putResults) gone() bool { return len(r.parts) == 0 && errors.Is(r.err, errStreamGone) }

// putLog writes puts to the record logs. A record whose result has no error is on disk, once; DESIGN.md says how, and what
// each failure leads to.
type putLog struct {
	view *catalog.View
	gate *gate
	log  *slog.Logger

	replies *replies
	counts  putCounts
	idle    time.Duration // idleTime and tryTime, but for tests
	try     time.Duration

	mu         sync.Mutex
	running    context.Context // of the committers; nil while nothing is taken
	committers map[names.Log]*committer
	stopped    chan struct{}
	working    sync.WaitGroup
}

// putCounts are what a putLog did since it was made.
type putCounts struct {
	Waiting  atomic.Int64 // puts that wait for a commit, now
	Commits  atomic.Int64 // commits that were acknowledged, of one message or a batch
	Messages atomic.Int64 // messages in them
	Bytes    atomic.Int64 // payload of them
	Repeats  atomic.Int64 // tries after one whose outcome was not clear
	Apart    atomic.Int64 // batches that were published one by one instead
}

func newPutLog(conn *nats.Conn, view *catalog.View, gate *gate, log *slog.Logger) *putLog {
	return &putLog{
		view:       view,
		gate:       gate,
		log:        log,
		replies:    newReplies(conn),
		idle:       idleTime,
		try:        tryTime,
		committers: map[names.Log]*committer{},
		stopped:    make(chan struct{}),
	}
}

// Run commits what is put until ctx ends. From then on nothing is taken, what waits is refused, and Run returns when what
// is in flight is finished, which the puts' own deadlines bound. It runs once.
func (l *putLog) Run(ctx context.Context) error {
	if err := l.replies.open(); err != nil {
		return err
	}
	defer l.replies.close()
	l.start(context.WithoutCancel(ctx))
	<-ctx.Done()
	l.stop()
	l.working.Wait()
	return nil
}

func (l *putLog) start(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = ctx
}

func (l *putLog) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = nil
	for _, c := range l.committers {
		for _, p := range c.drain() {
			p.fail(unavailable("this replica is stopping"))
		}
	}
	close(l.stopped)
}

// put stores records and returns what became of them. It returns when ctx ends, if not before: ctx carries the request's
// deadline, until which what has no clear answer is repeated. Records that were not sent by then never will be; those
// that were sent and not acknowledged are refused, and may be stored all the same.
func (l *putLog) put(ctx context.Context, d *catalog.DeliveryStream, c caller, data putData) putResults {
	if err := l.gate.admit(d, len(data.Bytes)); err != nil {
		return putResults{records: len(data.Lengths), err: err}
	}
	p := newPutCall(ctx, buildMessages(d.ID, c, data), c.Attempt > 1)
	log := names.Log{Stream: d.Name, Shard: shardOf(c.InvocationID, d.Shards), ID: d.ID}
	l.enqueue(log, p)
	inUse := false
	select {
	case <-p.done:
	case <-ctx.Done():
		inUse = p.giveUp()
	}
	results := p.results()
	results.log, results.records, results.inUse = log, len(data.Lengths), inUse
	return results
}

// enqueue gives p to the committer of its log, which it starts if there is none.
func (l *putLog) enqueue(log names.Log, p *putCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running == nil {
		p.fail(unavailable("this replica is not running"))
		return
	}
	c := l.committers[log]
	if c == nil {
		c = newCommitter(l, log)
		l.committers[log] = c
		ctx := l.running
		l.working.Go(func() { c.run(ctx) })
	}
	c.push(p)
}

// retire lets an idle committer end, unless a put has come meanwhile. Puts are given out under the same lock, so none is
// given to a committer that has ended.
func (l *putLog) retire(c *committer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.idle() {
		return false
	}
	delete(l.committers, c.target)
	return true
}

// putCall is one put on its way into the log. Its messages are committed in their order.
type putCall struct {
	deadline time.Time     // zero for none
	alone    bool          // not to be committed together with others
	size     int           // payload
	done     chan struct{} // closed when the outcome is final

	mu       sync.Mutex
	messages []logMessage
	stored   int    // messages that are in the log
	sent     bool   // something may have reached JetStream
	over     bool   // the outcome is final
	err      error  // why the messages that are not stored are not
	note     string // what stood in the way last
}

// newPutCall decides how p is committed. A retry goes alone: its first try may be in the log, and a batch with a known id
// in it is rejected as a whole. A large message gains nothing from a batch, in which it would be written twice.
func newPutCall(ctx context.Context, messages []logMessage, retry bool) *putCall {
	p := &putCall{messages: messages, done: make(chan struct{})}
	p.deadline, _ = ctx.Deadline()
	for _, m := range messages {
		p.size += len(m.payload)
	}
	p.alone = retry || len(messages) != 1 || p.size >= largeMessage
	if len(messages) == 0 {
		p.finish(nil)
	}
	return p
}

// next returns the message to send next, and from then on p counts as sent. It returns nil when p is over, or too late to
// be sent: a process that was stopped for a minute and goes on here finds that nobody waits for the answer any more.
func (p *putCall) next(now time.Time) *logMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	if !p.deadline.IsZero() && !now.Before(p.deadline) {
		p.finish(p.late())
		return nil
	}
	p.sent = true
	return &p.messages[p.stored]
}

// settle notes that the message that next returned is in the log, and tells whether p is over.
func (p *putCall) settle(seq uint64) (over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return true
	}
	p.messages[p.stored].seq = seq
	p.stored++
	if p.stored == len(p.messages) {
		p.finish(nil)
	}
	return p.over
}

// hinder notes what stands in the way, for the error if it stays there.
func (p *putCall) hinder(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = reason
}

// fail ends p: what is not stored by now has failed with err.
func (p *putCall) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(err)
}

// giveUp ends p because nobody waits for it any longer. If nothing of it was sent, nothing will be, and its payload is let
// go at once although it may stay in the queue for a while; otherwise a committer may be using it.
func (p *putCall) giveUp() (inUse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	inUse = p.sent && !p.over
	p.finish(p.late())
	if !p.sent {
		for i := range p.messages {
			p.messages[i].payload = nil
		}
	}
	return inUse
}

// late needs p.mu.
func (p *putCall) late() error {
	switch {
	case !p.sent:
		return unavailable("the commits before it took too long; nothing of it was sent")
	case p.note == "":
		return unavailable("JetStream has not answered in time")
	}
	return unavailable(p.note)
}

// finish needs p.mu, but before p is shared.
func (p *putCall) finish(err error) {
	if !p.over {
		p.over, p.err = true, err
		close(p.done)
	}
}

// results returns what is stored of p, and why the rest is not. A call of several messages may have stored only the first
// of them.
func (p *putCall) results() putResults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return putResults{parts: p.messages[:p.stored:p.stored], err: p.err}
}
