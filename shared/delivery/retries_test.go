package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// anID is a batch's, of nobody.
const anID batch.ID = "abcdefghij234567.es.0.1-9"

func (i *installation) retries() *retries { i.t.Helper(); return i.retriesOn(i.js) }

func (i *installation) retriesOn(js jetstream.JetStream) *retries {
	i.t.Helper()
	r, err := openRetries(i.t.Context(), js)
	if err != nil {
		i.t.Fatal(err)
	}
	return r
}

// kept reads what is kept of a batch.
func (i *installation) kept(r *retries, id batch.ID) kept {
	i.t.Helper()
	k, err := r.read(i.t.Context(), id)
	if err != nil {
		i.t.Fatal(err)
	}
	return k
}

func (i *installation) put(id batch.ID, value string) {
	i.t.Helper()
	kv, err := i.js.KeyValue(i.t.Context(), names.RetriesBucket)
	if err != nil {
		i.t.Fatal(err)
	}
	if _, err := kv.Put(i.t.Context(), string(id), []byte(value)); err != nil {
		i.t.Fatal(err)
	}
}

func TestRetryGolden(t *testing.T) {
	first := retry{Stream: "web.clicks", Attempts: 1}
	later := retry{Stream: "web.clicks", FirstFailure: time.Date(2026, 2, 25, 13, 4, 5, 678_901_234, time.UTC), Attempts: 7, Progress: []byte("\x00\xffprogress")}
	for _, c := range []struct {
		file string
		r    retry
	}{{"retry_first.json", first}, {"retry.json", later}} {
		t.Run(c.file, func(t *testing.T) {
			data, err := c.r.encode()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", c.file)
			data = append(data, '\n')
			if *update {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(data, want) {
				t.Errorf("the stored form is %s, want %s, %v", data, want, err)
			}
			back, err := decodeRetry(want)
			if err != nil || !back.FirstFailure.Equal(c.r.FirstFailure) || back.Attempts != c.r.Attempts || back.Stream != c.r.Stream || !bytes.Equal(back.Progress, c.r.Progress) {
				t.Errorf("read back as %+v, %v", back, err)
			}
		})
	}
}

func FuzzDecodeRetry(f *testing.F) {
	f.Add([]byte(`{"format":1,"first_failure":"2026-02-25T13:04:05Z","attempts":2,"progress":"AAE="}`))
	f.Add([]byte(`{"format":1,"stream":"web.clicks","attempts":2}`))
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{"format":2,"attempts":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeRetry(data)
		if err != nil {
			if e.Attempts != 0 || !e.FirstFailure.IsZero() || e.Progress != nil {
				t.Errorf("%v, and yet %+v", err, e)
			}
			return
		}
		again, err := e.encode()
		if err != nil {
			t.Skip("a time that JSON cannot hold")
		}
		back, err := decodeRetry(again)
		if err != nil || back.Attempts != e.Attempts || !back.FirstFailure.Equal(e.FirstFailure) || !bytes.Equal(back.Progress, e.Progress) {
			t.Errorf("%+v was written %s and read as %+v, %v", e, again, back, err)
		}
	})
}

// The clock begins when JetStream stores the first failure, and stands wherever it is read and whatever is written after.
func TestFirstFailureNeverMoves(t *testing.T) {
	t.Parallel()
	i := install(t)
	r := i.retries()
	if k := i.kept(r, anID); k.revision != 0 || !k.FirstFailure.IsZero() {
		t.Errorf("before a failure there is %+v", k)
	}
	if err := r.write(t.Context(), anID, kept{}, retry{Attempts: 1, Progress: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	first := i.kept(r, anID)
	stored, err := r.kv.Get(t.Context(), string(anID))
	if err != nil || first.FirstFailure.IsZero() || !first.FirstFailure.Equal(stored.Created()) {
		t.Fatalf("the first failure is %+v, stored at %v, %v", first, stored.Created(), err)
	}
	before := first
	for attempt := 2; attempt < 6; attempt++ {
		if err := r.write(t.Context(), anID, before, retry{Attempts: attempt, Progress: []byte{byte(attempt)}}); err != nil {
			t.Fatal(err)
		}
		before = i.kept(i.retriesOn(i.server.JetStream()), anID) // another replica
		if !before.FirstFailure.Equal(first.FirstFailure) || before.Attempts != attempt || before.Progress[0] != byte(attempt) {
			t.Errorf("after attempt %d there is %+v", attempt, before)
		}
	}
	i.server.Restart()
	natstest.WaitFor(t, "the test is connected", i.js.Conn().IsConnected)
	var again kept
	natstest.WaitFor(t, "the bucket is read", func() bool { again, err = r.read(t.Context(), anID); return err == nil })
	if !again.FirstFailure.Equal(first.FirstFailure) || again.Attempts != 5 {
		t.Errorf("after a restart of NATS there is %+v", again)
	}
}

// Who began before another attempt was written down changes nothing: not the clock, and not the newer progress.
func TestLateWriterChangesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		meanwhile func(r *retries, began kept) error
		entry     bool // there was one when the late one began
	}{
		{"it began at the first attempt, and another failed", func(r *retries, began kept) error {
			return r.write(context.Background(), anID, began, retry{Attempts: 2, Progress: []byte("newer")})
		}, false},
		{"it began later, and another failed", func(r *retries, began kept) error {
			return r.write(context.Background(), anID, began, retry{Attempts: 3, Progress: []byte("newer")})
		}, true},
		{"the batch has its outcome", func(r *retries, _ kept) error { return r.remove(context.Background(), anID) }, true},
		{"the batch has its outcome, after another failed", func(r *retries, began kept) error {
			err := r.write(context.Background(), anID, began, retry{Attempts: 3, Progress: []byte("newer")})
			return errors.Join(err, r.remove(context.Background(), anID))
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			r := i.retries()
			if c.entry {
				if err := r.write(t.Context(), anID, kept{}, retry{Attempts: 1, Progress: []byte("old")}); err != nil {
					t.Fatal(err)
				}
			}
			began := i.kept(r, anID)
			if err := c.meanwhile(i.retriesOn(i.server.JetStream()), began); err != nil {
				t.Fatal(err)
			}
			want := i.kept(r, anID)
			for range 2 { // it may repeat what it has to say
				if err := r.write(t.Context(), anID, began, retry{Attempts: 2, Progress: []byte("late")}); !errors.Is(err, errOvertaken) {
					t.Errorf("the late one is told %v", err)
				}
			}
			got := i.kept(r, anID)
			if got.revision != want.revision || !got.FirstFailure.Equal(want.FirstFailure) || string(got.Progress) != string(want.Progress) {
				t.Errorf("there is %+v, want %+v", got, want)
			}
		})
	}
}

// A write whose answer is lost is in the bucket; a repeat changes nothing, and neither does one of the removal.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	i := install(t)
	conn := loseAnswers(t, i.server)
	js, err := jetstream.New(conn.Conn)
	if err != nil {
		t.Fatal(err)
	}
	r := i.retriesOn(js)
	lost := func(write func(ctx context.Context) error) {
		t.Helper()
		conn.lose()
		defer conn.pass()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := write(ctx); err == nil || errors.Is(err, errOvertaken) {
			t.Errorf("a write without an answer gives %v", err)
		}
	}
	sure := i.retries()
	for attempt := 1; attempt < 3; attempt++ {
		before := i.kept(sure, anID)
		next := retry{Attempts: attempt, Progress: []byte{byte(attempt)}}
		lost(func(ctx context.Context) error { return r.write(ctx, anID, before, next) })
		var stored kept
		natstest.WaitFor(t, "it is stored all the same", func() bool { stored = i.kept(sure, anID); return stored.revision != before.revision })
		if stored.Attempts != attempt || attempt > 1 && !stored.FirstFailure.Equal(before.FirstFailure) {
			t.Errorf("there is %+v", stored)
		}
		if err := sure.write(t.Context(), anID, before, next); !errors.Is(err, errOvertaken) {
			t.Errorf("the repeat is told %v", err)
		}
		if got := i.kept(sure, anID); got.revision != stored.revision {
			t.Errorf("after a repeat there is %+v", got)
		}
	}
	lost(func(ctx context.Context) error { return r.remove(ctx, anID) })
	natstest.WaitFor(t, "it is removed all the same", func() bool { return i.kept(sure, anID).revision == 0 })
	for range 2 {
		if err := sure.remove(t.Context(), anID); err != nil {
			t.Errorf("the repeat of a removal: %v", err)
		}
	}
	if n := i.keptNow(); n != 0 {
		t.Errorf("%d messages are left in the bucket", n)
	}
}

// keptNow is how many messages the bucket has, markers too.
func (i *installation) keptNow() uint64 {
	i.t.Helper()
	s, err := i.js.Stream(i.t.Context(), "KV_"+names.RetriesBucket)
	if err != nil {
		i.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func TestDamagedEntry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value string }{
		{"empty", ""},
		{"no JSON", "hello"},
		{"of no attempt", `{"format":1}`},
		{"of too many", `{"format":1,"attempts":4611686018427387904}`},
		{"a time that is none", `{"format":1,"attempts":1,"first_failure":"yesterday"}`},
		{"progress that is none", `{"format":1,"attempts":1,"progress":"???"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			i.put(anID, c.value)
			r := i.retries()
			damaged := i.kept(r, anID)
			if damaged.damaged == nil || damaged.FirstFailure.IsZero() || damaged.revision == 0 {
				t.Fatalf("read as %+v", damaged)
			}
			if err := r.write(t.Context(), anID, damaged, retry{Attempts: 1}); err != nil {
				t.Fatal(err)
			}
			if got := i.kept(r, anID); got.damaged != nil || !got.FirstFailure.Equal(damaged.FirstFailure) {
				t.Errorf("the entry in its place is %+v, want the time %s", got, damaged.FirstFailure)
			}
		})
	}
}

// A first failure that is yet to come, by a hand or a clock, is when the entry was stored.
func TestFirstFailureIsNotInTheFuture(t *testing.T) {
	t.Parallel()
	i := install(t)
	data, err := json.Marshal(retry{Format: 1, Attempts: 2, FirstFailure: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	i.put(anID, string(data))
	if k := i.kept(i.retries(), anID); k.damaged != nil || k.Attempts != 2 || time.Until(k.FirstFailure) > time.Hour {
		t.Errorf("read as %+v", k)
	}
}

func TestNewerRetryIsRefused(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.put(anID, `{"format":2,"attempts":{"a":1}}`)
	if k, err := i.retries().read(t.Context(), anID); !errors.Is(err, format.ErrNewer) || k.revision != 0 || !strings.Contains(err.Error(), "RETRIES") {
		t.Errorf("read as %+v, %v", k, err)
	}
}

// lossy is a connection of which the answers can get lost: the server gets what is sent.
type lossy struct {
	*nats.Conn
	*dropper
}

func loseAnswers(t *testing.T, s *natstest.Server) lossy {
	t.Helper()
	d := new(dropper)
	conn, err := nats.Connect(s.URL(), nats.SetCustomDialer(d), nats.ReconnectBufSize(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.pass(); conn.Close() })
	return lossy{conn, d}
}
