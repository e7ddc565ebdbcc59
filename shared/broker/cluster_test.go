package broker_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"hydrant/shared/broker"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// A cluster's store is that of one of its servers, each of which has everything: not the sum that JetStream tells.
func TestStoreOfACluster(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3, func(o *server.Options) { o.JetStreamMaxStore = 1 << 30 })
	cfg := broker.Config{NATSURL: c.URL(), NATSMonitorURL: c.MonitorURL(), Replicas: 3, Retention: time.Hour}
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	log := names.Log{Stream: "demo", ID: names.NewStreamID()}
	if err := broker.CreateLog(t.Context(), js, broker.LogConfig(log, time.Hour, 1)); err != nil {
		t.Fatal(err)
	}
	const each, count = 500_000, 8
	for range count {
		if _, err := js.Publish(t.Context(), log.Subject(), make([]byte, each)); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*broker.Config){
		"monitoring addresses":               func(*broker.Config) {},
		"a size, and monitoring addresses":   func(c *broker.Config) { c.StoreBytes = 1 << 30 },
		"a size alone":                       func(c *broker.Config) { c.StoreBytes, c.NATSMonitorURL = 1<<30, "" },
		"monitoring addresses, one is wrong": func(c *broker.Config) { c.NATSMonitorURL += ",http://127.0.0.1:1" },
	} {
		cfg := cfg
		change(&cfg)
		natstest.WaitFor(t, name+": everything is counted, once", func() bool {
			store, err := broker.Usage(t.Context(), js, cfg)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if store.Limit != 1<<30 || store.Used > 2*each*count {
				t.Fatalf("%s: the store is %+v", name, store)
			}
			return store.Used >= each*count
		})
	}
}

// A service starts while a server is gone. What it needs was made before: of servers that have nothing yet NATS lets none lead until all
// of them agree, and one that is gone would be waited for.
func TestServersOfACluster(t *testing.T) { // not beside others: an election among servers that get no CPU takes long
	c := natstest.StartCluster(t, 3)
	cfg := broker.Config{NATSURL: c.URL(), NATSMonitorURL: c.MonitorURL(), Replicas: 3, Retention: time.Hour}
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	c.Servers[0].Stop()
	c.WaitReady()
	var log logtest.Lines
	if err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Errorf("with one server of three gone: %v", err)
	}
	if !strings.Contains(log.String(), "is not checked") {
		t.Errorf("nothing tells that one server was not asked:\n%s", log.String())
	}
	c.Servers[0].Restart(func(o *server.Options) { o.SyncAlways = false })
	c.WaitReady()
	if err := broker.Prepare(t.Context(), js, cfg, quiet); !errors.Is(err, broker.ErrUnsynced) {
		t.Errorf("with one that does not sync: %v", err)
	}
}

// A setting that is not the installation's number is told, and changes nothing.
func TestReplicasAreTheInstallations(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	for _, c := range []struct {
		setting int
		told    bool
	}{{1, false}, {3, true}, {5, true}, {1, false}} {
		var log logtest.Lines
		cfg.Replicas = c.setting
		if err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Errorf("%d: %v", c.setting, err)
		}
		if told := strings.Contains(log.String(), "hydrant replicas changes it"); told != c.told {
			t.Errorf("%d: the log is\n%s", c.setting, log.String())
		}
		if n, err := broker.Replicas(t.Context(), js); n != 1 || err != nil {
			t.Errorf("%d: there are %d, %v", c.setting, n, err)
		}
	}
}

func TestIsHydrants(t *testing.T) {
	log := names.Log{Stream: "demo", Shard: 3, ID: names.NewStreamID()}
	for name, want := range map[string]bool{
		names.BatchesStream: true, names.StagingStream: true, "KV_" + names.RetriesBucket: true, "KV_" + names.MembersBucket: true,
		log.JetStream(): true, "KV_SOMEBODYS": false, "ORDERS": false, "": false,
	} {
		if broker.IsHydrants(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}
