package ingest

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"hydrant/shared/faultpoint"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

const (
	largeMessage  = 64_000  // bytes from which on a message is a commit of its own
	mostTogether  = 1000    // messages in an atomic batch, JetStream's limit
	bytesTogether = 4 << 20 // payload in an atomic batch

	// A batch is staged in a file of its own before it is committed, which costs as much as some synced messages do.
	fewestTogether = 8

	// What goes alone is in flight with others, so that JetStream never waits for the next. A second batch would not help: what
	// a batch costs hardly depends on its size, so fewer are faster.
	aloneInFlight = 16
	bytesInFlight = 8 << 20 // payload

	shortestPause = 5 * time.Millisecond
	longestPause  = 200 * time.Millisecond

	freshenTime = time.Second
)

// Headers of a publish (NATS ADR-4, ADR-50).
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"
)

// committer commits the puts of one log. Its goroutine takes what waits and starts a commit of it, while there are not too
// many; whoever puts adds to what waits.
type committer struct {
	owner  *putLog
	target names.Log
	name   string        // of the JetStream stream
	topic  string        // subject of its records
	wake   chan struct{} // holds one

	mu     sync.Mutex
	small  []*putCall // may be committed together
	alone  []*putCall
	flying flights
	most   int    // messages in a batch; fewer on a server that was seen to allow fewer
	said   string // the odd refusal that was logged last
}

// flights are the commits that are not over.
type flights struct {
	together bool // a commit of what may be together
	alone    int  // commits of what goes alone
	bytes    int  // payload of those
}

func newCommitter(owner *putLog, log names.Log) *committer {
	return &committer{
		owner:  owner,
		target: log,
		name:   log.JetStream(),
		topic:  log.Subject(),
		most:   mostTogether,
		wake:   make(chan struct{}, 1),
	}
}

// run ends when nothing has come for a while, or when the putLog has stopped, and every commit is over.
func (c *committer) run(ctx context.Context) {
	var commits sync.WaitGroup
	defer commits.Wait()
	idle := time.NewTimer(c.owner.idle)
	defer idle.Stop()
	for {
		if calls := c.take(); len(calls) > 0 {
			commits.Go(func() {
				defer c.land(calls)
				c.commit(ctx, calls)
			})
			idle.Reset(c.owner.idle)
			continue
		}
		select {
		case <-c.wake:
		case <-c.owner.stopped:
			return
		case <-idle.C:
			if c.owner.retire(c) {
				return
			}
			idle.Reset(c.owner.idle)
		}
	}
}

func (c *committer) push(p *putCall) {
	c.owner.counts.Waiting.Add(1)
	c.mu.Lock()
	if p.alone {
		c.alone = append(c.alone, p)
	} else {
		c.small = append(c.small, p)
	}
	c.mu.Unlock()
	c.look()
}

// look makes the committer look for what it can commit.
func (c *committer) look() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// idle reports whether nothing waits and nothing is in flight.
func (c *committer) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.small)+len(c.alone) == 0 && c.flying == flights{}
}

// drain takes all that waits.
func (c *committer) drain() []*putCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Concat(c.small, c.alone)
	c.small, c.alone = nil, nil
	c.owner.counts.Waiting.Add(-int64(len(all)))
	return all
}

// take takes the next commit from what waits, the longest waiting first: one that goes alone, or as many of the others as fit
// into a batch. It takes nothing while as much is in flight as may be.
func (c *committer) take() []*putCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	queue, n := &c.alone, 1
	if !c.mayFlyAlone() {
		queue, n = &c.small, c.fitting()
	}
	calls := slices.Clone((*queue)[:n])
	*queue = slices.Delete(*queue, 0, n)
	c.owner.counts.Waiting.Add(-int64(n))
	c.flying.change(calls, true)
	return calls
}

// mayFlyAlone needs c.mu.
func (c *committer) mayFlyAlone() bool {
	if len(c.alone) == 0 || c.flying.alone == aloneInFlight {
		return false
	}
	return c.flying.alone == 0 || c.flying.bytes+c.alone[0].size <= bytesInFlight
}

// fitting returns how many of the small ones fit into a batch that may leave now. It needs c.mu.
func (c *committer) fitting() int {
	if c.flying.together {
		return 0
	}
	size := 0
	for n, p := range c.small {
		size += p.size
		if n == c.most || n > 0 && size > bytesTogether {
			return n
		}
	}
	return len(c.small)
}

// land notes that the commit of calls is over.
func (c *committer) land(calls []*putCall) {
	c.mu.Lock()
	c.flying.change(calls, false)
	c.mu.Unlock()
	c.look()
}

// change notes that a commit of calls is in flight, or is not any more.
func (f *flights) change(calls []*putCall, flying bool) {
	switch {
	case len(calls) == 0:
	case !calls[0].alone:
		f.together = flying
	case flying:
		f.alone++
		f.bytes += calls[0].size
	default:
		f.alone--
		f.bytes -= calls[0].size
	}
}

// commit commits calls: several, of one message each, as an atomic batch; a few, or one, on their own.
//
// A lost answer shows as a timeout or a lost connection, and the batch is repeated with the calls that still have time. If
// the first try was stored after all, JetStream rejects the next because it knows the ids, and each message is published
// on its own, which yields its sequence. Every try has a batch id of its own, since the last may be staged in part. A
// process that wakes here after a minute finds the calls too late, and sends nothing.
func (c *committer) commit(ctx context.Context, calls []*putCall) {
	torn := false
	for attempt := 0; ; attempt++ {
		faultpoint.Hit("ingest.before-publish")
		c.owner.replies.awaitAttempt()
		var messages []*logMessage
		if calls, messages = sendable(calls); len(calls) < fewestTogether {
			c.commitEach(ctx, calls)
			return
		}
		asked := time.Now()
		a := c.askTogether(messages, c.until(asked, calls))
		switch {
		case a.outcome == outcomeStored:
			c.settleTogether(calls, messages, a)
			return
		case c.ends(ctx, asked, a, calls):
			return
		case a.outcome == outcomeApart, a.outcome == outcomeInProcess, a.outcome == outcomeTorn && torn:
			c.owner.counts.Apart.Add(1)
			c.adapt(a, len(calls))
			c.commitEach(ctx, calls)
			return
		}
		torn = a.outcome == outcomeTorn
		c.owner.counts.Repeats.Add(1)
		pause(ctx, attempt)
	}
}

// sendable returns the calls that still have time, and the message of each.
func sendable(calls []*putCall) (left []*putCall, messages []*logMessage) {
	now := time.Now()
	messages = make([]*logMessage, 0, len(calls))
	for _, p := range calls {
		if m := p.next(now); m != nil {
			left = append(left, p)
			messages = append(messages, m)
		}
	}
	return left, messages
}

// settleTogether gives each call its sequence: those of an atomic batch follow each other without a gap.
func (c *committer) settleTogether(calls []*putCall, messages []*logMessage, a answer) {
	first := a.seq - uint64(len(calls)) + 1
	for i, p := range calls {
		p.settle(first + uint64(i))
	}
	c.count(messages...)
}

// adapt makes batches smaller where the server has a lower limit than its default, or none at all.
func (c *committer) adapt(a answer, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch a.code {
	case codeBatchesDisabled:
		c.most = 1
	case codeBatchTooLarge:
		c.most = max(size/2, 1)
	}
}

// commitEach commits the messages of the calls on their own, until every call is over. Of a call with several, the next is
// sent when the last is known to be stored.
func (c *committer) commitEach(ctx context.Context, calls []*putCall) {
	for attempt := 0; ; attempt++ {
		var hindered bool
		if calls, hindered = c.round(ctx, calls); len(calls) == 0 {
			return
		}
		if !hindered {
			attempt = -1
			continue
		}
		c.owner.counts.Repeats.Add(1)
		pause(ctx, attempt)
	}
}

// round publishes the next message of each call, all at once, and returns the calls that are not over then, and whether
// one of them was hindered.
//
// A message is the same at every try, its id too, so one whose answer was lost is answered with its first sequence.
func (c *committer) round(ctx context.Context, calls []*putCall) (left []*putCall, hindered bool) {
	faultpoint.Hit("ingest.before-publish")
	c.owner.replies.awaitAttempt()
	calls, messages := sendable(calls)
	if len(calls) == 0 {
		return nil, false
	}
	asked := time.Now()
	until := c.until(asked, calls)
	for i, answered := range c.sendEach(messages) {
		p, a := calls[i], answered(until)
		if a.outcome == outcomeStored && a.known {
			a = c.remembered(ctx, a)
		}
		switch {
		case a.outcome == outcomeStored:
			c.count(messages[i])
			if p.settle(a.seq) {
				continue
			}
		case c.ends(ctx, asked, a, calls[i:i+1]):
			continue
		default:
			hindered = true
		}
		left = append(left, p)
	}
	return left, hindered
}

// remembered is what it means that JetStream knows a message: that it is on disk, unless the log could not be written. Of an atomic batch
// that failed in the middle it remembers what it did not sync.
func (c *committer) remembered(ctx context.Context, a answer) answer {
	failed, err := c.owner.gate.failedWrites(ctx)
	switch {
	case err != nil:
		return unclear("NATS remembers it, and does not say at its monitoring address whether it could write it")
	case failed[c.name]:
		return unclear(errUnwritable)
	}
	return a
}

// ends tells whether an answer to a try begun at asked leaves nothing more to try, and fails the calls if so. If not,
// they know what stands in the way.
func (c *committer) ends(ctx context.Context, asked time.Time, a answer, calls []*putCall) bool {
	var err error
	switch {
	case a.outcome == outcomeRefused:
		err = unavailable(a.reason)
		c.say(a)
	case a.outcome == outcomeAbsent && c.gone(ctx, asked):
		err = errStreamGone
	}
	for _, p := range calls {
		if err != nil {
			p.fail(err)
		} else {
			p.hinder(a.reason)
		}
	}
	return err != nil
}

// say logs a refusal that nobody foresaw, once.
func (c *committer) say(a answer) {
	c.mu.Lock()
	again := !a.odd || a.reason == c.said
	if !again {
		c.said = a.reason
	}
	c.mu.Unlock()
	if !again {
		c.owner.log.Error("puts are refused", "log", c.name, "error", a.reason)
	}
}

// gone tells whether the delivery stream that the log belongs to was deleted, as the catalog was at asked or later. While
// the catalog cannot be read nobody knows: NATS is probably on its way back.
func (c *committer) gone(ctx context.Context, asked time.Time) bool {
	if c.owner.view.FreshAsOf().Before(asked) {
		ctx, cancel := context.WithTimeout(ctx, freshenTime)
		defer cancel()
		if err := c.owner.view.Freshen(ctx); err != nil {
			return false
		}
	}
	d := c.owner.view.Get(c.target.Stream)
	if d == nil {
		return c.owner.view.Unreadable(c.target.Stream) == nil // and not written by a newer version
	}
	return d.ID != c.target.ID || d.Status == types.DeliveryStreamStatusDeleting
}

func (c *committer) count(messages ...*logMessage) {
	size := 0
	for _, m := range messages {
		size += len(m.payload)
	}
	c.owner.counts.Commits.Add(1)
	c.owner.counts.Messages.Add(int64(len(messages)))
	c.owner.counts.Bytes.Add(int64(size))
}

// askTogether publishes messages as an atomic batch. An acknowledgement that is not that of the whole batch, from a server
// that knows no batches, proves nothing of the messages before the last.
func (c *committer) askTogether(messages []*logMessage, until time.Time) answer {
	id, n := nuid.Next(), len(messages)
	publications := make([]*nats.Msg, n)
	for i, m := range messages {
		publications[i] = c.publication(m, batchIDHeader, id, batchSequenceHeader, strconv.Itoa(i+1))
	}
	publications[n-1].Header[batchCommitHeader] = []string{"1"}
	answered, _ := c.owner.replies.send(publications...)
	a := answered(until)
	if a.outcome == outcomeStored && (a.batch != id || a.count != n || a.seq < uint64(n)) {
		return answer{outcome: outcomeApart, reason: "JetStream has not acknowledged the batch as a whole"}
	}
	return a
}

// sendEach publishes messages on their own. It stops at the first that cannot be sent, for those after it cannot either.
func (c *committer) sendEach(messages []*logMessage) []awaited {
	answers := make([]awaited, len(messages))
	for i, m := range messages {
		answered, sent := c.owner.replies.send(c.publication(m))
		answers[i] = answered
		if !sent {
			for rest := i + 1; rest < len(messages); rest++ {
				answers[rest] = answered
			}
			break
		}
	}
	return answers
}

// publication is m as a message to NATS, with more headers in pairs of name and value. Nats-Expected-Stream has the server
// refuse it where the subject has come to belong to another log, that of a delivery stream made again under the name.
func (c *committer) publication(m *logMessage, more ...string) *nats.Msg {
	values := [...]string{m.id, c.name, m.lengths}
	header := make(nats.Header, 6)
	header[jetstream.MsgIDHeader] = values[0:1:1]
	header[jetstream.ExpectedStreamHeader] = values[1:2:2]
	if m.lengths != "" {
		header[record.LengthsHeader] = values[2:3:3]
	}
	for i := 0; i < len(more); i += 2 {
		header[more[i]] = more[i+1 : i+2 : i+2]
	}
	return &nats.Msg{Subject: c.topic, Header: header, Data: m.payload}
}

// until is when an answer to calls that were sent at asked is not awaited any more: nobody waits for the outcome longer than
// the last of their deadlines.
func (c *committer) until(asked time.Time, calls []*putCall) time.Time {
	var last time.Time
	for _, p := range calls {
		if p.deadline.IsZero() {
			return asked.Add(c.owner.try)
		}
		if p.deadline.After(last) {
			last = p.deadline
		}
	}
	if patience := asked.Add(c.owner.try); patience.Before(last) {
		return patience
	}
	return last
}

// pause waits before the next try, longer with each, up to the longest, half of it by chance so that many logs do not come
// back to a server together.
func pause(ctx context.Context, attempt int) {
	d := min(shortestPause<<min(attempt, 10), longestPause)
	select {
	case <-ctx.Done():
	case <-time.After(d/2 + rand.N(d/2)):
	}
}
