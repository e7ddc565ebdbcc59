package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// NATS remembers a message of a log that it could not write. It is not acknowledged, and others are refused at once, until NATS says that
// it can write; the real thing, on a full disk, is in e2e/power.
func TestRememberedAndNotWritten(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	d, other := r.stream("demo", 1), r.stream("other", 1)
	var health atomic.Value
	health.Store("")
	monitor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/healthz" && request.FormValue("details") == "true" {
			_, _ = io.WriteString(w, health.Load().(string))
		}
	}))
	t.Cleanup(monitor.Close)
	l := r.putLog(r.server.URL(), func(l *putLog) { l.gate.broker.NATSMonitorURL = monitor.URL })
	again := callerOf("again")
	again.Attempt = 2
	// repeat puts what is stored already, with a deadline that it reaches where it is not acknowledged.
	repeat := func() putResult {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return l.put(ctx, d, again, dataOf([]byte("again"))).list()[0]
	}

	first := r.put(l, d, callerOf("again"), []byte("again"))[0]
	r.must(first.Err)
	for _, c := range []struct{ name, health, refused string }{
		{"NATS is well", `{"status":"ok"}`, ""},
		{"another stream failed", healthOf(logOf(other, 0).JetStream(), "write error: no space left on device"), ""},
		{"it is not there yet, and no write failed", healthOf(logOf(d, 0).JetStream(), "could not be recovered"), ""},
		{"its log failed", healthOf(logOf(d, 0).JetStream(), "write error: no space left on device"), "could not write"},
		{"NATS is well again", `{"status":"ok"}`, ""},
		{"it does not say", `nothing that can be read`, "does not say"},
	} {
		health.Store(c.health)
		if c.refused == "" { // as the gate looks once a second
			_, err := l.gate.failedWrites(t.Context())
			r.must(err)
		}
		got := repeat()
		switch {
		case c.refused == "" && (got.Err != nil || got.ID != first.ID):
			t.Errorf("%s: it is %v, %v, want %v", c.name, got.ID, got.Err, first.ID)
		case c.refused != "" && (!errors.Is(got.Err, errUnavailable) || !strings.Contains(got.Err.Error(), c.refused)):
			t.Errorf("%s: error %v", c.name, got.Err)
		}
	}
	health.Store(healthOf(logOf(d, 0).JetStream(), "write error: no space left on device"))
	_, err := l.gate.failedWrites(t.Context())
	r.must(err)
	if err := l.gate.admit(d, 1); !errors.Is(err, errUnavailable) || !l.gate.figures().Refusing {
		t.Errorf("a record is let in with %v", err)
	}
	r.must(l.gate.admit(other, 1))
}

// healthOf is how NATS tells of a stream.
func healthOf(stream, what string) string {
	return fmt.Sprintf(`{"status":"error","errors":[{"type":"STREAM","account":"$G","stream":%q,"error":"JetStream stream '$G > %s' %s"}]}`, stream, stream, what)
}
