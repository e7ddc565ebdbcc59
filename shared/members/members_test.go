package members

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

var quiet = slog.New(slog.DiscardHandler)

func prepared(t *testing.T) *natstest.Server {
	t.Helper()
	s := natstest.Start(t)
	cfg := broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: time.Hour}
	if err := broker.Prepare(t.Context(), s.JetStream(), cfg, quiet); err != nil {
		t.Fatal(err)
	}
	return s
}

// replica is a member with a connection of its own.
type replica struct {
	*Group
	js      jetstream.JetStream
	changes chan struct{}
	stop    func()
}

func join(t *testing.T, s *natstest.Server, service string) *replica {
	t.Helper()
	js := s.JetStream()
	r := &replica{Group: NewGroup(js, service, quiet), js: js, changes: make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx, func() { r.changes <- struct{}{} }) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	return r
}

func knowEachOther(t *testing.T, replicas ...*replica) {
	t.Helper()
	natstest.WaitFor(t, fmt.Sprintf("%d replicas know each other", len(replicas)), func() bool {
		for _, r := range replicas {
			if len(r.live()) != len(replicas)-1 {
				return false
			}
		}
		return true
	})
}

const keys = 1000

// owners returns who owns each of many keys, and fails where that is not exactly one.
func owners(t *testing.T, replicas ...*replica) map[string]*replica {
	t.Helper()
	owner := map[string]*replica{}
	for i := range keys {
		key := fmt.Sprintf("stream-%d/s3/0", i)
		for _, r := range replicas {
			if !r.Owns(key) {
				continue
			}
			if owner[key] != nil {
				t.Errorf("%s is owned twice", key)
			}
			owner[key] = r
		}
		if owner[key] == nil {
			t.Errorf("%s is owned by nobody", key)
		}
	}
	return owner
}

func TestAloneOwnsEverything(t *testing.T) {
	g := NewGroup(nil, "buffer", quiet)
	for i := range keys {
		if !g.Owns(fmt.Sprint(i)) {
			t.Fatalf("%d is owned by nobody", i)
		}
	}
}

func TestShareAndTakeOver(t *testing.T) {
	s := prepared(t)
	a, b, c := join(t, s, "buffer"), join(t, s, "buffer"), join(t, s, "buffer")
	join(t, s, "another") // is none of theirs
	knowEachOther(t, a, b, c)
	before := owners(t, a, b, c)
	share := map[*replica]int{}
	for _, r := range before {
		share[r]++
	}
	for _, r := range []*replica{a, b, c} {
		if n := share[r]; n < keys*20/100 || n > keys*47/100 {
			t.Errorf("of %d keys one replica owns %d", keys, n)
		}
		if len(r.changes) == 0 {
			t.Error("a replica was not told of the others")
		}
	}

	drain(b.changes)
	c.stop()
	knowEachOther(t, a, b)
	after := owners(t, a, b)
	for key, was := range before {
		if was != c && after[key] != was {
			t.Errorf("%s moved, and its owner is still there", key)
		}
	}
	natstest.WaitFor(t, "told of the end of a replica", func() bool { return len(b.changes) > 0 })

	d := join(t, s, "buffer")
	knowEachOther(t, a, b, d)
	for key, now := range owners(t, a, b, d) {
		if now != d && after[key] != now {
			t.Errorf("%s moved to a replica that was there before", key)
		}
	}
}

func drain(changes chan struct{}) {
	for len(changes) > 0 {
		<-changes
	}
}

// A replica that dies says nothing; the others find out when its time to live is over.
func TestTakeOverFromTheDead(t *testing.T) {
	s := prepared(t)
	a, b := join(t, s, "buffer"), join(t, s, "buffer")
	knowEachOther(t, a, b)
	drain(a.changes)
	b.js.Conn().Close()
	natstest.WaitFor(t, "the dead one is forgotten", func() bool { return len(a.live()) == 0 })
	owners(t, a)
	natstest.WaitFor(t, "told of it", func() bool { return len(a.changes) > 0 })
}

func TestRestartOfNATS(t *testing.T) {
	s := prepared(t)
	a, b, c := join(t, s, "buffer"), join(t, s, "buffer"), join(t, s, "buffer")
	knowEachOther(t, a, b, c)
	s.Restart()
	drain(a.changes)
	drain(b.changes)
	drain(c.changes)
	// What shows that they hear each other again is one that comes and one that goes.
	d := join(t, s, "buffer")
	knowEachOther(t, a, b, c, d)
	c.stop()
	knowEachOther(t, a, b, d)
	owners(t, a, b, d)
}

// A service that ends while NATS is away does not wait for it.
func TestEndWithoutNATS(t *testing.T) {
	s := prepared(t)
	a := join(t, s, "buffer")
	natstest.WaitFor(t, "it is a member", func() bool {
		kv, err := a.js.KeyValue(t.Context(), "MEMBERS")
		if err != nil {
			return false
		}
		_, err = kv.Get(t.Context(), "buffer."+a.self)
		return err == nil
	})
	s.Stop()
	a.stop()
}

type entry struct {
	jetstream.KeyValueEntry
	key     string
	created time.Time
	op      jetstream.KeyValueOp
}

func (e entry) Key() string                     { return e.key }
func (e entry) Created() time.Time              { return e.created }
func (e entry) Operation() jetstream.KeyValueOp { return e.op }

func TestHear(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name  string
		known bool // what was there at the start is known already
		entry entry
		want  bool // live afterwards
	}{
		{"a new beat", true, entry{created: now}, true},
		{"a beat found at the start", false, entry{created: now.Add(-time.Second)}, true},
		{"an old beat found at the start", false, entry{created: now.Add(-broker.MemberTTL)}, false},
		{"a beat, this clock goes an hour ahead", true, entry{created: now.Add(-time.Hour)}, true},
		{"a beat, this clock goes an hour behind", true, entry{created: now.Add(time.Hour)}, true},
		{"found at the start, this clock goes behind", false, entry{created: now.Add(time.Hour)}, true},
		{"an end", true, entry{created: now, op: jetstream.KeyValueDelete}, false},
		{"an end found at the start", false, entry{created: now, op: jetstream.KeyValueDelete}, false},
		{"a time to live that is over", true, entry{created: now, op: jetstream.KeyValuePurge}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := NewGroup(nil, "buffer", quiet)
			c.entry.key = "buffer.other"
			g.hear(c.entry, c.known)
			if live := g.live(); (len(live) == 1) != c.want {
				t.Errorf("live are %v", live)
			}
		})
	}
}

func TestRankIsEven(t *testing.T) {
	// Keys and members that differ in their last characters only are where a weak hash shows.
	share := [3]int{}
	for i := range keys {
		best, owner := uint64(0), 0
		for m := range share {
			if r := rank(fmt.Sprintf("aaaaaaaaaaaa%d", i), fmt.Sprintf("member%d", m)); r > best {
				best, owner = r, m
			}
		}
		share[owner]++
	}
	for m, n := range share {
		if n < keys*20/100 || n > keys*47/100 {
			t.Errorf("of %d keys member %d owns %d", keys, m, n)
		}
	}
}
