package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// prepared returns a server with the installation's topology, and a client of it.
func prepared(t *testing.T) (*natstest.Server, jetstream.JetStream) {
	t.Helper()
	s := natstest.Start(t)
	js := s.JetStream()
	cfg := broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: 24 * time.Hour}
	if err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return s, js
}

func opened(t *testing.T, js jetstream.JetStream) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func create(t *testing.T, c *Catalog, d *DeliveryStream) {
	t.Helper()
	if err := c.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestOpenNeedsTheBucket(t *testing.T) {
	js := natstest.Start(t).JetStream()
	if _, err := Open(t.Context(), js); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("error is %v", err)
	}
}

func TestCreateAndRead(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	for _, name := range []names.Stream{"plain", "web.clicks", ".", "..", "-", "_", "a..b", "A"} {
		t.Run(string(name), func(t *testing.T) {
			want := document(name)
			create(t, c, want)
			got, err := c.Read(t.Context(), name)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("read %+v, %v, want %+v", got, err, want)
			}
			if err := c.Create(t.Context(), document(name)); !errors.Is(err, ErrExists) {
				t.Errorf("creating it again gives %v", err)
			}
		})
	}
	for _, name := range []names.Stream{"absent", "plain.", "no such name", ""} {
		if d, err := c.Read(t.Context(), name); !errors.Is(err, ErrNotFound) || d != nil {
			t.Errorf("reading %q gives %+v, %v", name, d, err)
		}
	}
}

// Of many that create the same delivery stream one does; after a removal as well.
func TestCreateRace(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	for round := range 3 {
		var wg sync.WaitGroup
		created := make(chan names.StreamID, 8)
		for range cap(created) {
			wg.Go(func() {
				d := document("raced")
				d.ID = names.NewStreamID()
				switch err := c.Create(t.Context(), d); {
				case err == nil:
					created <- d.ID
				case !errors.Is(err, ErrExists):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if len(created) != 1 {
			t.Fatalf("round %d: %d were told that they created it", round, len(created))
		}
		id := <-created
		if d, err := c.Read(t.Context(), "raced"); err != nil || d.ID != id {
			t.Errorf("round %d: stored is %+v, %v, want id %s", round, d, err, id)
		}
		if err := c.Remove(t.Context(), "raced", id); err != nil {
			t.Fatal(err)
		}
	}
}

// Two that change the same document never lose each other's change.
func TestUpdateRace(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("raced"))
	const each = 30
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := range each {
				_, err := c.Update(t.Context(), "raced", func(d *DeliveryStream) error {
					d.Replace(destination(fmt.Sprintf("%d-%d", i, n)), time.Now())
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	d, err := c.Read(t.Context(), "raced")
	if err != nil {
		t.Fatal(err)
	}
	if d.Version != 1+2*each || len(d.Previous) != 2*each {
		t.Errorf("version %d with %d previous, want %d with %d", d.Version, len(d.Previous), 1+2*each, 2*each)
	}
}

func TestUpdateStartsOverOnWhatTheOtherWrote(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("a"))
	calls := 0
	got, err := c.Update(t.Context(), "a", func(d *DeliveryStream) error {
		calls++
		if calls == 1 { // somebody else is faster
			if _, err := c.Update(t.Context(), "a", func(d *DeliveryStream) error { d.Shards = 7; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		d.Version = 9
		return nil
	})
	if err != nil || calls != 2 || got.Shards != 7 || got.Version != 9 {
		t.Errorf("after %d calls: %+v, %v", calls, got, err)
	}
}

func TestUpdateErrors(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("a"))
	refused := errors.New("refused")
	if _, err := c.Update(t.Context(), "a", func(d *DeliveryStream) error { d.Version = 9; return refused }); !errors.Is(err, refused) {
		t.Errorf("error is %v", err)
	}
	if d, err := c.Read(t.Context(), "a"); err != nil || d.Version != 1 {
		t.Errorf("stored is %+v, %v", d, err)
	}
	_, err := c.Update(t.Context(), "absent", func(*DeliveryStream) error { t.Error("called"); return nil })
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("updating what is not there gives %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Update(ctx, "a", func(*DeliveryStream) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func TestRemove(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	create(t, c, document("a"))
	if err := c.Remove(t.Context(), "a", "anotherid"); err != nil {
		t.Errorf("removing another incarnation gives %v", err)
	}
	if d, err := c.Read(t.Context(), "a"); err != nil || d.ID != "abcdefghij234567" {
		t.Fatalf("after removing another incarnation: %+v, %v", d, err)
	}
	for range 2 { // the second time it is gone already
		if err := c.Remove(t.Context(), "a", "abcdefghij234567"); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("after the removal: %v", err)
		}
	}
	if err := c.Remove(t.Context(), "never", "x"); err != nil {
		t.Error(err)
	}
}

// A removal that read the document before somebody changed it removes nothing, and its caller tries again.
func TestRemoveRace(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	for range 20 {
		d := document("raced")
		d.ID = names.NewStreamID()
		create(t, c, d)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := c.Update(t.Context(), "raced", func(d *DeliveryStream) error { d.Shards++; return nil })
			if err != nil && !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := c.Remove(t.Context(), "raced", d.ID); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if err := c.Remove(t.Context(), "raced", d.ID); err != nil {
			t.Error(err)
		}
		if got, err := c.Read(t.Context(), "raced"); !errors.Is(err, ErrNotFound) {
			t.Fatalf("left is %+v, %v", got, err)
		}
	}
}

func TestReadRefusesNewerFormat(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	if _, err := c.kv.Put(t.Context(), names.Stream("a.b").Key(), []byte(`{"format":5,"name":"a.b"}`)); err != nil {
		t.Fatal(err)
	}
	if d, err := c.Read(t.Context(), "a.b"); !errors.Is(err, format.ErrNewer) || d != nil {
		t.Errorf("read %+v, %v", d, err)
	}
	if _, err := c.Update(t.Context(), "a.b", func(*DeliveryStream) error { t.Error("called"); return nil }); !errors.Is(err, format.ErrNewer) {
		t.Errorf("an update gives %v", err)
	}
	if err := c.Remove(t.Context(), "a.b", "x"); !errors.Is(err, format.ErrNewer) {
		t.Errorf("a removal gives %v", err)
	}
}

// A member that a newer version wrote in a document of a format that is known is not lost by being passed over.
func TestUpdateKeepsWhatItDoesNotKnow(t *testing.T) {
	_, js := prepared(t)
	c := opened(t, js)
	for _, data := range []string{
		`{"format":2,"name":"a.b","status":"ACTIVE","colour":"green"}`,
		`{"format":2,"name":"a.b","status":"ACTIVE","destination":{"s3":{"BucketARN":"arn:aws:s3:::b","Colour":"green"}}}`,
	} {
		if _, err := c.kv.Put(t.Context(), names.Stream("a.b").Key(), []byte(data)); err != nil {
			t.Fatal(err)
		}
		if d, err := c.Read(t.Context(), "a.b"); err != nil || d.Status != "ACTIVE" {
			t.Errorf("read %+v, %v", d, err)
		}
		_, err := c.Update(t.Context(), "a.b", func(*DeliveryStream) error { t.Error("called"); return nil })
		if !errors.Is(err, format.ErrNewer) || !strings.Contains(strings.ToLower(err.Error()), "colour") {
			t.Errorf("an update gives %v", err)
		}
		if entry, err := c.kv.Get(t.Context(), names.Stream("a.b").Key()); err != nil || string(entry.Value()) != data {
			t.Errorf("stored is %s, %v", entry.Value(), err)
		}
	}
}

// Buckets with replicas answer a lost race with a code of their own.
func TestWrongSequenceCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"one replica", fmt.Errorf("nats: %w", &jetstream.APIError{Code: 400, ErrorCode: 10071}), true},
		{"several replicas", fmt.Errorf("nats: %w", &jetstream.APIError{Code: 400, ErrorCode: 10164}), true},
		{"another answer", fmt.Errorf("nats: %w", &jetstream.APIError{Code: 503, ErrorCode: 10077}), false},
		{"no answer", context.DeadlineExceeded, false},
		{"none", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := isWrongSequence(c.err); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}
