package broker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"hydrant/shared/broker"
	"hydrant/shared/natstest"
)

// page is a monitoring address that answers every question so.
func page(t *testing.T, answer func() string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer())) }))
	t.Cleanup(s.Close)
	return s.URL
}

// clockPage is that of a server whose clock is ahead by so much.
func clockPage(t *testing.T, server string, ahead time.Duration) string {
	t.Helper()
	return page(t, func() string {
		return fmt.Sprintf(`{"server_name":%q,"now":%q}`, server, time.Now().Add(ahead).UTC().Format(time.RFC3339Nano))
	})
}

func TestClocks(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	cfg := config(s)
	conn, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	itself := conn.ConnectedServerName()
	for _, c := range []struct {
		name, monitors string
		want           map[string]time.Duration
	}{
		{"no monitoring address", "", map[string]time.Duration{itself: 0}},
		{"its own", s.MonitorURL(), map[string]time.Duration{itself: 0}},
		{"its own, with a slash", s.MonitorURL() + "/", map[string]time.Duration{itself: 0}},
		{
			"others that are ahead and behind", clockPage(t, "n2", time.Hour) + "," + clockPage(t, "n3", -time.Hour),
			map[string]time.Duration{itself: 0, "n2": time.Hour, "n3": -time.Hour},
		},
		{"two that tell of one", clockPage(t, itself, -time.Minute) + "," + clockPage(t, itself, time.Hour), map[string]time.Duration{itself: time.Hour}},
		{"nobody there", "http://127.0.0.1:1", map[string]time.Duration{itself: 0}},
		{"what tells no time", page(t, func() string { return `{"server_name":"n2"}` }), map[string]time.Duration{itself: 0}},
		{"what is no page of NATS'", page(t, func() string { return "<html>" }), map[string]time.Duration{itself: 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := cfg
			cfg.NATSMonitorURL = c.monitors
			var told []broker.Clock
			natstest.WaitFor(t, "all tell in time", func() bool {
				told = broker.Clocks(t.Context(), js, cfg)
				return len(told) >= len(c.want)
			})
			if len(told) != len(c.want) {
				t.Errorf("told are %+v", told)
			}
			for _, clock := range told {
				// A page is as much closer as asking took.
				want, known := c.want[clock.Server]
				if !known || clock.Ahead.Abs() > want.Abs() || (clock.Ahead-want).Abs() > 30*time.Second || clock.Apart() != (want != 0) {
					t.Errorf("told is %+v, apart %v; want %v", clock, clock.Apart(), want)
				}
			}
		})
	}
	s.Stop()
	if told := broker.Clocks(t.Context(), js, cfg); len(told) != 0 {
		t.Errorf("of a server that is gone is told %+v", told)
	}
}

// Without monitoring addresses those of a cluster tell that lead anything.
func TestClocksOfLeaders(t *testing.T) {
	t.Parallel()
	c := natstest.StartCluster(t, 3)
	cfg := broker.Config{NATSURL: c.URL(), Replicas: 3, Retention: time.Hour}
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	var servers []string
	for _, s := range c.Servers {
		servers = append(servers, s.Name())
	}
	natstest.WaitFor(t, "one tells", func() bool {
		told := broker.Clocks(t.Context(), js, cfg)
		for _, clock := range told {
			if clock.Apart() || !slices.Contains(servers, clock.Server) {
				t.Fatalf("told is %+v of %v", told, servers)
			}
		}
		return len(told) > 0
	})
}
