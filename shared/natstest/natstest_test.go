package natstest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

func TestRestartKeepsAddressAndStore(t *testing.T) {
	s := natstest.Start(t)
	js := s.JetStream()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kept", []byte("here")); err != nil {
		t.Fatal(err)
	}
	url, monitor := s.URL(), s.MonitorURL()
	s.Restart()
	if s.URL() != url || s.MonitorURL() != monitor {
		t.Errorf("addresses are %s and %s, were %s and %s", s.URL(), s.MonitorURL(), url, monitor)
	}
	stream, err := s.JetStream().Stream(t.Context(), "KEPT")
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages after the restart, want 1", n)
	}
	// The connection made before the restart comes back by itself.
	natstest.WaitFor(t, "reconnected", func() bool {
		_, err := js.Publish(t.Context(), "kept", nil)
		return err == nil
	})
}

func TestProxy(t *testing.T) {
	s := natstest.Start(t)
	p := s.Proxy()
	conn, err := nats.Connect(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	p.Stall()
	p.Stall()
	if err := conn.FlushTimeout(50 * time.Millisecond); err == nil {
		t.Error("an answer came through a stalled proxy")
	}
	if !conn.IsConnected() {
		t.Error("the connection was told")
	}
	p.Resume()
	p.Resume()
	if err := conn.FlushTimeout(10 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestSyncsAlways(t *testing.T) {
	s := natstest.Start(t)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(s.MonitorURL() + "/jsz?config=1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var jsz struct {
		Config struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&jsz); err != nil {
		t.Fatal(err)
	}
	if !jsz.Config.SyncAlways {
		t.Error("the server does not sync always")
	}
}

func TestStopMayBeRepeated(t *testing.T) {
	s := natstest.Start(t)
	s.Stop()
	s.Stop()
	s.Restart()
	s.JetStream()
}
