// Package clocks watches, for a service, whether its clock and those of the NATS servers are apart, on which docs/operations.md says
// what depends.
//
// Whose clock is wrong it cannot know: who sees one server apart from all services knows, or one service apart from all servers.
package clocks

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/broker"
)

const lookEvery = 30 * time.Second

// Watch is the watch of one service.
type Watch struct {
	ahead *prometheus.GaugeVec // by server
	log   *slog.Logger
	known map[string]bool // servers that told at the last look
	apart map[string]bool // those that were last told of as apart
}

// New registers the metric, with the service's name, since several services may share a registry.
func New(service string, registry prometheus.Registerer, log *slog.Logger) (*Watch, error) {
	w := &Watch{log: log, known: map[string]bool{}, apart: map[string]bool{}, ahead: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name:        "hydrant_nats_clock_ahead_seconds",
		Help:        "By how much the clock of a NATS server is ahead of the service's, at least; below 0 where it is behind.",
		ConstLabels: prometheus.Labels{"service": service},
	}, []string{"server"})}
	if err := registry.Register(w.ahead); err != nil {
		return nil, fmt.Errorf("register a metric: %w", err)
	}
	return w, nil
}

// Run looks at the clocks until ctx ends.
func (w *Watch) Run(ctx context.Context, js jetstream.JetStream, cfg broker.Config) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		w.note(broker.Clocks(ctx, js, cfg))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// note shows what the servers told. One that did not tell has no figure, and is as it was told of last.
func (w *Watch) note(told []broker.Clock) {
	silent := w.known
	w.known = map[string]bool{}
	for _, c := range told {
		delete(silent, c.Server)
		w.known[c.Server] = true
		w.ahead.WithLabelValues(c.Server).Set(c.Ahead.Seconds())
		w.tell(c)
	}
	for server := range silent {
		w.ahead.DeleteLabelValues(server)
	}
}

// tell logs what has changed. Clocks that were apart are within the bound again from half of it on, so that a difference about as large
// as it is not told of again and again.
func (w *Watch) tell(c broker.Clock) {
	ahead := c.Ahead.Round(time.Millisecond)
	switch {
	case !w.apart[c.Server] && c.Apart():
		w.apart[c.Server] = true
		w.log.Warn("the clocks of a NATS server and of this service are apart: have both set by network time, before that is a minute",
			"server", c.Server, "ahead", ahead)
	case w.apart[c.Server] && c.Ahead.Abs() < broker.ClocksApart/2:
		delete(w.apart, c.Server)
		w.log.Info("the clocks of a NATS server and of this service are apart no longer", "server", c.Server, "ahead", ahead)
	}
}
