package status

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// look is what a few requests tell of every delivery stream at once.
type look struct {
	cursors   map[string]cursor // by subject of the batches
	logs      map[string]jetstream.StreamState
	consumers map[string]*jetstream.ConsumerInfo
	staged    map[string]uint64 // announcements of objects that wait to be loaded, by subject
}

// cursor is the last batch of a leg and shard.
type cursor struct {
	stream names.StreamID
	last   uint64 // sequence in the log up to which records are in batches
	err    error  // the descriptor cannot be read
}

// look reads the cursors first: what is cut later is then counted as buffered and nowhere else.
func (c *collector) look(ctx context.Context, rows []row) (look, error) {
	l := look{
		cursors:   map[string]cursor{},
		logs:      map[string]jetstream.StreamState{},
		consumers: map[string]*jetstream.ConsumerInfo{},
		staged:    map[string]uint64{},
	}
	if len(rows) == 0 {
		return l, nil
	}
	err := inspect.LastOfEach(ctx, c.js, names.BatchesStream, c.filters([]string{names.AllBatches}, one(names.StreamBatches)), l.addCursor)
	if err != nil {
		return look{}, err
	}
	if err := l.readConsumers(ctx, c.js); err != nil {
		return look{}, fmt.Errorf("read the sinks' consumers: %w", err)
	}
	if err := l.readStaging(ctx, c.js); err != nil {
		return look{}, fmt.Errorf("read the staged objects: %w", err)
	}
	if err := l.readLogs(ctx, c.js); err != nil {
		return look{}, fmt.Errorf("read the record logs: %w", err)
	}
	return l, nil
}

func (l look) addCursor(m *nats.Msg) {
	d, err := batch.Decode(m.Data)
	l.cursors[m.Subject] = cursor{stream: d.StreamID, last: d.Last, err: err}
}

func (l look) readConsumers(ctx context.Context, js jetstream.JetStream) error {
	batches, err := js.Stream(ctx, names.BatchesStream)
	if err != nil {
		return err
	}
	return l.addConsumers(ctx, batches)
}

func (l look) addConsumers(ctx context.Context, of jetstream.Stream) error {
	consumers := of.ListConsumers(ctx)
	for info := range consumers.Info() {
		l.consumers[info.Name] = info
	}
	return consumers.Err()
}

func (l look) readLogs(ctx context.Context, js jetstream.JetStream) error {
	logs := js.ListStreams(ctx, jetstream.WithStreamListSubject(names.AllRecords))
	for info := range logs.Info() {
		if info.Cluster == nil || info.Cluster.Leader != "" { // one of servers that are all gone is listed as if it were empty
			l.logs[info.Config.Name] = info.State
		}
	}
	return logs.Err()
}

// cursor returns the cursor of a leg and shard; ok is false if there is none of this incarnation of the delivery stream.
func (l look) cursor(leg *Leg, shard names.Shard) (c cursor, ok bool) {
	c, ok = l.cursors[names.BatchesSubject(leg.Leg, leg.Stream, shard)]
	return c, ok && c.err == nil && c.stream == leg.ID
}

// cutLater reports whether a batch was cut after the look began.
func (l look) cutLater(leg *Leg, shard names.Shard, last uint64) bool {
	c, ok := l.cursor(leg, shard)
	return ok && last > c.last
}
