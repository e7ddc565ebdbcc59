package status

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/batch"
	"hydrant/shared/jspull"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// pendingBatch is a descriptor that the sink has not acknowledged.
type pendingBatch struct {
	id      batch.ID
	records int64
	bytes   int64
	oldest  time.Time // arrival of its first record
	stored  time.Time // when it was cut
}

// backlog counts what is behind the cursors, and collects the batches behind the sinks' acknowledgements.
func (c *collector) backlog(ctx context.Context, l look, rows []row) error {
	buffered, batches := c.limits(l, rows)
	return inParallel(ctx, len(rows), func(ctx context.Context, i int) error {
		r := &rows[i]
		if r.Leg.Leg == "" {
			return nil
		}
		if r.Leg.Leg == names.LegRedshift {
			return c.readStaged(ctx, l, r)
		}
		for shard := range names.Shard(r.Shards) {
			if err := c.readBuffered(ctx, l, r, shard, buffered); err != nil {
				return err
			}
		}
		return c.readPending(ctx, l, r, batches)
	})
}

// limits returns how many messages may be read of one log, and how many descriptors of one leg.
func (c *collector) limits(l look, rows []row) (buffered, batches uint64) {
	logs, legs := make([]uint64, 0, len(rows)), make([]uint64, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		if r.Leg.Leg == names.LegRedshift {
			continue // no batches are cut for it
		}
		legs = append(legs, unacknowledged(l, r))
		for shard := range names.Shard(r.Shards) {
			logs = append(logs, behindCursor(l, r, shard))
		}
	}
	return share(logs, c.options.MaxMessages), share(legs, c.options.MaxMessages)
}

// share returns how much may be read of each backlog: most, unless that is too much together.
func share(backlogs []uint64, most uint64) uint64 {
	together := uint64(0)
	for _, n := range backlogs {
		together += min(n, most)
	}
	if together <= maxTogether {
		return most
	}
	return min(most, max(maxTogether/uint64(len(backlogs)), fewest))
}

// behindCursor is about how many messages a log has behind the cursor: none are missing inside a log.
func behindCursor(l look, r *row, shard names.Shard) uint64 {
	state := l.logs[names.Log{Stream: r.Stream, Shard: shard, ID: r.ID}.JetStream()]
	cursor, ok := l.cursor(&r.Leg, shard)
	if !ok {
		return state.Msgs
	}
	if state.LastSeq <= cursor.last {
		return 0
	}
	return min(state.Msgs, state.LastSeq-cursor.last)
}

func (c *collector) readBuffered(ctx context.Context, l look, r *row, shard names.Shard, limit uint64) error {
	log := names.Log{Stream: r.Stream, Shard: shard, ID: r.ID}
	_, listed := l.logs[log.JetStream()]
	if !listed && !c.isThere(ctx, r, log) {
		return nil
	}
	if err := l.cursors[names.BatchesSubject(r.Leg.Leg, r.Stream, shard)].err; err != nil {
		r.problem(err.Error())
		return nil
	}
	if listed && behindCursor(l, r, shard) == 0 {
		return nil
	}
	// Without a cursor the leg begins at the first record that arrived after it was made, as the buffer does.
	config := jetstream.ConsumerConfig{HeadersOnly: true, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &r.began}
	if cursor, ok := l.cursor(&r.Leg, shard); ok {
		config = jetstream.ConsumerConfig{HeadersOnly: true, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: cursor.last + 1}
	}
	total, err := inspect.Read(ctx, c.js, log.JetStream(), config, limit, r.addBuffered)
	if errors.Is(err, jetstream.ErrStreamNotFound) { // deleted meanwhile
		return nil
	}
	r.Buffered.Messages += total
	r.Buffered.LowerBound = r.Buffered.LowerBound || total > limit
	return err
}

// isThere tells whether a log can be read that was not listed, as one is not that nobody leads, and notes why not. While the delivery stream is
// made or deleted it is as it should be that there is none.
func (c *collector) isThere(ctx context.Context, r *row, log names.Log) bool {
	_, err := c.js.Stream(ctx, log.JetStream())
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if r.Status == "ACTIVE" {
			r.problem(fmt.Sprintf("the record log of shard %d is missing", log.Shard))
		}
	case err != nil:
		r.problem(fmt.Sprintf("the record log of shard %d does not answer, and what is buffered there is not counted: %v", log.Shard, err))
	}
	return err == nil
}

func (r *row) addBuffered(m *nats.Msg, meta *nats.MsgMetadata) error {
	size, err := jspull.PayloadSize(m.Header)
	if err != nil {
		return fmt.Errorf("message %d of %s: %w", meta.Sequence.Stream, meta.Stream, err)
	}
	if err := record.CheckFormat(m.Header); err != nil {
		r.problem(fmt.Sprintf("message %d of shard %d: %v", meta.Sequence.Stream, shardOf(meta.Stream), err))
	}
	r.Buffered.Records += int64(record.Count(m.Header, size))
	r.Buffered.Bytes += int64(size)
	r.undelivered(meta.Timestamp)
	return nil
}

// shardOf is the shard whose log a JetStream stream is.
func shardOf(stream string) names.Shard {
	log, _ := names.ParseLog(stream)
	return log.Shard
}

// unacknowledged is how many descriptors the leg's sink has not acknowledged. If no sink has run yet there are some, and
// how many shows when they are read.
func unacknowledged(l look, r *row) uint64 {
	if !l.anyBatch(r) {
		return 0
	}
	info := l.consumers[names.SinkConsumer(r.Leg.Leg, r.Stream, r.ID)]
	if info == nil {
		return fewest
	}
	return info.NumPending + uint64(info.NumAckPending)
}

func (c *collector) readPending(ctx context.Context, l look, r *row, limit uint64) error {
	if unacknowledged(l, r) == 0 {
		return nil
	}
	config := jetstream.ConsumerConfig{
		FilterSubject: names.LegBatches(r.Leg.Leg, r.Stream),
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   1,
	}
	if info := l.consumers[names.SinkConsumer(r.Leg.Leg, r.Stream, r.ID)]; info != nil {
		config.OptStartSeq = info.AckFloor.Stream + 1
		r.Failing.Batches = int64(info.NumRedelivered)
	}
	total, err := inspect.Read(ctx, c.js, names.BatchesStream, config, limit, func(m *nats.Msg, meta *nats.MsgMetadata) error {
		r.addPending(l, m, meta)
		return nil
	})
	r.Pending.LowerBound = total > limit
	return err
}

// anyBatch reports whether a batch of the leg may be there: a cursor of its own, or one that cannot be read.
func (l look) anyBatch(r *row) bool {
	for shard := range names.Shard(r.Shards) {
		c, there := l.cursors[names.BatchesSubject(r.Leg.Leg, r.Stream, shard)]
		if there && (c.err != nil || c.stream == r.ID) {
			return true
		}
	}
	return false
}

// addPending keeps a descriptor of the leg. One of an earlier incarnation is none of it, one that was cut after the
// cursors were read is counted as buffered.
func (r *row) addPending(l look, m *nats.Msg, meta *nats.MsgMetadata) {
	d, err := batch.Decode(m.Data)
	if err != nil {
		r.problem(err.Error())
		return
	}
	if _, ok := l.cursor(&r.Leg, d.Shard); !ok || d.StreamID != r.ID || l.cutLater(&r.Leg, d.Shard, d.Last) {
		return
	}
	p := pendingBatch{id: d.ID(), records: int64(d.Records), bytes: d.Bytes, oldest: d.Oldest, stored: meta.Timestamp}
	if p.oldest.IsZero() { // nothing of it was left when it was cut
		p.oldest = p.stored
	}
	r.pending = append(r.pending, p)
}
