package buffer

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

func TestSizeCut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("sizes", 1, 900))
	s := r.serve()
	r.put(d, 9, 300_000)
	found := r.awaitCut(d, 8)
	if len(found) != 2 {
		t.Fatalf("%d batches, want 2: %+v", len(found), found)
	}
	for _, b := range found {
		if b.Messages != 4 || b.Records != 8 || b.Bytes != 1_200_000 || b.Reason != batch.ReasonSize || b.Version != 1 {
			t.Errorf("batch %s is %+v", b.ID(), b)
		}
	}
	r.eventually("the ninth message is in the backlog", func() bool {
		bytes, _ := s.value("hydrant_buffer_backlog_bytes", "stream=sizes", "leg=s3")
		records, _ := s.value("hydrant_buffer_backlog_records", "stream=sizes", "leg=s3")
		return bytes == 300_000 && records == 2
	})
	if n, _ := s.value("hydrant_batches_cut_total", "stream=sizes", "leg=s3", "reason=size"); n != 2 {
		t.Errorf("%v batches counted, want 2", n)
	}
}

func TestIntervalCut(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("intervals", 5, 1))
	r.serve()
	r.put(d, 3, 100)
	found := r.awaitCut(d, 3)
	b := found[0]
	if b.Reason != batch.ReasonInterval {
		t.Errorf("cut for %s", b.Reason)
	}
	m, err := r.batches.GetMsg(t.Context(), 1)
	r.must(err)
	if waited := m.Time.Sub(b.Oldest); waited < time.Second {
		t.Errorf("cut %s after the oldest message arrived, before its interval of 1s", waited)
	}
}

// A buffer that was down cuts everything that is overdue as few batches, not one for each message.
func TestOverdueBacklogIsOneBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("overdue", 5, 1))
	r.put(d, 500, 10)
	last := time.Now()
	r.eventually("the interval passes", func() bool { return time.Since(last) > 1100*time.Millisecond })
	r.serve()
	if found := r.awaitCut(d, 500); len(found) != 1 {
		t.Errorf("%d batches, want 1", len(found))
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := document("shards", 1, 1)
	d.Shards = 3
	r.create(d)
	r.serve()
	for shard := range names.Shard(3) {
		for range 5 {
			r.must(store(t.Context(), r.js, d, shard, 1000))
		}
	}
	for shard := range names.Shard(3) {
		r.awaitShard(d, shard, 5)
	}
}

// by hand: a cutter that the test steps through in its own goroutine.
func (r *rig) cutter(d *catalog.DeliveryStream) *cutter {
	r.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	r.must(err)
	conn := r.nats.Conn()
	js, err := jetstream.New(conn)
	r.must(err)
	batches, err := js.Stream(r.Context(), names.BatchesStream)
	r.must(err)
	e := &env{js: js, batches: batches, link: newLink(conn), opening: make(chan struct{}, 1), metrics: m, log: quiet()}
	c := newCutter(keyOf(d), e, hintsOf(d, d.Legs()[0]), func() {})
	c.timer = time.NewTimer(time.Hour)
	r.Cleanup(func() { c.timer.Stop() })
	return c
}

// fill opens the cutter at its cursor and lets it take so many messages.
func (r *rig) fill(c *cutter, messages int) {
	r.Helper()
	c.read = 0
	c.drop()
	reader, err := c.open(r.Context())
	r.must(err)
	defer reader.close(r.Context())
	for range messages {
		r.must(c.take(r.Context(), r.next(reader)))
	}
}

// cutOne lets the cutter go on until it has cut a batch.
func (r *rig) cutOne(c *cutter, from *reader) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	for before := c.cursor; c.cursor == before; {
		r.must(c.step(ctx, nil, from))
	}
}

func TestRestartDoesNotLengthenTheInterval(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("restarts", 5, 600))
	r.put(d, 1, 100)
	first, second := r.cutter(d), r.cutter(d)
	r.fill(first, 1)
	r.put(d, 1, 100)
	r.fill(second, 2)
	arrived := r.log(d).FirstTime
	for _, c := range []*cutter{first, second} {
		if want := arrived.Add(600 * time.Second); !c.deadline.Equal(want) {
			t.Errorf("the batch is due at %s, want %s", c.deadline, want)
		}
	}
}

func TestLostRace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("races", 5, 600))
	r.put(d, 5, 100)
	slow, quick := r.cutter(d), r.cutter(d)
	r.fill(slow, 5)
	r.fill(quick, 3)
	r.must(quick.publish(t.Context(), batch.ReasonInterval))
	if err := slow.publish(t.Context(), batch.ReasonInterval); !errors.Is(err, errLostRace) {
		t.Fatalf("the second cut ended with %v, want %v", err, errLostRace)
	}
	r.fill(slow, 2)
	r.must(slow.publish(t.Context(), batch.ReasonInterval))
	found := r.awaitCut(d, 5)
	if len(found) != 2 || found[1].First != 4 {
		t.Errorf("batches are %+v", found)
	}
}

func TestIntervalZero(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("zero", 5, 0))
	s := r.serve()
	r.put(d, 1, 100)
	r.awaitCut(d, 1) // there is no consumer yet
	sink := r.sink(d)
	r.put(d, 1, 100)
	r.put(d, 9, 100) // one batch waits, so these are held back
	found := r.awaitCut(d, 1)
	if last := found[len(found)-1]; last.Last != 1 {
		t.Fatalf("cut while a batch waits: %+v", found)
	}
	r.eventually("the cutter has read all of it", func() bool {
		n, _ := s.value("hydrant_buffer_backlog_records")
		return n == 20
	})
	r.deliver(sink, 1)
	found = r.awaitCut(d, 11)
	if len(found) != 2 {
		t.Errorf("what arrived while the sink was busy became %d batches, want 1", len(found)-1)
	}
}

// JetStream counts what waits for a consumer a little after it has acknowledged the publish, so the count is waited for.
func TestBacklogGrowsTheBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("backlog", 1, 900))
	sink := r.sink(d)
	r.put(d, 14, 600_000)
	c := r.cutter(d)
	reader, err := c.open(t.Context())
	r.must(err)
	defer reader.close(t.Context())
	want := []int{2, 2, 4, 6} // messages, with 0, 1, 2 and 3 batches waiting
	for waiting := range want {
		r.eventually("the batches wait", func() bool {
			info, err := sink.Info(t.Context())
			return err == nil && info.NumPending == uint64(waiting)
		})
		r.cutOne(c, reader)
	}
	found := r.awaitCut(d, 14)
	if len(found) != len(want) {
		t.Fatalf("%d batches, want %d: %+v", len(found), len(want), found)
	}
	for i, b := range found {
		if b.Messages != want[i] || b.Reason != batch.ReasonSize {
			t.Errorf("batch %d has %d messages, cut for %s; want %d", i, b.Messages, b.Reason, want[i])
		}
	}
}

func TestHintsChangedWhileFilling(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		to     [2]int32
		reason batch.Reason
	}{
		{"a shorter interval", [2]int32{5, 1}, batch.ReasonInterval},
		{"a smaller size", [2]int32{1, 900}, batch.ReasonSize},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			d := r.create(document("changed", 5, 900))
			s := r.serve()
			r.put(d, 3, 500_000)
			r.eventually("the batch fills", func() bool {
				n, _ := s.value("hydrant_buffer_backlog_records")
				return n == 6
			})
			_, err := r.documents.Update(t.Context(), d.Name, func(d *catalog.DeliveryStream) error {
				d.Replace(catalog.Destination{ID: d.Destination.ID, S3: destination(test.to[0], test.to[1])}, time.Now())
				return nil
			})
			r.must(err)
			b := r.awaitCut(d, 3)[0]
			if b.Messages != 3 || b.Reason != test.reason || b.Version != 2 {
				t.Errorf("batch is %+v", b)
			}
		})
	}
}

func TestOrderIsVerified(t *testing.T) {
	for _, test := range []struct {
		name string
		a    arrival
	}{
		{"a delivery is missing", arrival{sequence: 13, delivery: 4}},
		{"a sequence comes again", arrival{sequence: 11, delivery: 3}},
		{"a sequence goes back", arrival{sequence: 9, delivery: 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := &cutter{next: 10, timer: time.NewTimer(time.Hour)}
			defer c.timer.Stop()
			c.hints.Store(&hints{bytes: 1 << 20, interval: time.Hour})
			for i := range uint64(2) {
				if err := c.take(context.Background(), arrival{sequence: 10 + i, delivery: 1 + i, time: time.Now()}); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.take(context.Background(), test.a); err == nil {
				t.Error("taken")
			}
		})
	}
}

// Membership is a hint: two replicas may work on the same key for as long as they like.
func TestTwoCuttersOfOneKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("rivals", 1, 0))
	rivals := []*cutter{r.cutter(d), r.cutter(d), r.cutter(d)}
	ctx, cancel := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	defer cutting.Wait()
	defer cancel()
	for _, c := range rivals {
		cutting.Go(func() { c.run(ctx) })
	}
	r.put(d, 300, 1000)
	r.awaitCut(d, 300)
}
