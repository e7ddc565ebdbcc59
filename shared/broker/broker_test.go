package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

var quiet = slog.New(slog.DiscardHandler)

func config(s *natstest.Server) broker.Config {
	return broker.Config{NATSURL: s.URL(), NATSMonitorURL: s.MonitorURL(), Replicas: 1, Retention: 24 * time.Hour}
}

func connect(t *testing.T, cfg broker.Config, log *slog.Logger) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	conn, err := broker.Connect(cfg, t.Name(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return conn, js
}

func TestPrepareMakesTheTopology(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	cfg.Retention = time.Hour
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		subjects []string
		age      time.Duration
		direct   bool
	}{
		names.BatchesStream:              {[]string{names.AllBatches}, 2 * time.Hour, false},
		names.DeliveriesStream:           {names.DeliveriesSubjects(), 14 * 24 * time.Hour, true},
		names.StagingStream:              {[]string{names.AllStaging}, 0, true},
		names.ErrorsStream:               {[]string{names.AllErrors}, 14 * 24 * time.Hour, true},
		names.MetricsStream:              {[]string{names.AllMetrics}, 14 * 24 * time.Hour, true},
		"KV_" + names.CatalogBucket:      {[]string{"$KV.STREAMS.>"}, 0, true},
		"KV_" + names.MembersBucket:      {[]string{"$KV.MEMBERS.>"}, broker.MemberTTL, true},
		"KV_" + names.InstallationBucket: {[]string{"$KV.HYDRANT.>"}, 0, true},
		"KV_" + names.RetriesBucket:      {[]string{"$KV.RETRIES.>"}, 2 * time.Hour, false},
	} {
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := stream.CachedInfo().Config
		if !slices.Equal(got.Subjects, want.subjects) || got.MaxAge != want.age || got.AllowDirect != want.direct {
			t.Errorf("%s is on %v for %s, direct %t; want %+v", name, got.Subjects, got.MaxAge, got.AllowDirect, want)
		}
		if got.Storage != jetstream.FileStorage {
			t.Errorf("%s is not on disk", name)
		}
		if got.Duplicates > 100*time.Millisecond || !strings.HasPrefix(name, "KV_") && got.MaxConsumers < 10_000 {
			t.Errorf("%s has a duplicate window of %s and at most %d consumers", name, got.Duplicates, got.MaxConsumers)
		}
		if queue := got.Retention == jetstream.WorkQueuePolicy; queue != (name == names.StagingStream) {
			t.Errorf("%s has retention %s", name, got.Retention)
		}
	}
}

func TestPrepareIsIdempotent(t *testing.T) {
	s := natstest.Start(t)
	for _, c := range []struct {
		name      string
		retention time.Duration
		want      time.Duration
	}{
		{"first", time.Hour, 2 * time.Hour},
		{"again", time.Hour, 2 * time.Hour},
		{"longer", 5 * time.Hour, 6 * time.Hour},
		{"shorter: descriptors of older records are still needed", time.Hour, 6 * time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(s)
			cfg.Retention = c.retention
			_, js := connect(t, cfg, quiet)
			if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{names.BatchesStream, "KV_" + names.RetriesBucket} {
				stream, err := js.Stream(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				if got := stream.CachedInfo().Config.MaxAge; got != c.want {
					t.Errorf("%s keeps for %s, want %s", name, got, c.want)
				}
			}
		})
	}
}

// What the client takes for a bucket, it must be to the last.
func TestRetriesAreABucket(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), names.RetriesBucket)
	if err != nil {
		t.Fatal(err)
	}
	const key = "abcdefghij234567.es.0.1-9" // a batch's id
	first, err := kv.Create(t.Context(), key, []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), key, []byte("2")); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Errorf("made twice: %v", err)
	}
	if _, err := kv.Update(t.Context(), key, []byte("3"), first); err != nil {
		t.Error(err)
	}
	if _, err := kv.Update(t.Context(), key, []byte("4"), first); !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		t.Errorf("changed from what it is no more: %v", err)
	}
	entry, err := kv.Get(t.Context(), key)
	if err != nil || string(entry.Value()) != "3" {
		t.Errorf("read %+v, %v", entry, err)
	}
	if history, err := kv.History(t.Context(), key); err != nil || len(history) != 1 {
		t.Errorf("%d revisions are kept, %v", len(history), err)
	}
	if err := kv.Purge(t.Context(), key); err != nil {
		t.Error(err)
	}
}

// What tells of Hydrant itself is bounded, by what the store has room for; it is never the reason not to start.
func TestPrepareBoundsErrorsAndMetrics(t *testing.T) {
	for _, c := range []struct {
		name            string
		store           int64
		known           bool
		errors, metrics int64
	}{
		{"large store", 100 << 30, true, 1 << 30 / 1000, 1 << 30 / 350},
		{"small store", 2 << 30, true, 2 << 30 / 20 / 1000, 2 << 30 / 20 / 350},
		{"tiny store", 4 << 20, true, 10 << 20 / 1000, 10 << 20 / 350},
		{"store of unknown size", 1 << 30, false, 1 << 30 / 1000, 1 << 30 / 350},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := natstest.Start(t, func(o *server.Options) { o.JetStreamMaxStore = c.store })
			cfg := config(s)
			if !c.known {
				cfg.NATSMonitorURL = ""
			}
			_, js := connect(t, cfg, quiet)
			// As an earlier version left it.
			_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.ErrorsStream, Subjects: []string{names.AllErrors}, MaxAge: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]int64{names.ErrorsStream: c.errors, names.MetricsStream: c.metrics} {
				stream, err := js.Stream(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				got := stream.CachedInfo().Config
				if got.MaxMsgs != want || got.Discard != jetstream.DiscardOld || got.MaxAge != 14*24*time.Hour || got.MaxBytes > 0 {
					t.Errorf("%s is %+v, want %d messages", name, got, want)
				}
				if limited := got.MaxMsgsPerSubject > 0; limited != (name == names.ErrorsStream) {
					t.Errorf("%s keeps %d of a subject", name, got.MaxMsgsPerSubject)
				}
			}
		})
	}
}

// A bound that an operator set is not touched.
func TestPrepareKeepsAnotherBound(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.ErrorsStream, Subjects: []string{names.AllErrors}, MaxMsgs: 77, MaxMsgsPerSubject: 7, MaxBytes: 5 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), names.ErrorsStream)
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config; got.MaxMsgs != 77 || got.MaxMsgsPerSubject != 7 || got.MaxBytes != 5<<20 || got.MaxAge != 14*24*time.Hour {
		t.Errorf("it is now %+v", got)
	}
}

func TestPrepareRace(t *testing.T) {
	for range 5 {
		s := natstest.Start(t)
		var wg sync.WaitGroup
		for i := range 3 {
			cfg := config(s)
			cfg.Retention = time.Duration(i+1) * time.Hour // not even the settings have to be the same
			_, js := connect(t, cfg, quiet)
			wg.Go(func() {
				if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
					t.Errorf("replica %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if _, err := s.JetStream().KeyValue(t.Context(), names.CatalogBucket); err != nil {
			t.Error(err)
		}
	}
}

func TestPrepareWaitsForNATS(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	s.Stop()
	var log logtest.Lines
	_, js := connect(t, cfg, slog.New(slog.NewTextHandler(&log, nil)))
	prepared := make(chan error, 1)
	go func() {
		prepared <- broker.Prepare(t.Context(), js, cfg, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	natstest.WaitFor(t, "it says that it waits", func() bool { return strings.Contains(log.String(), "waiting for") })
	s.Restart()
	if err := <-prepared; err != nil {
		t.Error(err)
	}

	s.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { prepared <- broker.Prepare(ctx, js, cfg, quiet) }()
	cancel()
	if err := <-prepared; !errors.Is(err, context.Canceled) {
		t.Errorf("when told to stop waiting: %v", err)
	}
}

func TestPrepareRefusesWhatWaitingDoesNotChange(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	cfg.Replicas = 3 // of a server that is alone
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err == nil || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("error is %v", err)
	}
}

// What was refused while NATS was away is not stored when it is back.
func TestNoReconnectBuffer(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	conn, js := connect(t, cfg, quiet)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	natstest.WaitFor(t, "the client knows", func() bool { return !conn.IsConnected() })
	for range 10 {
		if err := conn.Publish("s", []byte("refused")); err == nil {
			t.Error("a publish was taken while there is no NATS")
		}
		if _, err := js.Publish(t.Context(), "s", []byte("refused")); err == nil {
			t.Error("a publish was acknowledged while there is no NATS")
		}
	}
	s.Restart()
	natstest.WaitFor(t, "stored", func() bool {
		_, err := js.Publish(t.Context(), "s", []byte("accepted"))
		return err == nil
	})
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "refused" {
			t.Errorf("message %d was refused and is stored", seq)
		}
	}
}

// A process whose credentials NATS refuses for a while works again when they are right.
func TestRefusedCredentialsAreTriedAgain(t *testing.T) {
	password := func(p string) func(*server.Options) {
		return func(o *server.Options) { o.Username, o.Password = "u", p }
	}
	s := natstest.Start(t, password("other"))
	cfg := config(s)
	cfg.NATSURL = strings.Replace(s.URL(), "://", "://u:hunter2@", 1)
	var log logtest.Lines
	conn, _ := connect(t, cfg, slog.New(slog.NewTextHandler(&log, nil)))
	refusals := func() int { return strings.Count(strings.ToLower(log.String()), "authorization violation") }
	natstest.WaitFor(t, "the refusal is logged", func() bool { return refusals() > 0 })
	if conn.IsClosed() {
		t.Fatal("the connection gave up")
	}
	s.Restart(password("hunter2"))
	natstest.WaitFor(t, "connected", conn.IsConnected)
	s.Restart(password("other"))
	natstest.WaitFor(t, "refused again", func() bool { return refusals() > 1 || conn.IsClosed() })
	s.Restart(password("hunter2"))
	natstest.WaitFor(t, "connected again", func() bool { return conn.IsConnected() || conn.IsClosed() })
	if conn.IsClosed() {
		t.Error("the connection gave up")
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log has the password:\n%s", log.String())
	}
}

func TestInstallationIDRace(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	if _, err := broker.InstallationID(t.Context(), js); err == nil {
		t.Error("there is an id before there is an installation")
	}
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ids := make(chan string, 8)
	for range cap(ids) {
		_, js := connect(t, cfg, quiet)
		wg.Go(func() {
			id, err := broker.InstallationID(t.Context(), js)
			if err != nil {
				t.Error(err)
			}
			ids <- id
		})
	}
	wg.Wait()
	first := <-ids
	for len(ids) > 0 {
		if id := <-ids; id != first || id == "" {
			t.Errorf("ids are %q and %q", first, id)
		}
	}
	s.Restart()
	natstest.WaitFor(t, "the id is read after a restart", func() bool {
		id, err := broker.InstallationID(t.Context(), js)
		if err == nil && id != first {
			t.Fatalf("the id is %q, was %q", id, first)
		}
		return err == nil
	})
}

func TestLogConfig(t *testing.T) {
	js := natstest.Start(t).JetStream()
	for _, c := range []struct {
		name              string
		retention, window time.Duration
	}{
		{"a day", 24 * time.Hour, 2 * time.Minute},
		{"seconds", 3 * time.Second, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := names.Log{Stream: names.Stream("web." + strings.ReplaceAll(c.name, " ", "-")), Shard: 1, ID: names.NewStreamID()}
			stream, err := js.CreateStream(t.Context(), broker.LogConfig(log, c.retention, 1))
			if err != nil {
				t.Fatal(err)
			}
			got := stream.CachedInfo().Config
			if got.Name != log.JetStream() || got.MaxAge != c.retention || got.Duplicates != c.window || !got.AllowAtomicPublish || !got.AllowDirect {
				t.Errorf("the log is %+v", got)
			}
			if got.Discard != jetstream.DiscardNew || got.MaxConsumers < 10_000 || got.Storage != jetstream.FileStorage {
				t.Errorf("the log is %+v", got)
			}
			// A publish of a process that knows another incarnation is refused.
			other := log
			other.ID = names.NewStreamID()
			_, err = js.Publish(t.Context(), log.Subject(), nil, jetstream.WithExpectStream(other.JetStream()))
			var api *jetstream.APIError
			if !errors.As(err, &api) || api.ErrorCode != 10060 {
				t.Errorf("a publish to another incarnation gives %v", err)
			}
			if _, err := js.Publish(t.Context(), log.Subject(), nil, jetstream.WithExpectStream(log.JetStream())); err != nil {
				t.Error(err)
			}
		})
	}
}
