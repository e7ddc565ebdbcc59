package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

func TestPutWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.putOne(l, d, "before")
	r.server.Stop()
	for _, text := range []string{"refused", "refused, too"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		result := l.put(ctx, d, callerOf(text), dataOf([]byte(text))).list()
		cancel()
		if !errors.Is(result[0].Err, errUnavailable) {
			t.Fatalf("error %v", result[0].Err)
		}
	}
	r.server.Restart()
	r.putOne(l, d, "after")
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestStartWhileNATSIsDown(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	d := r.stream("demo", 1)
	r.server.Stop()
	l := r.putLog(r.server.URL())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	put := make(chan []putResult, 1)
	go func() { put <- l.put(ctx, d, callerOf("refused"), dataOf([]byte("refused"))).list() }()
	natstest.WaitFor(t, "it is tried", func() bool { return l.counts.Repeats.Load() > 0 })
	cancel()
	result := <-put
	if err := result[0].Err; !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "NATS cannot be reached") {
		t.Errorf("error %v", err)
	}
	r.server.Restart()
	r.putOne(l, d, "stored")
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"stored"}) {
		t.Errorf("the log holds %q", got)
	}
}

// A put lasts over a short absence of NATS.
func TestPutOutlastsARestart(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.putOne(l, d, "before")
	r.server.Stop()
	before := l.counts.Repeats.Load()
	var group sync.WaitGroup
	results := make([]putResult, 50)
	for i := range results {
		group.Go(func() { results[i] = r.putter(l, d, fmt.Sprint("during", i))() })
	}
	natstest.WaitFor(r.t, "the put is repeated", func() bool { return l.counts.Repeats.Load() > before+2 })
	r.server.Restart()
	group.Wait()
	for i, result := range results {
		r.checkStored(logOf(d, 0), [][]byte{[]byte(fmt.Sprint("during", i))}, []putResult{result})
	}
	if n := len(r.contents(logOf(d, 0))); n != 51 {
		t.Errorf("%d messages, want 51", n)
	}
}

// What is acknowledged over restarts of NATS is in the log, once, where its id says.
func TestRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	d := r.stream("demo", 2)
	stop := make(chan struct{})
	var group sync.WaitGroup
	type acknowledged struct {
		text string
		id   record.ID
	}
	acks := make(chan acknowledged, 1_000_000)
	for replica := range 2 {
		l := r.putLog(r.server.URL(), func(l *putLog) { l.try = 200 * time.Millisecond })
		for producer := range 16 {
			group.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					text := fmt.Sprintf("%d/%d/%d", replica, producer, i)
					if result := r.putter(l, d, text)(); result.Err == nil {
						acks <- acknowledged{text, result.ID}
					} else {
						t.Errorf("%s: %v", text, result.Err)
					}
				}
			})
		}
	}
	for range 3 {
		seen := len(acks)
		natstest.WaitFor(r.t, "puts are acknowledged", func() bool { return len(acks) > seen+200 })
		r.server.Restart()
	}
	seen := len(acks)
	natstest.WaitFor(r.t, "puts are acknowledged", func() bool { return len(acks) > seen+200 })
	close(stop)
	group.Wait()
	close(acks)

	stored := map[string]record.ID{}
	for shard := range d.Shards {
		for _, m := range r.contents(logOf(d, shard)) {
			if _, twice := stored[string(m.Data)]; twice {
				t.Errorf("%s is stored twice", m.Data)
			}
			stored[string(m.Data)] = record.ID{Stream: d.ID, Shard: names.Shard(shard), Sequence: m.Sequence}
		}
	}
	for a := range acks {
		if stored[a.text] != a.id {
			t.Errorf("%s is acknowledged as %s and stored as %s", a.text, a.id, stored[a.text])
		}
	}
}

// A lost answer leads to a repeat, which finds what is stored.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l := r.putLog(p.url())
	t.Run("of one message", func(t *testing.T) {
		d := r.stream("single", 1)
		r.putOne(l, d, "before")
		p.set(func(p *tap) { p.lose = 1 })
		if id := r.putOne(l, d, "one"); id.Sequence != 2 {
			t.Errorf("id %s", id)
		}
		if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "one"}) {
			t.Errorf("the log holds %q", got)
		}
	})
	t.Run("of a batch", func(t *testing.T) {
		d := r.stream("batch", 1)
		apart := l.counts.Apart.Load()
		results := r.together(l, p, d, func() { p.set(func(p *tap) { p.lose = 2 }) }, r.putters(l, d, "put", 20)...)
		for i, result := range results[:20] {
			r.checkStored(logOf(d, 0), [][]byte{[]byte(fmt.Sprint("put", i))}, []putResult{result})
		}
		if n := len(r.contents(logOf(d, 0))); n != 21 {
			t.Errorf("%d messages, want 21", n)
		}
		if l.counts.Apart.Load() != apart+1 {
			t.Error("the batch was not settled one by one")
		}
	})
	if l.counts.Repeats.Load() < 2 {
		t.Error("nothing was repeated")
	}
}

// A server that does not read, as a stopped process, holds nobody longer than the deadline.
func TestServerStalls(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url(), func(l *putLog) { l.try = 20 * time.Millisecond }), r.stream("demo", 1)
	r.putOne(l, d, "before")
	p.set(func(p *tap) { p.stalled = true })
	before := l.counts.Repeats.Load() // on a busy machine the first put was repeated, too
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	put := make(chan putResults, 1)
	go func() { put <- l.put(ctx, d, callerOf("unclear"), dataOf([]byte("unclear"))) }()
	natstest.WaitFor(t, "it is sent several times", func() bool { return l.counts.Repeats.Load() > before+1 })
	cancel()
	results := <-put
	if !errors.Is(results.err, errUnavailable) || !results.inUse {
		t.Errorf("error %v, in use %t", results.err, results.inUse)
	}
	p.set(func(p *tap) { p.stalled = false })
	r.putOne(l, d, "after")
	// The one in between was sent, several times, and is there once.
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "unclear", "after"}) {
		t.Errorf("the log holds %q", got)
	}
	// A retry of it is told where.
	if id := r.putOne(l, d, "unclear"); id.Sequence != 2 {
		t.Errorf("the retry's id is %s", id)
	}
}

// Nor does it when a write to it blocks, with the connection's lock.
func TestServerStallsInAWrite(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url(), func(l *putLog) { l.try = 100 * time.Millisecond }), r.stream("demo", 8)
	r.putOne(l, d, "before")
	p.set(func(p *tap) { p.stalled = true })
	records := recordsOf(slices.Repeat([]int{record.MaxRecordBytes}, 4)...)
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for _, result := range l.put(ctx, d, callerOf(fmt.Sprint(i)), dataOf(records...)).list() {
				if !errors.Is(result.Err, errUnavailable) {
					t.Errorf("error %v", result.Err)
				}
			}
		})
	}
	group.Wait()
	p.set(func(p *tap) { p.stalled = false })
	r.putOne(l, d, "after")
	stored := map[string]bool{}
	for shard := range d.Shards {
		for _, m := range r.contents(logOf(d, shard)) {
			if id := m.Header.Get("Nats-Msg-Id"); stored[id] {
				t.Errorf("message %s is stored twice", id)
			} else {
				stored[id] = true
			}
		}
	}
}

// A process that still knows the delivery stream's last incarnation puts nothing into the present one.
func TestStreamMadeAgain(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, old := r.putLog(p.url()), r.stream("demo", 1)
	var again *catalog.DeliveryStream
	results := r.together(l, p, old, func() {
		r.remove(old)
		again = r.stream("demo", 1)
	}, r.putters(l, old, "late", 10)...)
	results = append(results[:10], r.putter(l, old, "later")())
	for _, result := range results {
		if !errors.Is(result.Err, errStreamGone) {
			t.Errorf("error %v", result.Err)
		}
	}
	r.putOne(l, again, "new")
	if got := r.texts(logOf(again, 0)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("the new log holds %q", got)
	}
}

func TestStreamDeleted(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.remove(d)
	for _, text := range []string{"one", strings.Repeat("large", largeMessage)} {
		if result := r.putter(l, d, text)(); !errors.Is(result.Err, errStreamGone) {
			t.Errorf("error %v", result.Err)
		}
	}
}

// A log that is not there although its delivery stream is may be on its way.
func TestLogComesLater(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.must(r.js.DeleteStream(t.Context(), logOf(d, 0).JetStream()))
	var group sync.WaitGroup
	var result putResult
	group.Go(func() { result = r.putter(l, d, "early")() })
	natstest.WaitFor(r.t, "it was tried", func() bool { return l.counts.Repeats.Load() > 2 })
	_, err := r.js.CreateStream(t.Context(), broker.LogConfig(logOf(d, 0), time.Hour, 1))
	r.must(err)
	group.Wait()
	r.checkStored(logOf(d, 0), [][]byte{[]byte("early")}, []putResult{result})
}

func TestStoreFull(t *testing.T) {
	t.Parallel()
	r := newPutRig(t, func(o *server.Options) { o.JetStreamMaxStore = 4 << 20 })
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	var stored []putResult
	var records [][]byte
	for i := 0; ; i++ {
		text := fmt.Sprintf("%0100000d", i)
		result := r.putter(l, d, text)()
		if result.Err == nil {
			stored, records = append(stored, result), append(records, []byte(text))
			continue
		}
		if !errors.Is(result.Err, errUnavailable) || !strings.Contains(result.Err.Error(), "insufficient resources") {
			t.Fatalf("error %v", result.Err)
		}
		break
	}
	if len(stored) < 30 {
		t.Errorf("only %d records of 100 KB fit into 4 MiB", len(stored))
	}
	r.checkStored(logOf(d, 0), records, stored)
	r.must(r.logStream(logOf(d, 0)).Purge(t.Context()))
	r.putOne(l, d, "there is room again")
}
