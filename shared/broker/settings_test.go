package broker_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/logtest"
	"hydrant/shared/natstest"
)

func TestValidate(t *testing.T) {
	good := broker.Config{NATSURL: "nats://127.0.0.1:4222", Replicas: 1, Retention: 24 * time.Hour}
	for _, c := range []struct {
		name   string
		change func(*broker.Config)
		want   []string // nil: accepted
	}{
		{"defaults", func(*broker.Config) {}, nil},
		{"three replicas", func(c *broker.Config) { c.Replicas = 3 }, nil},
		{"the shortest retention", func(c *broker.Config) { c.Retention = time.Second }, nil},
		{"the longest retention", func(c *broker.Config) { c.Retention = 168 * time.Hour }, nil},
		{"several servers", func(c *broker.Config) { c.NATSURL = "nats://a:4222,tls://u:p@b:4222, c" }, nil},
		{"monitoring", func(c *broker.Config) { c.NATSMonitorURL = "https://u:p@nats.example:8222/" }, nil},
		{"two replicas", func(c *broker.Config) { c.Replicas = 2 }, []string{"--replicas", "HYDRANT_REPLICAS", "2", "1, 3 or 5"}},
		{"no replicas", func(c *broker.Config) { c.Replicas = 0 }, []string{"HYDRANT_REPLICAS", "0"}},
		{"no retention", func(c *broker.Config) { c.Retention = 0 }, []string{"--retention", "HYDRANT_RETENTION", "0s", "1s to 168h"}},
		{"too long a retention", func(c *broker.Config) { c.Retention = 169 * time.Hour }, []string{"HYDRANT_RETENTION", "169h0m0s"}},
		{"parts of a second", func(c *broker.Config) { c.Retention = 1500 * time.Millisecond }, []string{"HYDRANT_RETENTION", "1.5s", "whole seconds"}},
		{"negative store", func(c *broker.Config) { c.StoreBytes = -1 }, []string{"--store-bytes", "HYDRANT_STORE_BYTES", "-1", "0 or more"}},
		{"no servers", func(c *broker.Config) { c.NATSURL = "" }, []string{"--nats-url", "HYDRANT_NATS_URL", "(empty)", "nats://127.0.0.1:4222"}},
		{"a server that is none", func(c *broker.Config) { c.NATSURL = "nats://u:hunter2@a:b:c" }, []string{"HYDRANT_NATS_URL"}},
		{"a second server that is none", func(c *broker.Config) { c.NATSURL = "nats://a:4222,nats://" }, []string{"HYDRANT_NATS_URL", "nats://a:4222"}},
		{"monitoring without a scheme", func(c *broker.Config) { c.NATSMonitorURL = "127.0.0.1:8222" }, []string{"--nats-monitor-url", "HYDRANT_NATS_MONITOR_URL", "127.0.0.1:8222", "http://127.0.0.1:8222"}},
		{"monitoring that is none", func(c *broker.Config) { c.NATSMonitorURL = "http://u:hunter2%@x" }, []string{"HYDRANT_NATS_MONITOR_URL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error is %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q is without %q", err, want)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q has the password", err)
			}
		})
	}
}

// However an address is written, right or wrong: what may be secret in it is in no error and no log.
func TestPasswordIsNeverShown(t *testing.T) {
	const secret = "hunter2"
	s := natstest.Start(t)
	nothing := strings.TrimPrefix(s.URL(), "nats://")
	s.Stop()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
	defer broken.Close()
	for _, c := range []struct{ name, url, monitor string }{
		{"a server that is down", "nats://u:" + secret + "@" + nothing, ""},
		{"a token", "nats://" + secret + "@" + nothing, ""},
		{"without a scheme", "u:" + secret + "@" + nothing, ""},
		{"the second server", "nats://" + nothing + ",nats://u:" + secret + "@" + nothing, ""},
		{"the second server, without a scheme", nothing + ",u:" + secret + "@" + nothing, ""},
		{"the first of two", "nats://u:" + secret + "@" + nothing + ", nats://u:" + secret + "@" + nothing, ""},
		{"a bad escape", "nats://u:" + secret + "%zz@" + nothing, ""},
		{"a slash", "nats://u:" + secret + "/x@" + nothing, ""},
		{"a hash", "nats://u:" + secret + "#x@" + nothing, ""},
		{"a question mark", "nats://u:" + secret + "?x@" + nothing, ""},
		{"a space", "nats://u:" + secret + " x@" + nothing, ""},
		{"a comma", "nats://u:" + secret + ",x@" + nothing, ""},
		{"monitoring that is down", "nats://" + nothing, "http://u:" + secret + "@127.0.0.1:1"},
		{"monitoring that refuses", "nats://" + nothing, strings.Replace(broken.URL, "://", "://u:"+secret+"@", 1)},
		{"monitoring with a bad escape", "nats://" + nothing, "http://u:" + secret + "%zz@127.0.0.1:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log logtest.Lines
			logger := slog.New(slog.NewTextHandler(&log, nil))
			cfg := broker.Config{NATSURL: c.url, NATSMonitorURL: c.monitor, Replicas: 1, Retention: time.Hour}
			shown := []string{}
			if err := cfg.Validate(); err != nil {
				shown = append(shown, err.Error())
			}
			conn, err := broker.Connect(cfg, "test", logger)
			if err != nil {
				shown = append(shown, err.Error())
			} else {
				defer conn.Close()
				js, err := jetstream.New(conn)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				prepared := make(chan error, 1)
				go func() { prepared <- broker.Prepare(ctx, js, cfg, logger) }()
				natstest.WaitFor(t, "it says that it waits", func() bool { return strings.Contains(log.String(), "waiting for") })
				cancel()
				shown = append(shown, (<-prepared).Error())
			}
			shown = append(shown, log.String())
			for _, text := range shown {
				if strings.Contains(text, secret) {
					t.Errorf("shown is %q", text)
				}
			}
		})
	}
}

func TestConnectFindsMissingFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "absent")
	s := natstest.Start(t)
	s.Stop() // what is wrong with the settings shows without a server
	for _, c := range []struct {
		name string
		cfg  broker.Config
		want string
	}{
		{"credentials", broker.Config{NATSURL: s.URL(), NATSCreds: missing}, "HYDRANT_NATS_CREDS"},
		{"certificate authority", broker.Config{NATSURL: s.URL(), NATSCA: missing}, "HYDRANT_NATS_CA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := broker.Connect(c.cfg, "test", quiet)
			if err == nil {
				conn.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), missing) {
				t.Errorf("error %q is without %s and the file", err, c.want)
			}
		})
	}
}
