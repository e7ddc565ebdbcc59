package replicas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// installation has what services make when they start, a log, and a consumer of a sink.
func installation(t *testing.T, js jetstream.JetStream, cfg broker.Config) names.Log {
	t.Helper()
	if err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	log := names.Log{Stream: "demo", ID: names.NewStreamID()}
	if err := broker.CreateLog(t.Context(), js, broker.LogConfig(log, time.Hour, 1)); err != nil {
		t.Fatal(err)
	}
	_, err := js.CreateOrUpdateConsumer(t.Context(), names.BatchesStream, jetstream.ConsumerConfig{
		Durable: names.SinkConsumer(names.LegS3, log.Stream, log.ID), AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// counts returns how many replicas NATS itself says that each stream and consumer has.
func counts(t *testing.T, js jetstream.JetStream) map[string]int {
	t.Helper()
	all := map[string]int{}
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		all[info.Config.Name] = 1 + len(info.Cluster.Replicas)
		stream, err := js.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := stream.ListConsumers(t.Context())
		for c := range consumers.Info() {
			all[c.Stream+" > "+c.Name] = 1 + len(c.Cluster.Replicas)
		}
	}
	if err := list.Err(); err != nil || len(all) < 11 {
		t.Fatalf("%v, %v", all, err)
	}
	return all
}

// mustHave waits, since a server that has just given a stream up may be the one that answers for it in a listing.
func mustHave(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	natstest.WaitFor(t, fmt.Sprintf("everything has %d replicas", replicas), func() bool {
		for name, n := range counts(t, js) {
			if n != replicas {
				t.Logf("%s has %d replicas", name, n)
				return false
			}
		}
		return true
	})
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t, 3)
	js := cluster.JetStream()
	cfg := broker.Config{NATSURL: cluster.URL(), NATSMonitorURL: cluster.MonitorURL(), Replicas: 1, Retention: time.Hour}
	log := installation(t, js, cfg)
	if _, err := js.Publish(t.Context(), log.Subject(), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	mustHave(t, js, 1)

	// One that is killed after its first step has decided for what is made from then on.
	if err := begin(t.Context(), js, 3); err != nil {
		t.Fatal(err)
	}
	later := names.Log{Stream: "later", ID: names.NewStreamID()}
	if err := broker.CreateLog(t.Context(), js, broker.LogConfig(later, time.Hour, 1)); err != nil {
		t.Fatal(err)
	}
	if have := counts(t, js); have[later.JetStream()] != 3 || have[log.JetStream()] != 1 {
		t.Errorf("half-way there are %v", have)
	}
	if shown := run(t, cfg, 0); !strings.Contains(shown, "replicas of the installation: 3") || !strings.Contains(shown, "another number: "+log.JetStream()) {
		t.Errorf("half-way it shows\n%s", shown)
	}

	for _, n := range []int{3, 3, 1, 3} {
		if said := run(t, cfg, n); !strings.HasSuffix(said, " all current\n") {
			t.Errorf("to %d it said\n%s", n, said)
		}
		mustHave(t, js, n)
		stream, err := js.Stream(t.Context(), log.JetStream())
		if err != nil || stream.CachedInfo().State.Msgs != 1 {
			t.Errorf("with %d replicas the log is %+v, %v", n, stream, err)
		}
	}
}

// A service that starts takes nothing away, whatever its setting, and finishes for its own streams what was begun.
func TestServicesKeepTheNumber(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t, 3)
	js := cluster.JetStream()
	cfg := broker.Config{NATSURL: cluster.URL(), NATSMonitorURL: cluster.MonitorURL(), Replicas: 3, Retention: time.Hour}
	installation(t, js, cfg)
	mustHave(t, js, 3)
	cfg.Replicas, cfg.Retention = 1, 2*time.Hour
	if err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	mustHave(t, js, 3)
	for _, name := range []string{names.BatchesStream, "KV_" + names.MembersBucket} {
		if _, err := broker.SetReplicas(t.Context(), js, name, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	natstest.WaitFor(t, "all have three again", func() bool {
		l, err := look(t.Context(), js, 3)
		return err == nil && l.done()
	})
	mustHave(t, js, 3)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	alone := natstest.Start(t)
	cfg := broker.Config{NATSURL: alone.URL(), Replicas: 1, Retention: time.Hour}
	c := Command{NATS: cfg, Count: 3}
	if err := c.Run(t.Context(), io.Discard); !errors.Is(err, inspect.ErrNoInstallation) {
		t.Errorf("without an installation: %v", err)
	}
	installation(t, alone.JetStream(), cfg)
	err := c.Run(t.Context(), io.Discard)
	if err == nil || !strings.HasPrefix(err.Error(), "3 replicas: NATS refuses (nothing was changed): ") || !strings.Contains(err.Error(), "replicas > 1 not supported in non-clustered mode") {
		t.Errorf("one server, three replicas: %v", err)
	}
	if shown := run(t, cfg, 0); !strings.Contains(shown, "replicas of the installation: 1") || !strings.Contains(shown, "all current") {
		t.Errorf("it shows\n%s", shown)
	}
	run(t, cfg, 1)
	c.NATS.NATSURL = "nats://127.0.0.1:1"
	if err := c.Run(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "is Hydrant running?") {
		t.Errorf("without NATS: %v", err)
	}
	for _, n := range []int{-1, 2, 4, 7} {
		if err := (Command{NATS: cfg, Count: n}).Validate(); err == nil || !strings.Contains(err.Error(), "use 1, 3 or 5") {
			t.Errorf("%d: %v", n, err)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	cluster := natstest.StartCluster(t, 3)
	js := cluster.JetStream()
	cfg := broker.Config{NATSURL: cluster.URL(), Replicas: 3, Retention: time.Hour}
	installation(t, js, cfg)
	cluster.Servers[2].Stop() // so that it is never current
	ctx, cancel := context.WithCancel(t.Context())
	said := sayOnce{cancel: cancel}
	if err := (Command{NATS: cfg, Count: 3}).Run(ctx, &said); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "repeat it") {
		t.Errorf("interrupted: %v, after %s", err, said.String())
	}
}

// sayOnce cancels with the first line.
type sayOnce struct {
	bytes.Buffer
	cancel func()
}

func (s *sayOnce) Write(line []byte) (int, error) {
	s.cancel()
	return s.Buffer.Write(line)
}

func run(t *testing.T, cfg broker.Config, n int) string {
	t.Helper()
	var out bytes.Buffer
	if err := (Command{NATS: cfg, Count: n}).Run(t.Context(), &out); err != nil {
		t.Fatalf("replicas %d: %v\n%s", n, err, out.String())
	}
	return out.String()
}
