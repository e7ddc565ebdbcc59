package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// serve runs an admin port until the test ends, or until the returned function is called.
func serve(t *testing.T, ready func() error) (*Admin, func()) {
	t.Helper()
	registry := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "hydrant_test_total", Help: "A test."})
	c.Add(7)
	registry.MustRegister(c)
	a, err := NewAdmin("127.0.0.1:0", registry, ready, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	var stopped bool
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return a, stop
}

func ask(t *testing.T, method, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestAdmin(t *testing.T) {
	var notReady atomic.Pointer[error]
	a, _ := serve(t, func() error {
		if err := notReady.Load(); err != nil {
			return *err
		}
		return nil
	})
	base := "http://" + a.Addr()
	for _, c := range []struct {
		name, method, path string
		ready              error
		status             int
		body               string
	}{
		{"alive", http.MethodGet, "/healthz", nil, 200, "ok"},
		{"alive and not ready", http.MethodGet, "/healthz", errors.New("NATS is down"), 200, "ok"},
		{"ready", http.MethodGet, "/readyz", nil, 200, "ready"},
		{"not ready", http.MethodGet, "/readyz", errors.New("NATS is down"), 503, "NATS is down"},
		{"ready again", http.MethodGet, "/readyz", nil, 200, "ready"},
		{"metrics", http.MethodGet, "/metrics", nil, 200, "hydrant_test_total 7"},
		{"a head request", http.MethodHead, "/readyz", nil, 200, ""},
		{"another method", http.MethodPost, "/readyz", nil, 405, ""},
		{"another path", http.MethodGet, "/", nil, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			notReady.Store(nil)
			if c.ready != nil {
				notReady.Store(&c.ready)
			}
			if status, body := ask(t, c.method, base+c.path); status != c.status || !strings.Contains(body, c.body) {
				t.Errorf("it answers %d, %q, want %d, %q", status, body, c.status, c.body)
			}
		})
	}
}

// Connections that are open, idle or in the middle of a request, do not keep it from ending.
func TestAdminEnds(t *testing.T) {
	a, stop := serve(t, func() error { return nil })
	idle := http.Transport{}
	defer idle.CloseIdleConnections()
	answer, err := (&http.Client{Transport: &idle}).Get("http://" + a.Addr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	half, err := net.Dial("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = half.Close() }()
	if _, err := io.WriteString(half, "GET /healthz HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	stop()
	if conn, err := net.Dial("tcp", a.Addr()); err == nil {
		_ = conn.Close()
		t.Error("it still listens")
	}
}

func TestAdminPortTaken(t *testing.T) {
	a, _ := serve(t, func() error { return nil })
	_, err := NewAdmin(a.Addr(), prometheus.NewRegistry(), nil, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "HYDRANT_ADMIN_ADDR") || !strings.Contains(err.Error(), a.Addr()) {
		t.Errorf("error is %v", err)
	}
}

// Its failure is told, so that what runs beside it ends too.
func TestAdminFailure(t *testing.T) {
	a, err := NewAdmin("127.0.0.1:0", prometheus.NewRegistry(), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_ = a.listener.Close()
	if err := a.Run(t.Context()); err == nil {
		t.Error("no error")
	}
}
