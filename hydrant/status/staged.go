package status

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// mostStaged bounds how many announcements of one delivery stream's staged objects are read. They are read one by one: a work
// queue lets nobody but the service that loads them have a consumer.
const mostStaged = 1000

// readStaged counts the objects that were announced and wait to be loaded, each once, however often it was announced.
func (c *collector) readStaged(ctx context.Context, l look, r *row) error {
	subject := names.StagingSubject(r.Stream)
	announced := l.staged[subject]
	if announced == 0 {
		return nil
	}
	if info := l.consumers[names.SinkConsumer(names.LegRedshift, r.Stream, r.ID)]; info != nil {
		r.Failing.Batches = int64(info.NumRedelivered)
	}
	limit := min(c.options.MaxMessages, mostStaged)
	r.Pending.LowerBound = announced > limit
	stream, err := c.js.Stream(ctx, names.StagingStream)
	seen := map[batch.ID]bool{}
	for next := uint64(1); err == nil && limit > 0; limit-- {
		var m *jetstream.RawStreamMsg
		if m, err = stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject)); err == nil {
			r.addStaged(m, seen)
			next = m.Sequence + 1
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) { // no more
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the staged objects of %s: %w", r.Stream, err)
	}
	return nil
}

// addStaged keeps an announcement. One of an earlier incarnation is none of the leg's.
func (r *row) addStaged(m *jetstream.RawStreamMsg, seen map[batch.ID]bool) {
	d, err := batch.DecodeDelivery(m.Data)
	if err != nil {
		r.problem(err.Error())
		return
	}
	if d.StreamID != r.ID || seen[d.Batch] {
		return
	}
	seen[d.Batch] = true
	r.pending = append(r.pending, pendingBatch{id: d.Batch, records: int64(d.Records), bytes: d.Bytes, oldest: d.Oldest, stored: m.Time})
}

// readStaging counts the announcements of each delivery stream, and reads the consumers. An installation of an earlier
// version has none.
func (l look) readStaging(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, names.StagingStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(names.AllStaging))
	if err != nil {
		return err
	}
	for subject, n := range info.State.Subjects {
		l.staged[subject] = n
	}
	return l.addConsumers(ctx, stream)
}
