package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/shared/format"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// follow runs a view until the test ends, or until the returned function is called.
func follow(t *testing.T, c *Catalog, log *slog.Logger, changed func(names.Stream)) (*View, func()) {
	t.Helper()
	v := NewView(c, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx, changed) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return v, stop
}

var quiet = slog.New(slog.DiscardHandler)

func TestViewFollows(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("before"))
	changes := make(chan names.Stream, 100)
	v, _ := follow(t, c, quiet, func(name names.Stream) { changes <- name })
	next := func(want names.Stream) {
		t.Helper()
		select {
		case got := <-changes:
			if got != want {
				t.Errorf("told of %q, want %q", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("not told of %q", want)
		}
	}
	next("before")
	if v.Get("before") == nil || len(v.All()) != 1 {
		t.Errorf("the view has %v", v.All())
	}
	create(t, c, document("web.clicks"))
	next("web.clicks")
	if d := v.Get("web.clicks"); d == nil || d.Version != 1 {
		t.Errorf("the view has %+v", d)
	}
	if _, err := c.Update(t.Context(), "web.clicks", func(d *DeliveryStream) error { d.Version = 2; return nil }); err != nil {
		t.Fatal(err)
	}
	next("web.clicks")
	if d := v.Get("web.clicks"); d == nil || d.Version != 2 {
		t.Errorf("the view has %+v", d)
	}
	if err := c.Remove(t.Context(), "web.clicks", document("").ID); err != nil {
		t.Fatal(err)
	}
	next("web.clicks")
	if d := v.Get("web.clicks"); d != nil {
		t.Errorf("the view has %+v", d)
	}
	create(t, c, document("web.clicks"))
	next("web.clicks")
	if v.Get("web.clicks") == nil || len(v.All()) != 2 {
		t.Errorf("the view has %v", v.All())
	}
}

// What was written before Freshen was called is in the view when it returns.
func TestFreshenWaits(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("before"))
	// Nobody follows yet, so there is nothing that could be fresh.
	still := NewView(c, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error)
	go func() { returned <- still.Freshen(ctx) }()
	cancel()
	if err := <-returned; !errors.Is(err, context.Canceled) {
		t.Errorf("a view that follows nothing is fresh: %v", err)
	}
	if !still.FreshAsOf().IsZero() || still.Ready() == nil {
		t.Errorf("it is fresh as of %s, ready: %v", still.FreshAsOf(), still.Ready())
	}

	v, _ := follow(t, c, quiet, nil)
	for i := range 100 {
		name := names.Stream(fmt.Sprintf("s%d", i))
		before := time.Now()
		create(t, c, document(name))
		written := time.Now()
		if err := v.Freshen(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v.Get(name) == nil || v.Get("before") == nil {
			t.Fatalf("the view is without %q", name)
		}
		if at := v.FreshAsOf(); at.Before(written) || at.Before(before) {
			t.Fatalf("fresh as of %s, was asked after %s", at, written)
		}
	}
	if err := v.Ready(); err != nil {
		t.Error(err)
	}
}

// A view that gets nothing from its watch does not say that it is fresh.
func TestFreshenGivesUp(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("a"))
	if err := NewView(c, quiet).Freshen(t.Context()); !errors.Is(err, errBehind) {
		t.Errorf("error is %v", err)
	}
}

func TestViewSurvivesRestart(t *testing.T) {
	s, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("kept"))
	create(t, c, document("removed"))
	v, _ := follow(t, c, quiet, nil)
	natstest.WaitFor(t, "the view is read", func() bool { return v.Get("kept") != nil && v.Get("removed") != nil })
	for round := range 2 {
		s.Stop()
		if err := v.Freshen(t.Context()); err == nil {
			t.Error("the view is fresh while there is no NATS")
		}
		if v.Get("kept") == nil {
			t.Error("the view forgot while there is no NATS")
		}
		s.Restart()
		// Others are back first, and change things while the view does not see it.
		other := opened(t, s.JetStream())
		name := names.Stream(fmt.Sprintf("new%d", round))
		create(t, other, document(name))
		if _, err := other.Update(t.Context(), "kept", func(d *DeliveryStream) error { d.Version++; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := other.Remove(t.Context(), "removed", document("").ID); err != nil {
			t.Fatal(err)
		}
		natstest.WaitFor(t, "the view caught up", func() bool {
			kept := v.Get("kept")
			return v.Get(name) != nil && kept.Version == 2+round && v.Get("removed") == nil
		})
		natstest.WaitFor(t, "the view is fresh", func() bool { return v.Freshen(t.Context()) == nil })
	}
}

// A view whose watch gets nothing any more makes another.
func TestViewReplacesADeadWatch(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("before"))
	v, _ := follow(t, c, quiet, nil)
	natstest.WaitFor(t, "the view is read", func() bool { return v.Get("before") != nil })
	stream, err := js.Stream(t.Context(), "KV_"+names.CatalogBucket)
	if err != nil {
		t.Fatal(err)
	}
	watches := stream.ConsumerNames(t.Context())
	for name := range watches.Name() {
		if err := stream.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if err := watches.Err(); err != nil {
		t.Fatal(err)
	}
	create(t, c, document("after"))
	natstest.WaitFor(t, "the view has what came after", func() bool { return v.Get("after") != nil })
}

func TestNewerFormatIsLeftOut(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	put := func(name names.Stream, data string) {
		t.Helper()
		if _, err := c.kv.Put(t.Context(), name.Key(), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	create(t, c, document("ours"))
	put("newer", `{"format":5,"name":"newer"}`)
	put("broken", `no JSON`)
	var log logtest.Lines
	v, _ := follow(t, c, slog.New(slog.NewTextHandler(&log, nil)), nil)
	fresh := func() {
		t.Helper()
		natstest.WaitFor(t, "the view is fresh", func() bool { return v.Freshen(t.Context()) == nil })
	}
	fresh()
	if all := v.All(); len(all) != 1 || all["ours"] == nil {
		t.Errorf("the view has %v", all)
	}
	if err := v.Unreadable("newer"); !errors.Is(err, format.ErrNewer) {
		t.Errorf("the newer document gives %v", err)
	}
	if v.Unreadable("broken") == nil || v.Unreadable("ours") != nil || v.Unreadable("absent") != nil {
		t.Errorf("unreadable are: broken %v, ours %v, absent %v", v.Unreadable("broken"), v.Unreadable("ours"), v.Unreadable("absent"))
	}
	for _, want := range []string{"level=ERROR", "stream=newer", "stream=broken", "format 5", "upgrade"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log is without %q:\n%s", want, log.String())
		}
	}

	// An update by a newer version takes a delivery stream out; going back brings it in again.
	put("ours", `{"format":5,"name":"ours"}`)
	fresh()
	if v.Get("ours") != nil || !errors.Is(v.Unreadable("ours"), format.ErrNewer) {
		t.Errorf("the view has %+v, unreadable: %v", v.Get("ours"), v.Unreadable("ours"))
	}
	data, err := encode(document("ours"))
	if err != nil {
		t.Fatal(err)
	}
	put("ours", string(data))
	if err := c.kv.Delete(t.Context(), "newer"); err != nil {
		t.Fatal(err)
	}
	fresh()
	if v.Get("ours") == nil || v.Unreadable("ours") != nil || v.Unreadable("newer") != nil {
		t.Errorf("the view has %+v, unreadable: %v, %v", v.Get("ours"), v.Unreadable("ours"), v.Unreadable("newer"))
	}
}

// A view that ends in the middle of what it has received leaves no goroutine behind.
func TestViewEndsWhileReading(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := range 60 { // together more than the client's buffer of 256
				create(t, c, document(names.Stream(fmt.Sprintf("s%d-%d", worker, i))))
			}
		})
	}
	wg.Wait()
	leaks := goleak.IgnoreCurrent()
	v := NewView(c, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	received := js.Conn().Stats().InMsgs + 600
	v.Run(ctx, func(names.Stream) {
		natstest.WaitFor(t, "the client has it all", func() bool { return js.Conn().Stats().InMsgs >= received })
		cancel()
	})
	if err := goleak.Find(leaks); err != nil {
		t.Error(err)
	}
}

// The whole catalog is read, however long that takes, when it is more than the watch's buffer.
func TestViewReadsMany(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	const n = 400
	for i := range n {
		if _, err := js.PublishAsync("$KV."+names.CatalogBucket+"."+fmt.Sprintf("s%d", i), encoded(t, names.Stream(fmt.Sprintf("s%d", i)))); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(60 * time.Second):
		t.Fatal("not written")
	}
	changed := 0
	v, stop := follow(t, c, quiet, func(names.Stream) { changed++ })
	natstest.WaitFor(t, "the view is fresh", func() bool { return v.Freshen(t.Context()) == nil })
	if len(v.All()) != n {
		t.Errorf("the view has %d, want %d", len(v.All()), n)
	}
	stop()
	if changed != n {
		t.Errorf("told of %d changes, want %d", changed, n)
	}
}

func encoded(t *testing.T, name names.Stream) []byte {
	t.Helper()
	data, err := encode(document(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
