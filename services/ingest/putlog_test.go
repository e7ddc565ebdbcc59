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

	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

func TestPut(t *testing.T) {
	t.Parallel()
	tests := map[string][][]byte{
		"one record":        recordsOf(100),
		"an empty record":   recordsOf(0),
		"some":              recordsOf(1, 2, 0, 3, 3, 3),
		"a batch of 500 KB": recordsOf(slices.Repeat([]int{1000}, 500)...),
		"one of each part":  recordsOf(slices.Repeat([]int{record.MaxRecordBytes}, 4)...),
		"4 MiB":             recordsOf(slices.Repeat([]int{8388}, 500)...),
	}
	r := newPutRig(t)
	l := r.putLog(r.server.URL())
	for name, records := range tests {
		t.Run(name, func(t *testing.T) {
			d := r.stream(names.Stream(strings.ReplaceAll(name, " ", ".")), 1)
			results := r.put(l, d, callerOf("inv", records...), records...)
			r.checkStored(logOf(d, 0), records, results)
			for i, result := range results[1:] {
				if before := results[i].ID; result.ID.Sequence < before.Sequence || result.ID.Sequence == before.Sequence && result.ID.Index != before.Index+1 {
					t.Errorf("%s comes after %s", result.ID, before)
				}
			}
			// A retry, by another replica after a restart of NATS, is told the same and stores nothing.
			messages := len(r.contents(logOf(d, 0)))
			retry := callerOf("inv", records...)
			retry.Attempt = 2
			if again := r.put(r.putLog(r.server.URL()), d, retry, records...); !slices.Equal(again, results) {
				t.Errorf("the retry is told %v, the first try %v", again, results)
			}
			if n := len(r.contents(logOf(d, 0))); n != messages {
				t.Errorf("%d messages after the retry, %d before", n, messages)
			}
		})
	}
}

func TestPutWithoutRecords(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	if results := r.put(r.putLog(r.server.URL()), r.stream("demo", 1), callerOf("inv")); len(results) != 0 {
		t.Errorf("results %v", results)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("a.b", 1)
	records := recordsOf(3, 3, 5)
	c := callerOf("inv", records...)
	r.put(l, d, c, records...)
	m := r.contents(logOf(d, 0))[0]
	want := map[string]string{
		"Hydrant-Lengths":      "2*3,5",
		"Nats-Msg-Id":          messageID(d.ID, c, 0),
		"Nats-Expected-Stream": "RECORDS_a~b_0_" + string(d.ID),
		"Nats-Batch-Id":        "",
	}
	for header, value := range want {
		if got := m.Header.Get(header); got != value {
			t.Errorf("%s: %q, want %q", header, got, value)
		}
	}
	if m.Subject != "records.a~b.0" {
		t.Errorf("subject %s", m.Subject)
	}
}

func TestOrderOfAProducerThatWaits(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	var want []string
	for i := range 100 {
		text := fmt.Sprint(i)
		if i%10 == 0 {
			text += strings.Repeat(" ", largeMessage)
		}
		want = append(want, text)
		r.putOne(l, d, text)
	}
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, want) {
		t.Error("the log has the records in another order")
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 4)
	used := map[names.Shard]bool{}
	for i := range 64 {
		text := fmt.Sprint(i)
		id := r.putOne(l, d, text)
		used[id.Shard] = true
		r.checkStored(logOf(d, int(id.Shard)), [][]byte{[]byte(text)}, []putResult{{ID: id}})
	}
	if len(used) != 4 {
		t.Errorf("%d shards used, want 4", len(used))
	}
}

// What was refused before it was sent is never sent.
func TestRefusedWhileWaiting(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url()), r.stream("demo", 1)
	ctx, giveUp := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	r.together(l, p, d, func() {
		giveUp()
		if err := <-refused; !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "nothing of it was sent") {
			t.Errorf("error %v", err)
		}
	}, r.putter(l, d, "waits"), func() putResult {
		results := l.put(ctx, d, callerOf("refused"), dataOf([]byte("refused")))
		if results.inUse {
			t.Error("what was never sent is in use")
		}
		refused <- results.err
		return results.list()[0]
	}, r.putter(l, d, "waits, too"))
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"first", "waits", "waits, too"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	d := r.stream("demo", 1)
	conn, err := broker.Connect(broker.Config{NATSURL: p.url()}, "ingest", r.log)
	r.must(err)
	t.Cleanup(conn.Close)
	l := newPutLog(conn, r.view, newGate(r.js, broker.Config{}, GateConfig{}, r.log), r.log)
	if result := r.putter(l, d, "early")(); !errors.Is(result.Err, errUnavailable) {
		t.Errorf("before Run, a put has error %v", result.Err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	natstest.WaitFor(r.t, "it runs", l.takes)
	results := r.together(l, p, d, func() {
		stop()
		natstest.WaitFor(r.t, "what waits is refused", func() bool { return l.counts.Waiting.Load() == 0 })
	}, r.putters(l, d, "waits", 3)...)
	for _, result := range results[:3] {
		if !errors.Is(result.Err, errUnavailable) {
			t.Errorf("what waited has error %v", result.Err)
		}
	}
	r.must(results[3].Err)
	r.must(<-ended)
	if result := r.putter(l, d, "late")(); !errors.Is(result.Err, errUnavailable) {
		t.Errorf("after Run, a put has error %v", result.Err)
	}
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"first"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestIdleCommittersEnd(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	d := r.stream("demo", 4)
	l := r.putLog(r.server.URL(), func(l *putLog) { l.idle = time.Microsecond })
	var group sync.WaitGroup
	for producer := range 8 {
		group.Go(func() {
			for i := range 50 {
				if result := r.putter(l, d, fmt.Sprint(producer, "/", i))(); result.Err != nil {
					t.Error(result.Err)
				}
			}
		})
	}
	group.Wait()
	natstest.WaitFor(r.t, "all committers end", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.committers) == 0
	})
	r.putOne(l, d, "one more")
}
