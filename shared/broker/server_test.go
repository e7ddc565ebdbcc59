package broker_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"hydrant/shared/broker"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestUnsyncedServer(t *testing.T) {
	synced := natstest.Start(t)
	unsynced := natstest.Start(t, func(o *server.Options) { o.SyncAlways = false })
	for _, c := range []struct {
		name    string
		server  *natstest.Server
		change  func(*broker.Config)
		want    error
		warning string
	}{
		{"synced", synced, func(*broker.Config) {}, nil, ""},
		{"synced, address with a slash", synced, func(c *broker.Config) { c.NATSMonitorURL += "/" }, nil, ""},
		{"unsynced", unsynced, func(*broker.Config) {}, broker.ErrUnsynced, ""},
		{"unsynced, allowed", unsynced, func(c *broker.Config) { c.AllowUnsynced = true }, nil, "--allow-unsynced"},
		{"unsynced, nobody can tell", unsynced, func(c *broker.Config) { c.NATSMonitorURL = "" }, nil, "HYDRANT_NATS_MONITOR_URL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(c.server)
			c.change(&cfg)
			var log logtest.Lines
			_, js := connect(t, cfg, quiet)
			err := broker.Prepare(t.Context(), js, cfg, slog.New(slog.NewTextHandler(&log, nil)))
			if !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			if c.want != nil && !strings.Contains(err.Error(), "HYDRANT_ALLOW_UNSYNCED") {
				t.Errorf("the error does not say what to do: %v", err)
			}
			if got := log.String(); strings.Contains(got, "level=WARN") != (c.warning != "") || !strings.Contains(got, c.warning) {
				t.Errorf("the log is %q, want a warning with %q", got, c.warning)
			}
		})
	}
}

// A server that is starting says that JetStream is disabled, and nothing of its settings. That is no reason to give up.
func TestServerThatIsStarting(t *testing.T) {
	synced := natstest.Start(t)
	cfg := config(synced)
	var asked atomic.Int32
	monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = w.Write([]byte(`{"disabled":true,"config":{"max_memory":0,"max_storage":0}}`))
			return
		}
		_, _ = w.Write([]byte(`{"config":{"max_storage":1,"sync_always":true}}`))
	}))
	t.Cleanup(monitor.Close)
	cfg.NATSMonitorURL = monitor.URL
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil || asked.Load() < 2 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

func TestUsage(t *testing.T) {
	const serverLimit, accountLimit = 1 << 30, 1 << 28
	s := natstest.Start(t, func(o *server.Options) { o.JetStreamMaxStore = serverLimit })
	path := filepath.Join(t.TempDir(), "accounts.conf")
	text := fmt.Sprintf(`accounts { A { jetstream: { max_mem: 1MB, max_file: %d }, users: [ {user: u, password: p} ] } }`, accountLimit)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	parsed, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	limited := natstest.Start(t, func(o *server.Options) {
		o.JetStreamMaxStore, o.Accounts, o.Users = serverLimit, parsed.Accounts, parsed.Users
	})
	for _, c := range []struct {
		name   string
		server *natstest.Server
		change func(*broker.Config)
		want   int64
	}{
		{"nobody knows", s, func(c *broker.Config) { c.NATSMonitorURL = "" }, 0},
		{"the monitoring address", s, func(*broker.Config) {}, serverLimit},
		{"the setting", s, func(c *broker.Config) { c.StoreBytes = 12345 }, 12345},
		{"the account's limit", limited, func(*broker.Config) {}, accountLimit},
		{"the setting before the account's limit", limited, func(c *broker.Config) { c.StoreBytes = 12345 }, 12345},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(c.server)
			c.change(&cfg)
			if c.server == limited {
				cfg.NATSURL = strings.Replace(cfg.NATSURL, "://", "://u:p@", 1)
			}
			_, js := connect(t, cfg, quiet)
			if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
				t.Fatal(err)
			}
			before, err := broker.Usage(t.Context(), js, cfg)
			if err != nil || before.Limit != c.want {
				t.Fatalf("usage is %+v, %v, want limit %d", before, err, c.want)
			}
			if _, err := js.Publish(t.Context(), names.DeliveriesSubject(names.LegS3, "a"), make([]byte, 100_000)); err != nil {
				t.Fatal(err)
			}
			after, err := broker.Usage(t.Context(), js, cfg)
			if err != nil || after.Used < before.Used+100_000 {
				t.Errorf("usage is %+v, %v, was %+v", after, err, before)
			}
		})
	}
}

// TestUsageOfUnsyncedServer has a server that was started anew, and does not sync any more.
func TestUsageOfUnsyncedServer(t *testing.T) {
	synced := natstest.Start(t)
	unsynced := natstest.Start(t, func(o *server.Options) { o.SyncAlways = false })
	for _, c := range []struct {
		name   string
		server *natstest.Server
		change func(*broker.Config)
		want   bool
	}{
		{"synced", synced, func(*broker.Config) {}, false},
		{"unsynced", unsynced, func(*broker.Config) {}, true},
		{"unsynced, with a limit that is set", unsynced, func(c *broker.Config) { c.StoreBytes = 12345 }, true},
		{"unsynced, allowed", unsynced, func(c *broker.Config) { c.AllowUnsynced = true }, false},
		{"unsynced, nobody can tell", unsynced, func(c *broker.Config) { c.NATSMonitorURL = "" }, false},
		{"one of two unsynced", synced, func(c *broker.Config) { c.NATSMonitorURL += "," + config(unsynced).NATSMonitorURL }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config(c.server)
			c.change(&cfg)
			_, js := connect(t, cfg, quiet)
			if store, err := broker.Usage(t.Context(), js, cfg); err != nil || store.Unsynced != c.want {
				t.Errorf("usage is %+v, %v", store, err)
			}
		})
	}
}

func TestUsageErrors(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	lost := cfg
	lost.NATSMonitorURL = "http://127.0.0.1:1"
	if _, err := broker.Usage(t.Context(), js, lost); err == nil {
		t.Error("a limit that cannot be read is no error")
	}
	s.Stop()
	if _, err := broker.Usage(t.Context(), js, cfg); err == nil {
		t.Error("a store that cannot be read is no error")
	}
}
