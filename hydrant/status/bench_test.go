package status

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// BenchmarkCollect looks at 1,000 delivery streams that each have messages behind the cursor, a pending batch, and a day of
// outcomes at the default interval of 5 minutes: the first look of a program, and a later one of --watch.
func BenchmarkCollect(b *testing.B) {
	const streams, outcomes = 1000, 288
	s := natstest.Start(b, func(o *server.Options) { o.SyncAlways = false }) // to be set up sooner; reading is the same
	in := &installation{t: b, nats: s, js: s.JetStream(), cfg: broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: 24 * time.Hour}}
	in.prepare()
	for i := range streams {
		in.crowd(names.Stream(fmt.Sprintf("stream-%d", i)), names.StreamID(fmt.Sprintf("id%d", i)), outcomes)
	}
	look := func(b *testing.B, c *collector) {
		legs, err := c.collect(b.Context())
		in.must(err)
		if l := legs[0]; len(legs) != streams || l.Delivered.Batches != outcomes || l.Pending.Batches != 1 || l.Buffered.Messages != 20 {
			b.Fatalf("%d legs, the first %+v", len(legs), l)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			look(b, newCollector(in.js, Options{}))
		}
	})
	b.Run("again", func(b *testing.B) {
		c := newCollector(in.js, Options{})
		look(b, c)
		for b.Loop() {
			look(b, c)
		}
	})
}

// crowd makes a delivery stream with that many outcomes, of batches before the only one that is pending.
func (in *installation) crowd(name names.Stream, id names.StreamID, outcomes int) {
	in.t.Helper()
	d := in.stream(name, id, 1)
	for range 21 {
		in.put(d, 0, 10)
	}
	now := time.Now()
	in.cut(d, 0, 1, 1, now)
	in.sink(d, 1, func(uint64) bool { return false })
	for n := range outcomes {
		entry := batch.Delivery{
			Batch: batch.ID(fmt.Sprintf("%s.s3.0.before-%d", id, n)), Stream: name, StreamID: id, Leg: names.LegS3, First: 1, Last: 1,
			Outcome: batch.Delivered, Version: 1, Records: 1000, Bytes: 5 << 20, Attempts: 1, Oldest: now, Time: now,
			Location: "s3://bucket/2026/11/23/12/" + string(name) + "-1-2026-11-23-12-00-00-abcdefghijk",
		}
		data, err := entry.Encode()
		in.must(err)
		_, err = in.js.PublishAsync(names.DeliveriesSubject(names.LegS3, name), data, jetstream.WithStallWait(time.Minute))
		in.must(err)
	}
	<-in.js.PublishAsyncComplete()
}
