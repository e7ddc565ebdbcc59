package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hydrant/shared/format"
)

// Admin is the port for those who run a service: /healthz answers 200 while the process lives, /readyz 200 or 503 with
// the reason, /metrics in Prometheus' form. A service that is ready and leaves something alone, because a newer version wrote it,
// names that in /readyz, one thing a line, and counts it in hydrant_newer_format_refused.
type Admin struct {
	listener net.Listener
	server   *http.Server
	log      *slog.Logger
}

// NewAdmin listens at addr.
func NewAdmin(addr string, metrics *prometheus.Registry, ready func() error, refused *format.Refused, log *slog.Logger) (*Admin, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--admin-addr (HYDRANT_ADMIN_ADDR): %w", err)
	}
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hydrant_newer_format_refused", Help: "Things that are left alone because a newer version of Hydrant wrote them.",
	}, func() float64 { return float64(len(refused.List())) }))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
		for _, line := range refused.List() {
			_, _ = io.WriteString(w, "left alone: "+line+"\n")
		}
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return &Admin{listener, server, log}, nil
}

// Addr is the address it listens at.
func (a *Admin) Addr() string { return a.listener.Addr().String() }

// Run serves until ctx ends.
func (a *Admin) Run(ctx context.Context) error {
	a.log.Info("admin port", "addr", a.Addr())
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(a.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("admin port: %w", err)
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := a.server.Shutdown(ending); err != nil {
		_ = a.server.Close() // somebody still reads; the process is ending
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port: %w", err)
	}
	return nil
}
