package buffer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// trimmer returns a trimmer that the test steps through, and what it logs. The catalog is followed until the test ends.
func (r *rig) trimmer(changes ...func(*Config)) (*trimmer, *logBuffer) {
	r.Helper()
	cfg := r.config()
	for _, change := range changes {
		change(&cfg)
	}
	m, err := newMetrics(prometheus.NewRegistry())
	r.must(err)
	logged := new(logBuffer)
	log := slog.New(slog.NewTextHandler(logged, nil))
	view := catalog.NewView(r.documents, log)
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { view.Run(ctx, nil) })
	r.Cleanup(func() { cancel(); following.Wait() })
	return newTrimmer(cfg, r.js, r.batches, view, nil, m, log), logged
}

func (r *rig) pass(t *trimmer) *report {
	r.Helper()
	var found *report
	r.eventually("a pass succeeds", func() bool {
		var err error
		found, err = t.pass(r.Context())
		return err == nil
	})
	return found
}

// trimmed makes a delivery stream with three batches of ten messages of 10 kB, and five messages more, of which its sink has
// delivered so many.
func (r *rig) trimmed(name names.Stream, delivered int) *catalog.DeliveryStream {
	r.Helper()
	d := r.create(document(name, 5, 900))
	r.put(d, 35, 10_000)
	for i := range uint64(3) {
		r.publish(d, d.ID, 10*i+1, 10*i+10)
	}
	r.deliver(r.sink(d), delivered)
	return d
}

func none(c *Config) { c.ReplayBytes = 0 }

func TestTrimsOnlyWhatIsDelivered(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	some, all, nothing := r.trimmed("some", 2), r.trimmed("all", 3), r.trimmed("nothing", 0)
	noSink := r.create(document("no.sink", 5, 900))
	r.put(noSink, 10, 100)
	r.publish(noSink, noSink.ID, 1, 10)
	uncut := r.create(document("uncut", 5, 900))
	r.put(uncut, 10, 100)
	r.sink(uncut)

	trimmer, _ := r.trimmer(none)
	found := r.pass(trimmer)
	for _, want := range []struct {
		d     *catalog.DeliveryStream
		first uint64
	}{{some, 21}, {all, 31}, {nothing, 1}, {noSink, 1}, {uncut, 1}} {
		if state := r.log(want.d); state.FirstSeq != want.first {
			t.Errorf("the log of %s begins at %d, want %d", want.d.Name, state.FirstSeq, want.first)
		}
		if found.legs[legName{want.d.Name, names.LegS3}].oldest.IsZero() {
			t.Errorf("nothing of %s is undelivered", want.d.Name)
		}
	}
	if found.replay != 0 {
		t.Errorf("%d bytes left for replay", found.replay)
	}
}

// backup switches the source-record backup of a delivery stream on.
func (r *rig) backup(d *catalog.DeliveryStream, since time.Time) {
	r.Helper()
	_, err := r.documents.Update(r.Context(), d.Name, func(now *catalog.DeliveryStream) error {
		now.Destination.S3.S3BackupMode, now.Destination.BackupSince = types.S3BackupModeEnabled, since
		now.Destination.S3.S3BackupDescription = &types.S3DestinationDescription{BufferingHints: now.Destination.S3.BufferingHints}
		return nil
	})
	r.must(err)
}

// TestBackupSwitchedOnLater has a backup begin right behind records that are not its own: they are not undelivered. By how
// much the clocks differ is not known, so they stay; as do those that came after it began.
func TestBackupSwitchedOnLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("late", 3)
	r.publish(d, d.ID, 31, 35)
	sink, err := r.batches.Consumer(t.Context(), names.SinkConsumer(names.LegS3, d.Name, d.ID))
	r.must(err)
	r.deliver(sink, 1)
	since := r.log(d).LastTime.Add(time.Millisecond)
	r.backup(d, since)
	r.eventually("the backup has begun", func() bool { return time.Now().After(since) })

	trimmer, _ := r.trimmer(none)
	backup := legName{d.Name, names.LegBackup}
	if found := r.pass(trimmer); !found.legs[backup].oldest.IsZero() || r.log(d).FirstSeq != 1 {
		t.Errorf("before anything came the backup's oldest is %s, the log begins at %d", found.legs[backup].oldest, r.log(d).FirstSeq)
	}
	r.put(d, 10, 100)
	r.publish(d, d.ID, 36, 45)
	r.deliver(sink, 1)
	if found := r.pass(trimmer); found.legs[backup].oldest.IsZero() || r.log(d).FirstSeq != 1 {
		t.Errorf("the backup's oldest is %s, the log begins at %d", found.legs[backup].oldest, r.log(d).FirstSeq)
	}
}

func TestBegun(t *testing.T) {
	last := time.Unix(10_000, 0)
	state := jetstream.StreamState{Msgs: 5, FirstSeq: 6, LastSeq: 10, FirstTime: last.Add(-time.Hour), LastTime: last}
	before := position{oldest: state.FirstTime}
	for _, test := range []struct {
		name string
		late time.Time
		want position
	}{
		{"a leg as old as its delivery stream", time.Time{}, before},
		{"all is older by more than clocks differ", last.Add(clockMargin + 1), position{delivered: 10}},
		{"all is older by as much as clocks differ", last.Add(clockMargin), position{}},
		{"the last is the leg's", last, position{oldest: last}},
		{"it began in the middle", last.Add(-time.Minute), position{oldest: last.Add(-time.Minute)}},
		{"all is the leg's", last.Add(-2 * time.Hour), before},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := begun(test.late, state, before); got != test.want {
				t.Errorf("position is %+v, want %+v", got, test.want)
			}
		})
	}
	if got := begun(last, jetstream.StreamState{}, position{}); got != (position{}) {
		t.Errorf("of an empty log: %+v", got)
	}
}

// TestClockOfIngestIsAhead makes a delivery stream by a clock that is far ahead of NATS'. Its records are its own all the
// same, and none goes before it is delivered.
func TestClockOfIngestIsAhead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := document("ahead", 5, 900)
	d.Created = time.Now().Add(time.Hour)
	r.create(d)
	r.put(d, 10, 100)
	r.sink(d)
	trimmer, _ := r.trimmer(none)
	found := r.pass(trimmer)
	if state := r.log(d); state.FirstSeq != 1 || state.Msgs != 10 {
		t.Errorf("the log has %d messages from %d on, and nothing is delivered", state.Msgs, state.FirstSeq)
	}
	if found.legs[legName{d.Name, names.LegS3}].oldest.IsZero() {
		t.Error("nothing is undelivered")
	}
}

// TestOldestOfALateLeg has the log still hold records that arrived before the leg began.
func TestOldestOfALateLeg(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("halfway", 0)
	since := r.log(d).LastTime.Add(time.Millisecond)
	r.backup(d, since)
	r.eventually("the backup has begun", func() bool { return time.Now().After(since) })
	r.put(d, 1, 100)
	trimmer, _ := r.trimmer()
	if found := r.pass(trimmer).legs[legName{d.Name, names.LegBackup}]; !found.oldest.Equal(since) {
		t.Errorf("the backup's oldest record is of %s, want %s", found.oldest, since)
	}
}

func TestTrimsOutOfOrderAcknowledgements(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("disorder", 0)
	sink, err := r.batches.Consumer(t.Context(), names.SinkConsumer(names.LegS3, d.Name, d.ID))
	r.must(err)
	first, err := sink.Next()
	r.must(err)
	r.deliver(sink, 2) // the second and the third
	trimmer, _ := r.trimmer(none)
	r.pass(trimmer)
	if state := r.log(d); state.FirstSeq != 1 {
		t.Fatalf("the log begins at %d, before its first batch is delivered", state.FirstSeq)
	}
	r.must(first.DoubleAck(t.Context()))
	r.pass(trimmer)
	if state := r.log(d); state.FirstSeq != 31 {
		t.Errorf("the log begins at %d, want 31", state.FirstSeq)
	}
}

func TestTrimsToTheBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.trimmed("one", 3), r.trimmed("two", 3)
	trimmer, _ := r.trimmer()
	full := r.pass(trimmer).replay
	if full < 60*10_000 || r.log(one).FirstSeq != 1 {
		t.Fatalf("%d bytes for replay, the log begins at %d: nothing was to be trimmed", full, r.log(one).FirstSeq)
	}
	trimmer.cfg.ReplayBytes = full / 2
	left := r.pass(trimmer).replay
	if left > full/2 || left < full*4/10 {
		t.Errorf("%d bytes left for replay, of %d, with a budget of half", left, full)
	}
	if a, b := r.log(one).FirstSeq, r.log(two).FirstSeq; a != b || a < 15 || a > 18 {
		t.Errorf("the logs begin at %d and %d, want the same, about the middle of 30", a, b)
	}
	before := r.log(one).FirstSeq
	r.pass(trimmer)
	if after := r.log(one).FirstSeq; after != before {
		t.Errorf("trimmed from %d to %d within the budget", before, after)
	}
}

func TestTrimsUnderPressure(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("pressed", 2)
	account, err := r.js.AccountInfo(t.Context())
	r.must(err)
	trimmer, _ := r.trimmer(func(c *Config) {
		c.NATS.StoreBytes, c.StreamSharePercent = int64(account.Store)*2, 100
	})
	r.pass(trimmer)
	if state := r.log(d); state.FirstSeq != 1 {
		t.Fatalf("trimmed at half of the store")
	}
	trimmer.cfg.NATS.StoreBytes = int64(account.Store) * 100 / 81
	found := r.pass(trimmer)
	if state := r.log(d); state.FirstSeq != 21 {
		t.Errorf("the log begins at %d, want 21", state.FirstSeq)
	}
	if found.store.Limit != trimmer.cfg.NATS.StoreBytes || found.store.Used == 0 {
		t.Errorf("the store is told to be %+v", found.store)
	}
}

// A store at its limit, or at the account's, refuses descriptors too. Acknowledging and trimming still work, and make all well again.
func TestTrimsAFullStore(t *testing.T) {
	t.Parallel()
	const limit = 20 << 20
	t.Run("the server's", func(t *testing.T) {
		t.Parallel()
		trimsAFullStore(newRig(t, func(o *server.Options) { o.JetStreamMaxStore = limit }), limit)
	})
	t.Run("the account's", func(t *testing.T) {
		t.Parallel()
		r := newRig(t)
		r.nats.LimitAccount(limit)
		trimsAFullStore(r, limit)
	})
}

func trimsAFullStore(r *rig, limit int64) {
	r.Helper()
	d := r.create(document("full", 5, 900))
	sink := r.sink(d)
	r.put(d, 10, 1_000_000)
	r.publish(d, d.ID, 1, 10)
	var full error
	for size := 1_000_000; size > 0; size /= 10 { // to the last byte, so that there is no room for the proof either
		for full = nil; full == nil; {
			full = store(r.Context(), r.js, d, 0, size)
		}
	}
	r.deliver(sink, 1)
	trimmer, logged := r.trimmer(func(c *Config) { c.NATS.StoreBytes = limit })
	r.pass(trimmer)
	if !logged.has("since the store is full") {
		r.Errorf("there was room for a proof:\n%s", logged)
	}
	if state := r.log(d); state.FirstSeq != 11 {
		r.Fatalf("the log begins at %d, want 11, after %v", state.FirstSeq, full)
	}
	r.put(d, 1, 1_000_000)
	r.publish(d, d.ID, 11, 11)
}

func TestTrimsAStreamWithMoreThanHalfItsShare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	large := r.trimmed("large", 2)
	small := r.create(document("small", 5, 900))
	r.put(small, 10, 100)
	r.publish(small, small.ID, 1, 10)
	r.deliver(r.sink(small), 1)
	trimmer, _ := r.trimmer(func(c *Config) {
		c.NATS.StoreBytes, c.StreamSharePercent = int64(r.log(large).Bytes)*3, 50
	})
	r.pass(trimmer)
	if state := r.log(large); state.FirstSeq != 21 {
		t.Errorf("the large log begins at %d, want 21", state.FirstSeq)
	}
	if state := r.log(small); state.FirstSeq != 1 {
		t.Errorf("the small log begins at %d, want 1", state.FirstSeq)
	}
}

func TestTrimIgnoresForeignBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("mixed", 5, 900))
	foreign := names.NewStreamID()
	r.put(d, 20, 100)
	sink := r.sink(d)
	trimmer, _ := r.trimmer(none)
	begins := func(what string, want uint64) {
		t.Helper()
		r.pass(trimmer)
		if first := r.log(d).FirstSeq; first != want {
			t.Errorf("%s: the log begins at %d, want %d", what, first, want)
		}
	}
	r.publish(d, foreign, 1, 5000)
	r.deliver(sink, 1)
	begins("a delivered foreign batch", 1)
	r.publish(d, foreign, 5001, 6000)
	r.publish(d, d.ID, 1, 10)
	begins("an own batch behind a foreign one", 1)
	r.deliver(sink, 2)
	begins("both delivered", 11)
	r.publish(d, foreign, 6001, 7000)
	r.publish(d, d.ID, 11, 20)
	r.publish(d, foreign, 7001, 8000)
	r.deliver(sink, 3)
	begins("a foreign one is the last", 11)
}

func TestTrimmersDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("twice", 2)
	late, _ := r.trimmer(none)
	quick, _ := r.trimmer(none)
	plan := &trimLog{source: logOf(d, 0), first: 1, last: 35, delivered: 10, upTo: 10} // of a while ago
	r.pass(quick)
	late.purge(t.Context(), plan)
	r.pass(late)
	if state := r.log(d); state.FirstSeq != 21 || state.LastSeq != 35 {
		t.Errorf("the log has %d to %d, want 21 to 35", state.FirstSeq, state.LastSeq)
	}
}

func TestLatePurgeDoesNotReachTheSuccessor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("purged", 3)
	trimmer, logged := r.trimmer(none)
	plan := &trimLog{source: logOf(d, 0), first: 1, last: 35, delivered: 30, upTo: 30}
	r.must(r.js.DeleteStream(t.Context(), logOf(d, 0).JetStream()))
	r.must(r.documents.Remove(t.Context(), d.Name, d.ID))
	next := r.create(document("purged", 5, 900))
	r.put(next, 40, 100)
	trimmer.purge(t.Context(), plan)
	if state := r.log(next); state.FirstSeq != 1 || state.Msgs != 40 {
		t.Errorf("the successor's log has %d messages from %d on", state.Msgs, state.FirstSeq)
	}
	if logged.String() != "" {
		t.Errorf("logged: %s", logged)
	}
}

func TestCutterGoesOnBehindATrimmedLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("onwards", 5, 1))
	sink := r.sink(d)
	first := r.serve()
	r.put(d, 5, 100)
	r.awaitCut(d, 5)
	first.stop()
	r.deliver(sink, len(r.cut(d, 0)))
	trimmer, _ := r.trimmer(none)
	r.pass(trimmer)
	if state := r.log(d); state.Msgs != 0 {
		t.Fatalf("%d messages left", state.Msgs)
	}
	r.serve()
	r.put(d, 1, 100)
	r.eventually("the next batch is cut", func() bool {
		found := r.cut(d, 0)
		return found[len(found)-1].Last == 6
	})
	for _, b := range r.cut(d, 0) {
		if b.Missing != 0 {
			t.Errorf("delivered records are told to be missing: %+v", b)
		}
	}
}

func TestUndeliveredIsReportedAndWarnedOf(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := document("slow", 5, 900)
	d.RetentionSeconds = 1000
	r.create(d)
	r.put(d, 2, 100)
	arrived := time.Now().Add(-800 * time.Second)
	data, err := batch.Descriptor{
		Stream: d.Name, StreamID: d.ID, Leg: names.LegS3, First: 1, Last: 2, Messages: 2, Oldest: arrived, Newest: arrived,
	}.Encode()
	r.must(err)
	_, err = r.js.Publish(t.Context(), names.BatchesSubject(names.LegS3, d.Name, 0), data)
	r.must(err)
	sink := r.sink(d)
	trimmer, logged := r.trimmer()
	for range 2 {
		trimmer.warn(r.pass(trimmer), arrived.Add(800*time.Second))
	}
	if n := strings.Count(logged.String(), "level=WARN"); n != 1 || !strings.Contains(logged.String(), "expires_in=3m20s") {
		t.Errorf("warned %d times: %s", n, logged)
	}
	leg := legName{d.Name, names.LegS3}
	if age := r.pass(trimmer).legs[leg].age(arrived.Add(time.Minute)); age != time.Minute {
		t.Errorf("the oldest is %s old", age)
	}
	r.deliver(sink, 1)
	if u := r.pass(trimmer).legs[leg]; !u.oldest.IsZero() || u.age(time.Now()) != 0 {
		t.Errorf("undelivered after everything was delivered: %+v", u)
	}
}

func TestUndeliveredGauges(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.trimmed("gauges", 1)
	trimmer, _ := r.trimmer()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	r.must(err)
	m.report.Store(r.pass(trimmer))
	s := &running{registry: registry}
	for _, name := range []string{"hydrant_undelivered_oldest_seconds", "hydrant_undelivered_expires_in_seconds"} {
		if value, series := s.value(name, "stream="+string(d.Name), "leg=s3"); series != 1 || value <= 0 || value > d.Retention().Seconds() {
			t.Errorf("%s has %d series, %v", name, series, value)
		}
	}
	if value, _ := s.value("hydrant_replay_bytes"); value < 100_000 {
		t.Errorf("hydrant_replay_bytes is %v", value)
	}
	if value, _ := s.value("hydrant_store_used_bytes"); value < 350_000 {
		t.Errorf("hydrant_store_used_bytes is %v", value)
	}
	if _, series := s.value("hydrant_store_limit_bytes"); series != 1 {
		t.Error("no hydrant_store_limit_bytes")
	}
}

func TestUncutAge(t *testing.T) {
	first, last := time.Unix(100, 0), time.Unix(200, 0)
	state := jetstream.StreamState{Msgs: 5, FirstSeq: 6, LastSeq: 10, FirstTime: first, LastTime: last}
	for _, test := range []struct {
		name      string
		delivered uint64
		before    position
		want      time.Time
	}{
		{"all delivered", 10, position{}, time.Time{}},
		{"nothing delivered is left", 5, position{}, first},
		{"seen for the first time", 8, position{delivered: 7, oldest: first}, last},
		{"seen before", 8, position{delivered: 8, oldest: first}, first},
		{"nothing was left before", 8, position{delivered: 8}, last},
	} {
		t.Run(test.name, func(t *testing.T) {
			if p := uncut(test.delivered, state, test.before); !p.oldest.Equal(test.want) || p.delivered != test.delivered {
				t.Errorf("position is %+v, want %s", p, test.want)
			}
		})
	}
}

func TestPlanNeverTakesMoreThanWhatIsDelivered(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		var logs []*trimLog
		for range 1 + random.IntN(4) {
			l := &trimLog{source: names.Log{Stream: "s"}, first: 1 + random.Uint64N(100), bytes: random.Uint64N(1 << 40)}
			l.last = l.first - 1 + random.Uint64N(100)
			l.delivered = random.Uint64N(l.last + 20)
			logs = append(logs, l)
		}
		cfg := Config{ReplayBytes: random.Int64N(1 << 41), StreamSharePercent: 1 + random.IntN(100)}
		plan(logs, broker.Store{Used: random.Int64N(1 << 42), Limit: random.Int64N(1 << 42)}, cfg)
		left := int64(0)
		for _, l := range logs {
			if l.upTo > l.delivered || l.upTo > l.last {
				t.Fatalf("%+v gives up more than what is delivered", *l)
			}
			left += l.replayBytes()
		}
		if left > cfg.ReplayBytes {
			t.Fatalf("%d bytes left, with a budget of %d", left, cfg.ReplayBytes)
		}
	}
}

func TestStillness(t *testing.T) {
	var s stillness
	var rested []int
	for turn, used := range []int64{100, 100, 100, 200, 200, 200, 200, 200, 200, 200, 200, -1, 200, 200, 200} {
		if s.rests(used) {
			rested = append(rested, turn)
		}
	}
	// A pass after each change, one more behind it, and one in six after that.
	if want := []int{2, 5, 6, 7, 8, 10, 14}; !slices.Equal(rested, want) {
		t.Errorf("rested in turns %d, want %d", rested, want)
	}
}

// A log that never had a message has nothing that could go.
func TestNothingIsPurgedOfAnEmptyLog(t *testing.T) {
	l := &trimLog{delivered: 0}
	l.give(1)
	if l.upTo != 0 || l.count() != 0 {
		t.Errorf("%+v", l)
	}
	(&trimmer{}).purge(t.Context(), l) // would fail without a server
}
