package session

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

func TestOpenIsReadyOnceTheViewIsRead(t *testing.T) {
	server := natstest.Start(t)
	var s Session
	if s.Ready() == nil || s.View() != nil {
		t.Error("a session that is not open is ready")
	}
	cfg := broker.Config{NATSURL: server.URL(), Replicas: 1, Retention: time.Hour, NATSMonitorURL: server.MonitorURL()}
	open, err := s.Open(t.Context(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Conn.Close()
	if s.Ready() == nil {
		t.Error("ready before the catalog was read")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); open.View.Run(ctx, func(names.Stream) {}) }()
	natstest.WaitFor(t, "the session is ready", func() bool { return s.Ready() == nil })
	stop()
	<-ended
}

func TestOpenEndsWithItsContextWhileNATSIsAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var s Session
	cfg := broker.Config{NATSURL: "nats://127.0.0.1:1", Replicas: 1, Retention: time.Hour}
	_, err := s.Open(ctx, cfg, "test", slog.New(slog.DiscardHandler))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened with %v", err)
	}
	if s.Ready() == nil {
		t.Error("ready without NATS")
	}
}
