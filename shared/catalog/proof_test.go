package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/format"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// A proof is of all that was written before, leaves no document, and is told to nobody.
func TestProve(t *testing.T) {
	t.Parallel()
	_, js := prepared(t)
	c := opened(t, js)
	told := make(chan names.Stream, 100)
	v, _ := follow(t, c, quiet, func(name names.Stream) { told <- name })
	for _, name := range []names.Stream{"one", "two", "three"} {
		asked := time.Now()
		create(t, c, document(name))
		if err := v.Prove(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v.Get(name) == nil || v.FreshAsOf().Before(asked) {
			t.Errorf("the view is without %s", name)
		}
		if got := <-told; got != name {
			t.Errorf("told of %q", got)
		}
	}
	if len(told) != 0 || len(v.All()) != 3 {
		t.Errorf("told of %d more; the view has %v", len(told), v.All())
	}
	bucket, err := c.stream.Info(t.Context())
	if err != nil || bucket.State.Msgs != 4 {
		t.Errorf("the bucket has %+v, %v", bucket, err)
	}
	again, _ := follow(t, c, quiet, nil) // a view that begins with a mark
	natstest.WaitFor(t, "it is fresh", func() bool { return again.Freshen(t.Context()) == nil })
	if len(again.All()) != 3 {
		t.Errorf("it has %v", again.All())
	}
}

// What is read by proof is what is there.
func TestReadProved(t *testing.T) {
	t.Parallel()
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("one"))
	if _, err := c.kv.Put(t.Context(), "newer", fmt.Appendf(nil, `{"format":%d,"name":"newer"}`, Format+1)); err != nil {
		t.Fatal(err)
	}
	if d, err := c.ReadProved(t.Context(), "one", quiet); err != nil || d.Name != "one" {
		t.Errorf("it is %+v, %v", d, err)
	}
	if d, err := c.ReadProved(t.Context(), "two", quiet); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not there is %+v, %v", d, err)
	}
	if d, err := c.ReadProved(t.Context(), "newer", quiet); !errors.Is(err, format.ErrNewer) {
		t.Errorf("what is newer is %+v, %v", d, err)
	}
}

// A store that is full takes no mark, and is said to be full once. Then a look has to do.
func TestProveInAFullStore(t *testing.T) {
	t.Parallel()
	s, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("one"))
	var log logtest.Lines
	v, _ := follow(t, c, slog.New(slog.NewTextHandler(&log, nil)), nil)
	natstest.WaitFor(t, "the view is read", func() bool { return v.Get("one") != nil })
	told := func() int { return strings.Count(log.String(), "the store is full") }
	for n := range 2 {
		s.LimitAccount(1)
		if err := v.Prove(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("the proof ends with %v", err)
		}
		for range 2 {
			if err := v.ProveUnlessFull(t.Context()); err != nil || told() != n+1 {
				t.Errorf("told %d times, %v", told(), err)
			}
		}
		s.LimitAccount(-1)
		if err := v.ProveUnlessFull(t.Context()); err != nil {
			t.Error(err)
		}
	}
	s.Stop()
	if err := v.ProveUnlessFull(t.Context()); err == nil {
		t.Error("proved by nobody")
	}
}

func TestProveWithoutAServer(t *testing.T) {
	t.Parallel()
	s, js := prepared(t)
	v, _ := follow(t, opened(t, js), quiet, nil)
	natstest.WaitFor(t, "the view is read", func() bool { return v.Ready() == nil })
	s.Stop()
	if err := v.Prove(t.Context()); err == nil {
		t.Error("proved by nobody")
	}
}

// clustered is a view by way of one server of a cluster, which is then cut off from the two others, and the catalog by way of those.
type clustered struct {
	links  *natstest.Links
	alone  *natstest.Server
	view   *View
	others *Catalog
}

// cutOff has the document "kept" in the catalog, and cuts off a server that leads it, or one that follows.
func cutOff(t *testing.T, leads bool) *clustered {
	t.Helper()
	c := together(t, leads)
	c.links.Cut(c.alone.Name())
	return c
}

// together is cutOff before the cut.
func together(t *testing.T, leads bool) *clustered {
	t.Helper()
	c, links := natstest.StartLinkedCluster(t, 3)
	natstest.WaitFor(t, "the catalog is there", func() bool {
		return broker.Prepare(t.Context(), c.JetStream(), broker.Config{NATSURL: c.URL(), Replicas: 3, Retention: time.Hour, AllowUnsynced: true}, quiet) == nil
	})
	first := opened(t, c.JetStream())
	create(t, first, document("kept"))
	info, err := first.stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[bool][]*natstest.Server{}
	for _, s := range c.Servers {
		is := s.Name() == info.Cluster.Leader
		all[is] = append(all[is], s)
	}
	here := &clustered{links: links, alone: all[leads][0]}
	here.view, _ = follow(t, opened(t, here.alone.JetStream()), quiet, nil)
	natstest.WaitFor(t, "the view has the document", func() bool {
		return here.view.Prove(t.Context()) == nil && here.view.Get("kept") != nil
	})
	other := all[!leads]
	here.others = opened(t, other[len(other)-1].JetStream())
	return here
}

// change stores what the server that is cut off cannot know.
func (c *clustered) change(t *testing.T) {
	t.Helper()
	natstest.WaitFor(t, "the others store a change", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := c.others.Update(ctx, "kept", func(d *DeliveryStream) error { d.Version = 2; return nil })
		return err == nil
	})
}

func (c *clustered) knows(t *testing.T, version int) {
	t.Helper()
	if d := c.view.Get("kept"); d == nil || d.Version != version {
		t.Errorf("the view has %+v, want version %d", d, version)
	}
}

// A server that leads the catalog and is cut off answers looks for some seconds more, at what is not so any longer. It cannot prove.
func TestLeaderThatIsCutOff(t *testing.T) {
	t.Parallel()
	c := cutOff(t, true)
	c.change(t)
	c.knows(t, 1)
	if err := c.view.Prove(t.Context()); err == nil {
		t.Error("proved by a server that is alone")
	}
	if d, err := c.view.catalog.ReadProved(t.Context(), "kept", quiet); err == nil {
		t.Errorf("proved by a server that is alone: %+v", d)
	}
	c.links.Heal()
	natstest.WaitFor(t, "there is a proof", func() bool { return c.view.Prove(t.Context()) == nil })
	c.knows(t, 2)
	if d, err := c.view.catalog.ReadProved(t.Context(), "kept", quiet); err != nil || d.Version != 2 {
		t.Errorf("it is %+v, %v", d, err)
	}
}

// A server that follows, and is cut off, answers looks when it has found that it has no leader: with what it has, for as long as
// that lasts.
func TestFollowerThatIsCutOff(t *testing.T) {
	t.Parallel()
	c := cutOff(t, false)
	c.change(t)
	natstest.WaitFor(t, "the server answers without a leader", func() bool {
		info, err := c.view.catalog.stream.Info(t.Context())
		return err == nil && info.Cluster.Leader == ""
	})
	c.knows(t, 1)
	if err := c.view.Freshen(t.Context()); !errors.Is(err, broker.ErrLeaderless) {
		t.Errorf("fresh by the word of a server that is alone: %v", err)
	}
	free := c.free(t)
	natstest.WaitFor(t, "the view is fresh by way of another server", func() bool {
		d := free.Get("kept")
		return free.Freshen(t.Context()) == nil && d != nil && d.Version == 2
	})
	c.links.Heal()
	natstest.WaitFor(t, "there is a leader", func() bool { return c.view.Prove(t.Context()) == nil })
	c.knows(t, 2)
}

// free is a view that knows of other servers, as services do, and goes to one of them.
func (c *clustered) free(t *testing.T) *View {
	t.Helper()
	conn, err := nats.Connect(c.alone.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := follow(t, opened(t, js), quiet, nil)
	return v
}

// A server that hears the others, and is not heard by them, believes that all is well. It is left all the same.
func TestServerThatIsNotHeard(t *testing.T) {
	t.Parallel()
	c := together(t, false)
	free := c.free(t)
	natstest.WaitFor(t, "the view is fresh", func() bool { return free.Freshen(t.Context()) == nil })
	c.links.CutWays(func(from, _ string) bool { return from == c.alone.Name() })
	c.change(t)
	natstest.WaitFor(t, "the view is fresh by way of another server", func() bool {
		d := free.Get("kept")
		return free.Freshen(t.Context()) == nil && d != nil && d.Version == 2
	})
	c.links.Heal()
}

// Of a mark that is stored late, or under another name of the bucket's stream, nothing is proved.
func TestProveExpectsTheBucket(t *testing.T) {
	t.Parallel()
	_, js := prepared(t)
	c := opened(t, js)
	v, _ := follow(t, c, quiet, nil)
	if err := js.DeleteStream(t.Context(), broker.CatalogStream); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"$KV." + names.CatalogBucket + ".>"}}); err != nil {
		t.Fatal(err)
	}
	if err := v.Prove(t.Context()); err == nil {
		t.Error("proved by another stream")
	}
}
