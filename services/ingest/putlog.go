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
	"hydrant/shared/record"
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

// putResult is what became of one record.
type putResult struct {
	ID  record.ID
	Err error // nil, errStreamGone, or one that wraps errUnavailable
}

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

// put stores records and returns what became of each. It returns when ctx ends, if not before: ctx carries the request's
// deadline, until which what has no clear answer is repeated. Records that were not sent by then never will be; those
// that were sent and not acknowledged are refused, and may be stored all the same.
//
// Nothing of records is used after put has returned.
func (l *putLog) put(ctx context.Context, d *catalog.DeliveryStream, c caller, records [][]byte) []putResult {
	size := 0
	for _, r := range records {
		size += len(r)
	}
	if err := l.gate.admit(d, size); err != nil {
		return allFailed(len(records), err)
	}
	p := newPutCall(ctx, buildMessages(d.ID, c, records), c.Attempt > 1)
	log := names.Log{Stream: d.Name, Shard: shardOf(c.InvocationID, d.Shards), ID: d.ID}
	l.enqueue(log, p)
	select {
	case <-p.done:
	case <-ctx.Done():
		p.giveUp()
	}
	return p.results(log, len(records))
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
	if !c.empty() {
		return false
	}
	delete(l.committers, c.target)
	return true
}

func allFailed(records int, err error) []putResult {
	results := make([]putResult, records)
	for i := range results {
		results[i].Err = err
	}
	return results
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
// go at once although it may stay in the queue for a while.
func (p *putCall) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finish(p.late())
	if !p.sent {
		for i := range p.messages {
			p.messages[i].payload = nil
		}
	}
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

// results returns the outcome of each record. A call of several messages may have stored only the first of them.
func (p *putCall) results(log names.Log, records int) []putResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	results := make([]putResult, 0, records)
	for i, m := range p.messages {
		for index := range m.records {
			if i >= p.stored {
				results = append(results, putResult{Err: p.err})
				continue
			}
			results = append(results, putResult{ID: record.ID{Stream: log.ID, Shard: log.Shard, Sequence: m.seq, Index: index}})
		}
	}
	return results
}
