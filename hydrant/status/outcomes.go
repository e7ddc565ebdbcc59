package status

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// legKey is one leg of one incarnation of a delivery stream.
type legKey struct {
	stream names.StreamID
	leg    names.Leg
}

// outcome is what became of a batch, by the first entry for it.
type outcome struct {
	kind            batch.Outcome
	shard           names.Shard
	last            uint64 // sequence of the batch's end in the log
	records         int64
	bytes           int64
	failedRecords   int64
	failedBytes     int64
	expiredRecords  int64
	expiredMessages uint64
	stored          time.Time
}

// outcomes holds the entries of DELIVERIES since a time, each batch once. Read again, it reads only what is new.
type outcomes struct {
	since   time.Time
	created time.Time // of the stream: another one starts over
	next    uint64
	legs    map[legKey]map[batch.ID]outcome
	broken  map[string]string // why an entry could not be read, by subject
}

// read brings the outcomes up to date.
func (o *outcomes) read(ctx context.Context, js jetstream.JetStream, filters []string, since time.Time) error {
	stream, err := js.Stream(ctx, names.DeliveriesStream)
	if err != nil {
		return fmt.Errorf("read the outcomes: %w", err)
	}
	info := stream.CachedInfo()
	config := jetstream.ConsumerConfig{FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: o.next}
	if o.next == 0 || since.Before(o.since) || !info.Created.Equal(o.created) || info.State.LastSeq+1 < o.next {
		*o = outcomes{created: info.Created, next: 1, legs: map[legKey]map[batch.ID]outcome{}, broken: map[string]string{}}
		config = jetstream.ConsumerConfig{FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since}
	}
	o.forget(since)
	_, err = inspect.Read(ctx, js, names.DeliveriesStream, config, inspect.Everything, func(m *nats.Msg, meta *nats.MsgMetadata) error {
		o.add(m, meta)
		return nil
	})
	return err
}

// forget drops what is older than since.
func (o *outcomes) forget(since time.Time) {
	o.since = since
	for key, batches := range o.legs {
		for id, b := range batches {
			if b.stored.Before(since) {
				delete(batches, id)
			}
		}
		if len(batches) == 0 {
			delete(o.legs, key)
		}
	}
}

func (o *outcomes) add(m *nats.Msg, meta *nats.MsgMetadata) {
	o.next = meta.Sequence.Stream + 1
	d, err := batch.DecodeDelivery(m.Data)
	if err != nil {
		o.broken[m.Subject] = err.Error()
		return
	}
	key := legKey{d.StreamID, d.Leg}
	batches := o.legs[key]
	if batches == nil {
		batches = map[batch.ID]outcome{}
		o.legs[key] = batches
	}
	if _, again := batches[d.Batch]; !again {
		batches[d.Batch] = outcome{
			kind: d.Outcome, shard: d.Shard, last: d.Last, records: int64(d.Records), bytes: d.Bytes,
			failedRecords: int64(d.FailedRecords), failedBytes: d.FailedBytes,
			expiredRecords: int64(d.ExpiredRecords), expiredMessages: d.ExpiredMessages, stored: meta.Timestamp,
		}
	}
}

// settle counts the outcomes, and takes the batches that have one from those that are pending. A batch may have been
// delivered long before the oldest one that is pending was, so outcomes are read from the cutting of that one on.
func (c *collector) settle(ctx context.Context, l look, rows []row, now time.Time) error {
	if len(rows) == 0 {
		return nil
	}
	counted := now.Add(-c.options.Since)
	since := counted
	for i := range rows {
		for _, p := range rows[i].pending {
			if p.stored.Before(since) {
				since = p.stored
			}
		}
	}
	if err := c.outcomes.read(ctx, c.js, c.filters(names.DeliveriesSubjects(), names.StreamDeliveries), since); err != nil {
		return err
	}
	for i := range rows {
		rows[i].settle(l, &c.outcomes, counted)
	}
	return nil
}

func (r *row) settle(l look, o *outcomes, counted time.Time) {
	if r.Leg.Leg == "" {
		return
	}
	settled := o.legs[legKey{r.ID, r.Leg.Leg}]
	for _, b := range settled {
		if !b.stored.Before(counted) && !l.cutLater(&r.Leg, b.shard, b.last) {
			r.count(b)
		}
	}
	r.pending = slices.DeleteFunc(r.pending, func(p pendingBatch) bool { _, ok := settled[p.id]; return ok })
	for _, p := range r.pending {
		r.Pending.Batches++
		r.Pending.Records += p.records
		r.Pending.Bytes += p.bytes
		r.undelivered(p.oldest)
	}
	r.Failing.Batches = min(r.Failing.Batches, r.Pending.Batches)
	if text := o.broken[names.DeliveriesSubject(r.Leg.Leg, r.Stream)]; text != "" {
		r.problem(text)
	}
}

func (r *row) count(o outcome) {
	if o.kind == batch.Delivered {
		r.Delivered.add(o.records, o.bytes)
	}
	if o.kind == batch.SetAside || o.failedRecords > 0 {
		r.SetAside.add(o.failedRecords, o.failedBytes)
	}
	r.Expired.Records += o.expiredRecords
	r.Expired.Messages += o.expiredMessages
}
