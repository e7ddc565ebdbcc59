package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/logtest"
	"hydrant/shared/natstest"
)

func (r *putRig) gate(storeBytes int64) *gate {
	return newGate(r.js, broker.Config{StoreBytes: storeBytes}, GateConfig{StoreRefusePercent: 85, StreamSharePercent: 50}, r.log)
}

// fill puts records of 100 KB until one is refused, and returns how many were not.
func (r *putRig) fill(l *putLog, d *catalog.DeliveryStream, most int) (stored int, refusal error) {
	for stored < most {
		text := rand.Text() + strings.Repeat("x", 100_000)
		if result := r.putter(l, d, text)(); result.Err != nil {
			return stored, result.Err
		}
		stored++
	}
	return stored, nil
}

// lookedAt is as if the store had been seen last, as it was, at that time.
func (g *gate) lookedAt(at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen = at
}

// Records are refused while the rest of the store still takes descriptors, and again accepted after a trim.
func TestGateKeepsTheStoreFromFillingUp(t *testing.T) {
	t.Parallel()
	const limit = 8 << 20
	r := newPutRig(t, func(o *server.Options) { o.JetStreamMaxStore = limit })
	g := r.gate(limit)
	l := r.putLog(r.server.URL(), func(l *putLog) { l.gate = g })
	r.must(g.look(t.Context()))
	one, two, three := r.stream("one", 1), r.stream("two", 1), r.stream("three", 1)

	// One stream takes half of the store, whether the gate looks meanwhile or not.
	if n, err := r.fill(l, one, 20); err != nil {
		t.Fatalf("refused after %d: %v", n, err)
	}
	r.must(g.look(t.Context()))
	n, err := r.fill(l, one, 100)
	if !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "delivery stream one holds") {
		t.Errorf("after %d more: %v", n, err)
	}
	if n < 15 || n > 21 {
		t.Errorf("%d records of 100 KB more fit into half of 8 MiB that had 20", n)
	}
	r.must(g.look(t.Context()))
	if _, err := r.fill(l, one, 1); err == nil {
		t.Error("the look made room")
	}

	// Others go on, up to 85 % of the store, in one burst between two looks, however long that takes.
	g.lookedAt(time.Now().Add(-time.Minute))
	n, err = r.fill(l, two, 100)
	if !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "% full") {
		t.Errorf("after %d of another stream: %v", n, err)
	}
	if n < 25 || n > 31 {
		t.Errorf("%d records of 100 KB more fit into 85 %% of 8 MiB that had 41", n)
	}
	if _, err := r.fill(l, three, 1); err == nil {
		t.Error("a third stream's record is accepted")
	}
	r.must(g.look(t.Context()))
	if f := g.figures(); f.Limit != limit || f.Used < limit*80/100 || f.Used > limit*86/100 {
		t.Errorf("figures %+v", f)
	}
	_, err = r.js.Publish(t.Context(), "batches.s3.one.0", []byte("a descriptor"))
	r.must(err)

	// The buffer trims what was delivered.
	r.must(r.logStream(logOf(one, 0)).Purge(t.Context()))
	r.must(g.look(t.Context()))
	for _, d := range []*catalog.DeliveryStream{one, three} {
		if _, err := r.fill(l, d, 5); err != nil {
			t.Errorf("stream %s after the trim: %v", d.Name, err)
		}
	}
}

func TestGateStates(t *testing.T) {
	const mb = 1 << 20
	d := &catalog.DeliveryStream{Name: "demo", ID: "id", Shards: 2}
	tests := map[string]struct {
		store    broker.Store
		admitted int64
		age      time.Duration
		stored   int64 // of the stream
		refused  string
	}{
		"empty":                       {store: broker.Store{Limit: 100 * mb}},
		"unknown limit":               {store: broker.Store{Used: 100 * mb}},
		"not quite full":              {store: broker.Store{Used: 83 * mb, Limit: 100 * mb}},
		"full":                        {store: broker.Store{Used: 85 * mb, Limit: 100 * mb}, refused: "the store is 85 % full"},
		"more than full":              {store: broker.Store{Used: 120 * mb, Limit: 100 * mb}, refused: "the store is 120 % full"},
		"full with what came since":   {store: broker.Store{Used: 60 * mb, Limit: 100 * mb}, admitted: 25 * mb, refused: "the store is 85 % full"},
		"long not seen":               {store: broker.Store{Used: 60 * mb, Limit: 100 * mb}, admitted: 20 * mb, age: time.Minute},
		"long not seen, full by then": {store: broker.Store{Used: 60 * mb, Limit: 100 * mb}, admitted: 25 * mb, age: time.Minute, refused: "the store is 85 % full: new records are refused from 85 % on (--store-refuse-percent); it could not be looked at for 1m0s"},
		"unsynced":                    {store: broker.Store{Limit: 100 * mb, Unsynced: true}, refused: "does not sync"},
		"unsynced, of unknown limit":  {store: broker.Store{Unsynced: true}, refused: "does not sync"},
		"half its share":              {store: broker.Store{Used: 60 * mb, Limit: 100 * mb}, stored: 25 * mb},
		"its share":                   {store: broker.Store{Used: 60 * mb, Limit: 100 * mb}, stored: 50 * mb, refused: "delivery stream demo holds 50 % of the store"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGate(nil, broker.Config{}, GateConfig{StoreRefusePercent: 85, StreamSharePercent: 50}, nil)
			g.store, g.admitted, g.seen = test.store, test.admitted, time.Now().Add(-test.age)
			g.share(d).stored = test.stored
			err := g.admit(d, mb)
			if test.refused == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if test.refused != "" && (!errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), test.refused)) {
				t.Errorf("error %v, want %q", err, test.refused)
			}
			added := g.admitted - test.admitted
			if (err == nil) != (added == mb+messageOverhead) {
				t.Errorf("%d bytes added, error %v", added, err)
			}
		})
	}
}

// TestGateTellsWhyItRefuses has a store that is not synced for a while, and one that is full.
func TestGateTellsWhyItRefuses(t *testing.T) {
	const mb = 1 << 20
	var log logtest.Lines
	g := newGate(nil, broker.Config{}, GateConfig{StoreRefusePercent: 85, StreamSharePercent: 50}, slog.New(slog.NewTextHandler(&log, nil)))
	var said lookState
	for _, c := range []struct {
		store broker.Store
		says  string // and no more
	}{
		{broker.Store{Limit: 100 * mb}, ""},
		{broker.Store{Limit: 100 * mb, Unsynced: true}, "does not sync writes"},
		{broker.Store{Limit: 100 * mb, Unsynced: true}, ""},
		{broker.Store{Limit: 100 * mb}, "accepted again"},
		{broker.Store{Used: 90 * mb, Limit: 100 * mb}, "almost full"},
	} {
		before := len(log.String())
		g.store = c.store
		said = g.report(said, nil)
		if got := log.String()[before:]; !strings.Contains(got, c.says) || (got == "") != (c.says == "") || strings.Count(got, "\n") > 1 {
			t.Errorf("of %+v it says %q", c.store, got)
		}
	}
}

// A server that was found not to sync is believed to sync again when one says so, and not because none answers.
func TestGateRefusesUntilItIsToldOtherwise(t *testing.T) {
	t.Parallel()
	r := newPutRig(t, func(o *server.Options) { o.SyncAlways = false })
	g := r.gate(8 << 20)
	for _, c := range []struct {
		monitor  string
		unsynced bool
	}{
		{r.server.MonitorURL(), true},
		{"http://127.0.0.1:1", true},
		{natstest.Start(t).MonitorURL(), false},
		{"http://127.0.0.1:1", false},
	} {
		g.broker.NATSMonitorURL = c.monitor
		r.must(g.look(t.Context()))
		if got := g.figures(); got.Unsynced != c.unsynced || got.Refusing != c.unsynced {
			t.Errorf("asked at %s: %+v", c.monitor, got)
		}
	}
}

// Streams that are idle are forgotten, but for those that are near their share.
func TestGateForgetsStreams(t *testing.T) {
	g := newGate(nil, broker.Config{}, GateConfig{StoreRefusePercent: 85, StreamSharePercent: 50}, nil)
	g.store = broker.Store{Used: 60, Limit: 100}
	g.streams["busy"] = &streamShare{touched: true}
	g.streams["idle"] = &streamShare{stored: 10}
	g.streams["large"] = &streamShare{stored: 40}
	if due := g.dueStreams(); len(due) != 2 || len(g.streams) != 2 || g.streams["idle"] != nil {
		t.Errorf("%d streams are looked at, %d known", len(due), len(g.streams))
	}
	g.store.Used = 20
	g.streams["busy"].touched = true
	if due := g.dueStreams(); len(due) != 0 {
		t.Errorf("%d streams are looked at in a store that holds less than half a share", len(due))
	}
}

func TestGateRuns(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	g := r.gate(1 << 30)
	r.run(func(ctx context.Context) { _ = g.Run(ctx) })
	natstest.WaitFor(r.t, "it has looked", func() bool { return g.figures().Limit == 1<<30 })
	l, d := r.putLog(r.server.URL(), func(l *putLog) { l.gate = g }), r.stream("demo", 1)
	used := g.figures().Used
	r.putOne(l, d, strings.Repeat("x", 10_000))
	if now := g.figures().Used; now < used+10_000 {
		t.Errorf("%d bytes used before the put, %d after it", used, now)
	}
	// While the store cannot be looked at, the figures stay.
	r.server.Stop()
	if f := g.figures(); f.Limit != 1<<30 {
		t.Errorf("figures %+v", f)
	}
	r.server.Restart()
}

func TestGateConfig(t *testing.T) {
	tests := map[string]struct {
		cfg  GateConfig
		want string
	}{
		"defaults":      {GateConfig{85, 50}, ""},
		"no reserve":    {GateConfig{100, 50}, "--store-refuse-percent (HYDRANT_STORE_REFUSE_PERCENT): 100 is not accepted; use 1 to 99"},
		"nothing":       {GateConfig{0, 50}, "--store-refuse-percent"},
		"no share":      {GateConfig{85, 0}, "--stream-share-percent (HYDRANT_STREAM_SHARE_PERCENT): 0 is not accepted; use 1 to 100"},
		"the whole":     {GateConfig{85, 100}, ""},
		"more than all": {GateConfig{85, 101}, "--stream-share-percent"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.cfg.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}
