package buffer

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// parkBytes is what a batch must still lack for its cutter to stop reading. JetStream keeps a block of 4 MB in memory for
	// ten seconds when it was read while it was written; at full speed those of ten seconds are gigabytes. What is read
	// later comes from the page cache, and leaves when memory is needed.
	parkBytes = 8 << 20

	// A parked cutter asks so often how much has come: sooner the faster it comes.
	minLook = 50 * time.Millisecond
	maxLook = 2 * time.Second

	// calmLooks is how many looks in a row find nothing before the cutter reads again: it then costs nothing until something
	// comes. It does not park again before calmBytes have, so a stream of few records does not change between the two.
	calmLooks = 3
	calmBytes = 4 << 20

	// stragglers is how long a batch that is due waits for messages of which the log says that they are there.
	stragglers = time.Second
)

// parks tells whether the cutter may stop reading: all that is in the log has been read, and the batch is far from complete.
func (c *cutter) parks(r *reader, now time.Time) bool {
	return !c.filling.empty() && c.filling.bytes >= c.calm && c.filling.pendingAtLast == 0 && len(r.answers) == 0 && c.end == 0 &&
		c.hints.Load().interval > 0 && c.size-c.filling.bytes >= parkBytes && c.deadline.Sub(now) > minLook
}

// park waits, without reading, until the log has about as much as the batch still lacks, nothing comes any more, or the batch
// is due, and cuts it in that case if nothing has come. It returns when the cutter is to read.
func (c *cutter) park(ctx context.Context, again <-chan struct{}, log jetstream.Stream) error {
	c.log.Debug("parked: the batch is read when more of it has come", "lacks", c.size-c.filling.bytes)
	w := watch{began: time.Now(), left: c.size - c.filling.bytes, last: c.filling.last}
	look := time.NewTimer(minLook)
	defer look.Stop()
	for {
		due := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again:
			return errReconnect
		case <-c.changed:
			return c.rehint(ctx)
		case <-c.timer.C:
			due = true
		case <-look.C:
		}
		info, err := log.Info(ctx)
		if err != nil {
			return fmt.Errorf("read the state of the record log: %w", err)
		}
		come := w.see(info.State, c.filling.last)
		c.guess(info.State.LastSeq, come)
		switch {
		case due && info.State.LastSeq <= c.filling.last:
			return c.elapsed(ctx)
		case due:
			c.timer.Reset(stragglers)
			return nil
		case come >= w.left:
			return nil
		case w.calm >= calmLooks:
			c.calm = c.filling.bytes + calmBytes
			return nil
		}
		look.Reset(w.next(time.Now(), come))
	}
}

// guess tells the metrics of what has come and was not read.
func (c *cutter) guess(last uint64, come int64) {
	if last <= c.filling.last {
		return
	}
	c.bytes.Store(c.filling.bytes + come)
	c.records.Store(int64(c.filling.records) + int64(last-c.filling.last)*int64(c.filling.records)/int64(c.filling.messages))
}

// watch estimates how much has come into a log that is not read.
type watch struct {
	began  time.Time
	left   int64  // that the batch lacks
	grown  int64  // by how much the log was seen to grow
	last   uint64 // sequence that the log ended with
	calm   int    // looks in a row that found nothing new
	before uint64 // bytes in the log when it was last seen
	seen   bool
}

// see returns about how many bytes the log has behind a sequence. What is removed at its beginning hides what comes at its
// end, and messages differ in size, so the larger of two estimates is taken: reading too early costs little.
func (w *watch) see(log jetstream.StreamState, last uint64) int64 {
	if w.seen && log.Bytes > w.before {
		w.grown += int64(log.Bytes - w.before)
	}
	w.calm++
	if log.LastSeq != w.last {
		w.calm = 0
	}
	w.seen, w.before, w.last = true, log.Bytes, log.LastSeq
	if log.LastSeq <= last || log.Msgs == 0 {
		return 0
	}
	behind := min(log.LastSeq-last, log.Msgs)
	return max(w.grown, int64(float64(log.Bytes)/float64(log.Msgs)*float64(behind)))
}

// next is the time to the next look: half of what the rest will take if it comes as fast as what has come.
func (w *watch) next(now time.Time, come int64) time.Duration {
	if come <= 0 {
		return min(minLook<<(2*w.calm), maxLook)
	}
	rest := float64(now.Sub(w.began)) * float64(w.left-come) / float64(come)
	return time.Duration(min(max(rest/2, float64(minLook)), float64(maxLook)))
}
