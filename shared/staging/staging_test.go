package staging

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
	"hydrant/shared/natstest"
)

func TestCollect(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("web.clicks")
	other := i.stream("other")
	i.announce(other, 0)
	ids := i.announce(d, numbers(0, 5)...)
	q := i.open(d, ages)
	objects := q.collect(1, many())
	i.wantBatches("collected", objects, ids)
	for n, o := range objects {
		if want := staged(d, n, 100); o.Delivery != want || o.Attempt != 1 {
			t.Errorf("the object is %+v at attempt %d, want %+v", o.Delivery, o.Attempt, want)
		}
	}
	i.must(q.Held(objects...))
	i.must(q.Acknowledge(t.Context(), objects[:2]...))
	if n := i.waiting(); n != 4 {
		t.Errorf("%d wait, want three and that of another delivery stream", n)
	}
	if err := q.Held(objects[0]); !errors.Is(err, ErrNotHeld) {
		t.Errorf("what is acknowledged is held: %v", err)
	}
	i.must(q.Acknowledge(t.Context(), objects...)) // which repeats some
	if n := i.waiting(); n != 1 {
		t.Errorf("%d wait, want that of another delivery stream", n)
	}
}

func TestCollectWaits(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	q := i.open(d, ages)
	collected := q.collecting(many())
	natstest.WaitFor(t, "it waits", func() bool { return q.pulls() == 1 })
	ids := i.announce(d, 0)
	i.wantBatches("collected", <-collected, ids)
}

// Pulls that end without an object are followed by others.
func TestCollectWaitsOn(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	q := i.open(d, soon)
	collected := q.collecting(many())
	seen := map[uint64]bool{}
	natstest.WaitFor(t, "several pulls are over", func() bool {
		seen[q.Queue.js.Conn().Stats().OutMsgs] = true
		return len(seen) > 5
	})
	ids := i.announce(d, 0)
	i.wantBatches("collected", <-collected, ids)
}

func TestCollectWithinBounds(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	ids := i.announce(d, numbers(0, 10)...)
	q := i.open(d, ages)
	for _, c := range []struct {
		name string
		most Bound
		want []batch.ID
	}{
		{"objects", Bound{Objects: 3}, ids[:3]},
		{"bytes", Bound{Objects: 100, Bytes: 250}, ids[3:5]},
		{"the very bytes", Bound{Objects: 100, Bytes: 300}, ids[5:8]},
		{"one object whatever its size", Bound{Objects: 100, Bytes: 1}, ids[8:9]},
		{"one object whatever the bound", Bound{}, ids[9:]},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := *i
			i.T = t
			objects := q.collect(1, c.most)
			i.wantBatches("collected", objects, c.want)
			i.must(q.Held(objects...))
		})
	}
	q.Close()
	i.wantBatches("after it closed", i.open(d, ages).collect(10, many()), ids)
}

func TestHandBack(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	ids := i.announce(d, numbers(0, 3)...)
	q := i.open(d, ages)
	objects := q.collect(3, many())
	q.HandBack(time.Hour, objects[0])
	q.HandBack(0, objects[1])
	q.HandBack(0, objects[1]) // it is not held any more
	again := q.collect(1, many())
	i.wantBatches("handed back", again, ids[1:2])
	if again[0].Attempt != 2 {
		t.Errorf("attempt %d, want 2", again[0].Attempt)
	}
	if err := q.Held(objects[1]); !errors.Is(err, ErrNotHeld) {
		t.Errorf("what was handed back is held as before: %v", err)
	}
	i.must(q.Held(objects[2], again[0]))
	next := i.announce(d, 3)
	i.wantBatches("later", q.collect(1, many()), next)
	if n := i.waiting(); n != 4 {
		t.Errorf("%d are left", n)
	}
}

// What is announced twice is one object while it is held, and leaves with all its announcements.
func TestAnnouncedTwice(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	ids := i.announce(d, 0, 1, 0)[:2]
	q := i.open(d, ages)
	objects := q.collect(1, many())
	i.wantBatches("collected", objects, ids)
	i.announce(d, 0)
	third := i.announce(d, 2)
	i.wantBatches("collected while it is held", q.collect(1, many()), third)
	i.must(q.Acknowledge(t.Context(), objects...))
	if n := i.waiting(); n != 1 {
		t.Errorf("%d wait, want that of the third", n)
	}
	i.announce(d, 0)
	again := q.collect(1, many())
	i.wantBatches("announced once more", again, ids[:1])
	q.HandBack(0, again...)
	i.wantBatches("handed back", q.collect(1, many()), ids[:1])
}

// What nobody can read keeps nobody from the rest, and is not thrown away: a newer version may have written it.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	for _, data := range []string{`{"format":2,"batch":"b"}`, `hello`, `{"format":1,"stream_id":"x","batch":"b","location":"https://host/x"}`} {
		i.publish(d, []byte(data))
	}
	ids := i.announce(d, 0)
	q := i.open(d, ages)
	objects := q.collect(1, many())
	i.wantBatches("collected", objects, ids)
	i.must(q.Acknowledge(t.Context(), objects...))
	if n := i.waiting(); n != 3 {
		t.Errorf("%d are left, want 3", n)
	}
}

// What could not be read is looked at again after its rest: whoever has the turn by then may be able to.
func TestUnreadableIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.rest = 10 * time.Millisecond
	d := i.stream("a")
	i.publish(d, []byte(`{"format":2,"batch":"b"}`))
	q := i.open(d, ages)
	q.collecting(many())
	natstest.WaitFor(t, "it is handed out three times", func() bool { return q.info().Delivered.Consumer >= 3 })
	if n := i.waiting(); n != 1 {
		t.Errorf("%d are left, want 1", n)
	}
}

// Who gives up waiting is handed nothing any more. JetStream may give it the turn all the same, which is another's after the
// ack wait.
func TestCollectEnds(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	q := i.open(d, soon)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := q.Collect(ctx, many())
		ended <- err
	}()
	natstest.WaitFor(t, "it waits", func() bool { return q.pulls() == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	ids := i.announce(d, 0)
	objects := i.open(d, soon).collect(1, many())
	i.wantBatches("collected by another", objects, ids)
	if objects[0].Attempt != 1 {
		t.Errorf("attempt %d: it went to who had given up before", objects[0].Attempt)
	}
}

func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	q := i.open(d, ages)
	i.announce(d, 0)
	held := q.collect(1, many())
	ended := make(chan error)
	go func() {
		_, err := q.Collect(t.Context(), many())
		ended <- err
	}()
	natstest.WaitFor(t, "it waits", func() bool { return q.pulls() == 1 })
	i.must(i.js.DeleteConsumer(t.Context(), "STAGING", q.consumer))
	if err := <-ended; !errors.Is(err, ErrLost) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := q.Collect(t.Context(), many()); !errors.Is(err, ErrLost) {
		t.Errorf("asked again: %v", err)
	}
	if err := q.Acknowledge(t.Context(), held...); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("acknowledged: %v", err)
	}
}
