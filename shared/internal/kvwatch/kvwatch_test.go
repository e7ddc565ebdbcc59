package kvwatch_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/internal/kvwatch"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

func bucket(t *testing.T, conn *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "TEST"})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func put(t *testing.T, kv jetstream.KeyValue, key string) {
	t.Helper()
	if _, err := kv.Put(t.Context(), key, nil); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, conn *nats.Conn, kv jetstream.KeyValue) *kvwatch.Watch {
	t.Helper()
	w, err := kvwatch.Start(t.Context(), conn, kv, "a.>")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// next returns the key of the next entry, "-" before that of a deletion, "" for the end of what was there at the start
// and "closed" for the end of the watch.
func next(t *testing.T, w *kvwatch.Watch) string {
	t.Helper()
	select {
	case e, open := <-w.Updates():
		switch {
		case !open:
			return "closed"
		case e == nil:
			return ""
		case e.Operation() != jetstream.KeyValuePut:
			return "-" + e.Key()
		}
		return e.Key()
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
		return ""
	}
}

func want(t *testing.T, w *kvwatch.Watch, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if got := next(t, w); got != key {
			t.Fatalf("got %q, want %q", got, key)
		}
	}
}

func TestWatch(t *testing.T) {
	conn := natstest.Start(t).Conn()
	kv := bucket(t, conn)
	put(t, kv, "a.1")
	put(t, kv, "b.1")
	put(t, kv, "a.2")
	put(t, kv, "a.1")
	if err := kv.Delete(t.Context(), "a.2"); err != nil {
		t.Fatal(err)
	}
	w := start(t, conn, kv)
	defer w.Stop()
	want(t, w, "a.1", "-a.2", "")
	put(t, kv, "a.3")
	put(t, kv, "b.2")
	put(t, kv, "a.1")
	want(t, w, "a.3", "a.1")
}

func TestEmpty(t *testing.T) {
	conn := natstest.Start(t).Conn()
	kv := bucket(t, conn)
	w := start(t, conn, kv)
	defer w.Stop()
	want(t, w, "")
	put(t, kv, "a.1")
	want(t, w, "a.1")
}

// A watch that is stopped with more in hand than anybody took leaves nothing behind.
func TestStopWithManyInHand(t *testing.T) {
	conn := natstest.Start(t).Conn()
	kv := bucket(t, conn)
	for i := range 600 {
		put(t, kv, fmt.Sprintf("a.%d", i))
	}
	leaks := goleak.IgnoreCurrent()
	received := conn.Stats().InMsgs + 600
	w := start(t, conn, kv)
	want(t, w, "a.0")
	natstest.WaitFor(t, "the client has it all", func() bool { return conn.Stats().InMsgs >= received })
	w.Stop()
	if err := goleak.Find(leaks); err != nil {
		t.Error(err)
	}
}

func TestContextEndsTheWatch(t *testing.T) {
	conn := natstest.Start(t).Conn()
	kv := bucket(t, conn)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := kvwatch.Start(ctx, conn, kv, "a.>")
	if err != nil {
		t.Fatal(err)
	}
	want(t, w, "")
	cancel()
	want(t, w, "closed")
	w.Stop()
	if _, err := kvwatch.Start(ctx, conn, kv, "a.>"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// A new connection ends the watch: what the old one would still have seen is not certain.
func TestReconnectEndsTheWatch(t *testing.T) {
	s := natstest.Start(t)
	conn := s.Conn()
	kv := bucket(t, conn)
	w := start(t, conn, kv)
	want(t, w, "")
	s.Restart()
	want(t, w, "closed")
	w.Stop()
	natstest.WaitFor(t, "another watch can be made", func() bool {
		w, err := kvwatch.Start(t.Context(), conn, kv, "a.>")
		if err != nil {
			return false
		}
		w.Stop()
		return true
	})
}

func TestConnectionThatIsClosed(t *testing.T) {
	s := natstest.Start(t)
	conn := s.Conn()
	kv := bucket(t, conn)
	w := start(t, conn, kv)
	want(t, w, "")
	conn.Close()
	want(t, w, "closed")
	w.Stop()
	if _, err := kvwatch.Start(t.Context(), conn, kv, "a.>"); err == nil {
		t.Error("a watch on a closed connection is no error")
	}
}

// JetStream's answer may be lost: the client alone would wait for it for ever.
func TestAnswerThatIsLost(t *testing.T) {
	s := natstest.Start(t)
	proxy := s.Proxy()
	conn, err := nats.Connect(proxy.URL(), nats.PingInterval(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kv := bucket(t, conn)
	proxy.Stall()
	if _, err := kvwatch.Start(t.Context(), conn, kv, "a.>"); err == nil {
		t.Error("no error")
	}
	proxy.Resume()
	w := start(t, conn, kv)
	want(t, w, "")
	w.Stop()
}

func TestStopOfAServerThatHangs(t *testing.T) {
	s := natstest.Start(t)
	proxy := s.Proxy()
	conn, err := nats.Connect(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := start(t, conn, bucket(t, conn))
	want(t, w, "")
	proxy.Stall()
	w.Stop()
}
