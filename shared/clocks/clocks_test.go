package clocks

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/logtest"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

func newWatch(t *testing.T, registry prometheus.Registerer) (*Watch, *logtest.Lines) {
	t.Helper()
	log := new(logtest.Lines)
	w, err := New("test", registry, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return w, log
}

// figures are those of the metric, by server.
func figures(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if family.GetName() != "hydrant_nats_clock_ahead_seconds" || labels["service"] != "test" {
				t.Errorf("%s has %v", family.GetName(), labels)
			}
			all[labels["server"]] = m.GetGauge().GetValue()
		}
	}
	return all
}

// TestNote has a server's clock go ahead and come back, and a server that is silent for a while.
func TestNote(t *testing.T) {
	registry := prometheus.NewRegistry()
	w, log := newWatch(t, registry)
	const n2 = "n2"
	written := 0
	for _, c := range []struct {
		name  string
		ahead map[string]time.Duration
		says  string // of the log, and no more
	}{
		{"all well", map[string]time.Duration{"n1": 0, n2: 9 * time.Second}, ""},
		{"one ahead", map[string]time.Duration{"n1": 0, n2: 12345 * time.Millisecond}, "level=WARN server=n2 ahead=12.345s"},
		{"still", map[string]time.Duration{"n1": 0, n2: time.Minute}, ""},
		{"nobody tells", nil, ""},
		{"still, after it was silent", map[string]time.Duration{n2: time.Minute}, ""},
		{"hardly better", map[string]time.Duration{"n1": 0, n2: 9999 * time.Millisecond}, ""},
		{"back", map[string]time.Duration{"n1": 0, n2: time.Second}, "level=INFO server=n2 ahead=1s"},
		{"the other one behind", map[string]time.Duration{"n1": -10 * time.Second, n2: 0}, "level=WARN server=n1 ahead=-10s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var told []broker.Clock
			want := map[string]float64{}
			for server, ahead := range c.ahead {
				told = append(told, broker.Clock{Server: server, Ahead: ahead})
				want[server] = ahead.Seconds()
			}
			w.note(told)
			said := log.String()[written:]
			written += len(said)
			if strings.Count(said, "\n") != min(len(c.says), 1) {
				t.Errorf("it says %q, want %q", said, c.says)
			}
			for part := range strings.FieldsSeq(c.says) {
				if !strings.Contains(said, part) {
					t.Errorf("it says %q, want %q", said, c.says)
				}
			}
			if got := figures(t, registry); !maps.Equal(got, want) {
				t.Errorf("the metric is %v, want %v", got, want)
			}
		})
	}
}

func TestRun(t *testing.T) {
	s := natstest.Start(t)
	monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"server_name":"n2","now":%q}`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano))
	}))
	t.Cleanup(monitor.Close)
	w, log := newWatch(t, prometheus.NewRegistry())
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.Run(ctx, s.JetStream(), broker.Config{NATSURL: s.URL(), NATSMonitorURL: monitor.URL}) })
	natstest.WaitFor(t, "it says so", func() bool { return strings.Contains(log.String(), "server=n2 ahead=-") })
	stop()
	running.Wait()
}

func TestServicesThatShareARegistry(t *testing.T) {
	registry := prometheus.NewRegistry()
	newWatch(t, registry)
	if _, err := New("other", registry, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if _, err := New("test", registry, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two of one name are taken")
	}
}
