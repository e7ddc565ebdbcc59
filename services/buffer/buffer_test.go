package buffer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// Three replicas cut the batches of several streams under load. One of them is cut off from NATS for so long that the others
// take its work over, and then goes on, with whatever it was about to send.
func TestContiguousWithThreeReplicas(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	blocked := newProxy(t, r.nats.URL())
	r.serve()
	r.serve()
	third := r.serve(func(c *Config) { c.NATS.NATSURL = blocked.url() })

	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	var streams []*catalog.DeliveryStream
	another := func() {
		i := len(streams)
		d := r.create(document(names.Stream(fmt.Sprintf("load.%d", i)), 1, int32(i%3)))
		streams = append(streams, d)
		load.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				_ = store(ctx, r.js, d, 0, 20_000)
				<-pace.C
			}
		})
	}
	for range 8 {
		another()
	}
	// Whose a stream is goes by the replicas' random ids, and the third may have none of eight.
	more := time.NewTicker(3 * time.Second)
	defer more.Stop()
	r.eventually("the third replica works", func() bool {
		select {
		case <-more.C:
			another()
		default:
		}
		n, _ := third.value("hydrant_batches_cut_total")
		return n > 5
	})
	blocked.stall()
	for _, d := range streams {
		r.awaitLast(d, 0, r.log(d).LastSeq) // by the others
	}
	blocked.resume()
	before, _ := third.value("hydrant_batches_cut_total")
	r.eventually("the third replica works again", func() bool {
		n, _ := third.value("hydrant_batches_cut_total")
		return n > before+5
	})
	cancel()
	load.Wait()
	for _, d := range streams {
		r.awaitCut(d, r.log(d).LastSeq)
	}
}

func TestLostAnswer(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, lostAnswer)
}

func lostAnswer(t *testing.T, within time.Duration) bool {
	r := newRig(t)
	d := r.create(document("answers", 5, 2*int32(within/time.Second)))
	p := newProxy(t, r.nats.URL())
	s := r.serve(func(c *Config) { c.NATS.NATSURL = p.url() })
	r.put(d, 3, 100)
	if !s.fills(6) {
		return false
	}
	p.swallow()
	r.awaitCut(d, 3) // stored, but the service does not learn of it
	if s.cuts() != 0 {
		return false
	}
	p.cut()
	r.put(d, 2, 100)
	if found := r.awaitCut(d, 5); len(found) != 2 {
		t.Errorf("batches are %+v", found)
	}
	r.eventually("both batches are counted", func() bool { return s.cuts() == 2 })
	return true
}

// fills waits until so many records are in a batch that is not cut yet; false if it was cut before that was seen.
func (s *running) fills(records float64) bool {
	s.rig.Helper()
	var filled float64
	s.rig.eventually("the batch fills", func() bool {
		filled, _ = s.value("hydrant_buffer_backlog_records")
		return filled == records || s.cuts() > 0
	})
	return filled == records
}

func (s *running) cuts() float64 {
	n, _ := s.value("hydrant_batches_cut_total")
	return n
}

func TestNATSRestartWhileFilling(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, restartWhileFilling)
}

func restartWhileFilling(t *testing.T, within time.Duration) bool {
	r := newRig(t)
	d := r.create(document("outage", 1, 3*int32(within/time.Second)))
	s := r.serve()
	r.put(d, 3, 100_000)
	if !s.fills(6) {
		return false
	}
	r.nats.Stop()
	r.eventually("the outage is noticed", func() bool { return s.Ready() != nil })
	r.nats.Restart()
	r.eventually("puts work again", func() bool { return store(t.Context(), r.js, d, 0, 100_000) == nil })
	r.awaitCut(d, r.log(d).LastSeq)
	r.put(d, 20, 100_000)
	r.awaitCut(d, r.log(d).LastSeq)
	r.eventually("ready again", func() bool { return s.Ready() == nil })
	return true
}

func TestStartsWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("early", 5, 1))
	r.put(d, 1, 100)
	r.nats.Stop()
	s := r.serve()
	r.eventually("it waits", func() bool { return s.logged.has("waiting for JetStream") })
	if s.Ready() == nil {
		t.Error("ready without NATS")
	}
	r.nats.Restart()
	r.eventually("connected again", func() bool {
		_, err := r.batches.Info(t.Context())
		return err == nil
	})
	r.awaitCut(d, 1)
}

func TestStopsWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("late", 5, 900))
	s := r.serve()
	r.put(d, 1, 100)
	r.eventually("the batch fills", func() bool {
		n, _ := s.value("hydrant_buffer_backlog_records")
		return n == 2
	})
	r.nats.Stop()
	s.stop()
}

func TestDeletedAndMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("again", 5, 1))
	s := r.serve()
	r.put(d, 3, 100)
	r.awaitCut(d, 3)
	r.must(r.documents.Remove(t.Context(), d.Name, d.ID))
	r.must(r.js.DeleteStream(t.Context(), logOf(d, 0).JetStream()))
	r.eventually("its series are dropped", func() bool {
		_, cut := s.value("hydrant_batches_cut_total", "stream=again")
		_, backlog := s.value("hydrant_buffer_backlog_bytes", "stream=again")
		return cut == 0 && backlog == 0
	})
	next := r.create(document("again", 5, 1))
	r.put(next, 2, 100)
	found := r.awaitCut(next, 2)
	if last := found[len(found)-1]; last.StreamID != next.ID || last.First != 1 {
		t.Errorf("the successor's first batch is %+v", last)
	}
}

// A process that stalled while its stream was deleted and made again wakes with a batch of the old one.
func TestLateBatchOfADeletedStream(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("stale", 5, 900))
	r.put(d, 3, 100)
	late := r.cutter(d)
	r.fill(late, 3)
	r.must(r.js.DeleteStream(t.Context(), logOf(d, 0).JetStream()))
	r.must(r.documents.Remove(t.Context(), d.Name, d.ID))
	next := r.create(document("stale", 5, 1))
	r.put(next, 2, 100)
	own := r.cutter(next)
	own.hints.Store(late.hints.Load()) // so that it cuts nothing of its own accord, however long this takes
	r.fill(own, 2)
	r.must(late.publish(t.Context(), batch.ReasonInterval))
	if err := own.publish(t.Context(), batch.ReasonInterval); !errors.Is(err, errLostRace) {
		t.Errorf("behind the late batch the successor cuts: %v", err)
	}
	r.serve()
	r.awaitCut(next, 2)
}

func TestConfigNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"replay bytes", func(c *Config) { c.ReplayBytes = -1 }, []string{"--replay-bytes", "HYDRANT_REPLAY_BYTES", "-1", "0 or more"}},
		{"share", func(c *Config) { c.StreamSharePercent = 101 }, []string{"--stream-share-percent", "HYDRANT_STREAM_SHARE_PERCENT", "101", "1 to 100"}},
		{"NATS", func(c *Config) { c.NATS.Replicas = 2 }, []string{"--replicas", "HYDRANT_REPLICAS", "2", "1, 3 or 5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := r.config()
			test.change(&cfg)
			err := cfg.Validate()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// The checker is to find what it is for.
func TestCheckerFinds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("checked", 5, 1))
	s := r.serve()
	r.put(d, 3, 100)
	r.awaitCut(d, 3)
	r.put(d, 3, 100)
	good := r.awaitCut(d, 6)
	s.stop()
	for name, spoil := range map[string]func([]batch.Descriptor) []batch.Descriptor{
		"a batch that is missing": func(b []batch.Descriptor) []batch.Descriptor {
			return []batch.Descriptor{b[0], {StreamID: d.ID, Stream: d.Name, First: b[len(b)-1].Last + 2, Last: b[len(b)-1].Last + 2, Missing: 1}}
		},
		"a batch that overlaps": func(b []batch.Descriptor) []batch.Descriptor { return append(b, b[len(b)-1]) },
		"a wrong count":         func(b []batch.Descriptor) []batch.Descriptor { b[0].Records++; return b },
		"a wrong size":          func(b []batch.Descriptor) []batch.Descriptor { b[0].Bytes--; return b },
		"an untold gap":         func(b []batch.Descriptor) []batch.Descriptor { b[0].Last++; return b },
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := spoil(append([]batch.Descriptor(nil), good...))
			if check(t.Context(), r.js, d.ID, spoiled) == nil {
				t.Error("not found")
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		name    string
		arrived time.Time
		want    time.Time
	}{
		{"read at once", now, now.Add(time.Minute)},
		{"read late", now.Add(-50 * time.Second), now.Add(10 * time.Second)},
		{"long overdue", now.Add(-time.Hour), now.Add(-59 * time.Minute)},
		{"JetStream's clock is ahead", now.Add(time.Hour), now.Add(time.Minute)},
	} {
		t.Run(test.name, func(t *testing.T) {
			var f filling
			f.add(arrival{sequence: 7, time: test.arrived}, 5, now)
			if due := f.due(time.Minute); !due.Equal(test.want) {
				t.Errorf("due at %s, want %s", due, test.want)
			}
			if d := f.descriptor(batch.ReasonInterval); d.First != 5 || d.Last != 7 || d.Missing != 2 {
				t.Errorf("descriptor is %+v", d)
			}
		})
	}
}

func TestGrown(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name    string
		hint    int64
		waiting uint64
		want    int64
	}{
		{"nothing waits", 5 * mb, 0, 5 * mb},
		{"one waits", 5 * mb, 1, 5 * mb},
		{"two wait", 5 * mb, 2, 10 * mb},
		{"at most", 5 * mb, 1000, 128 * mb},
		{"absurdly many", 128 * mb, 1 << 62, 128 * mb},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := grown(test.hint, test.waiting); got != test.want {
				t.Errorf("grown to %d, want %d", got, test.want)
			}
		})
	}
}
