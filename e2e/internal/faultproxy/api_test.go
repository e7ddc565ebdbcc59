package faultproxy_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"hydrant/e2e/internal/faultproxy"
)

const put = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

// named answers with its name.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, name)
	})
}

// deadBackend returns an address on which nothing listens.
func deadBackend(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return socket.Addr().String()
}

func TestAPIGoesRound(t *testing.T) {
	p := newAPI(t, newBackend(t, named("a")), newBackend(t, named("b")), newBackend(t, named("c")))
	got := answers(t, p, 9)
	if got["a"] != 3 || got["b"] != 3 || got["c"] != 3 {
		t.Errorf("got %v", got)
	}
}

// answers counts the answers to n requests.
func answers(t *testing.T, p proxy, n int) map[string]int {
	t.Helper()
	client := newClient(t)
	got := make(map[string]int)
	for range n {
		resp, err := send(t, client, http.MethodPost, p.URL(), `{"DeliveryStreamName":"orders"}`)
		if err != nil {
			t.Fatal(err)
		}
		got[textOf(t, resp)]++
	}
	return got
}

func TestAPISkipsDeadBackends(t *testing.T) {
	p := newAPI(t, deadBackend(t), newBackend(t, named("b")), deadBackend(t))
	if got := answers(t, p, 9); got["b"] != 9 {
		t.Errorf("got %v", got)
	}
	p.SetBackends(newBackend(t, named("d")))
	if got := answers(t, p, 3); got["d"] != 3 {
		t.Errorf("after SetBackends: got %v", got)
	}
}

func TestAPIWithoutBackends(t *testing.T) {
	for name, backends := range map[string][]string{"dead": {deadBackend(t), deadBackend(t)}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			p := newAPI(t, backends...)
			resp, err := send(t, newClient(t), http.MethodPost, p.URL(), "{}")
			if err != nil {
				t.Fatal(err)
			}
			var body struct {
				Type    string `json:"__type"`
				Message string `json:"message"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != 503 || body.Type != "ServiceUnavailableException" || body.Message == "" {
				t.Errorf("got %d with %+v", resp.StatusCode, body)
			}
			if p.Counts()[faultproxy.NoBackend] != 1 {
				t.Errorf("counted %v", p.Counts())
			}
		})
	}
}

func TestAPISwallowsAnswers(t *testing.T) {
	var calls atomic.Int32
	p := newAPI(t, newBackend(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })))
	if err := p.SetSwallow(1); err != nil {
		t.Fatal(err)
	}
	if answer, err := exchange(t, p, put); answer != "" || err != nil {
		t.Errorf("got %q, %v; want a closed connection", answer, err)
	}
	if calls.Load() != 1 || p.Counts()[faultproxy.Swallowed] != 1 {
		t.Errorf("%d calls, counted %v", calls.Load(), p.Counts())
	}
	p.SetAll(false)
	if answer, err := exchange(t, p, put); answer == "" || err != nil {
		t.Errorf("with the faults off: got %q, %v", answer, err)
	}
}

// The backend finishes a call whose answer is going to be swallowed even if the client does not wait for it.
func TestAPISwallowWaitsForTheBackend(t *testing.T) {
	reached, proceed := make(chan struct{}), make(chan struct{})
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(reached)
		select {
		case <-proceed:
		case <-r.Context().Done():
			t.Error("the backend's request was given up")
		}
	}))
	t.Cleanup(backend.Close)
	p := newAPI(t, backend.Listener.Addr().String())
	if err := p.SetSwallow(1); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, p)
	if _, err := io.WriteString(conn, put); err != nil {
		t.Fatal(err)
	}
	<-reached
	conn.Close()
	close(proceed)
	eventually(t, "the answer is swallowed", func() bool { return p.Counts()[faultproxy.Swallowed] == 1 })
}

func TestAPIBackendLost(t *testing.T) {
	p := newAPI(t, newBackend(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})), newBackend(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	})))
	if answer, err := exchange(t, p, put); answer != "" || err != nil {
		t.Errorf("got %q, %v; want a closed connection", answer, err)
	}
	if p.Counts()[faultproxy.BackendLost] != 1 {
		t.Errorf("counted %v", p.Counts())
	}
}

func TestAPIClientLost(t *testing.T) {
	reached := make(chan struct{})
	p := newAPI(t, newBackend(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(reached)
		<-r.Context().Done()
	})))
	conn := dial(t, p)
	if _, err := io.WriteString(conn, put); err != nil {
		t.Fatal(err)
	}
	<-reached
	conn.Close()
	eventually(t, "the backend learns it", func() bool { return p.Counts()[faultproxy.ClientLost] == 1 })
}

// outcomes tells for each of n requests, one after the other, whether its answer was swallowed.
func outcomes(t *testing.T, seed uint64, n int) string {
	t.Helper()
	p, err := faultproxy.NewAPI(seed, newBackend(t, named("a")))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SetSwallow(0.3); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, n)
	for i := range got {
		got[i] = '.'
		if answer, err := exchange(t, p, put); err != nil || answer == "" {
			got[i] = 'x'
		}
	}
	return string(got)
}

func TestAPIFollowsItsSeed(t *testing.T) {
	first, again, other := outcomes(t, 7, 64), outcomes(t, 7, 64), outcomes(t, 8, 64)
	if first != again || first == other {
		t.Errorf("seed 7: %s and %s, seed 8: %s", first, again, other)
	}
}

func TestAPIRefusesRatesThatAreNone(t *testing.T) {
	p := newAPI(t)
	for _, rate := range []float64{-0.1, 1.1} {
		if p.SetSwallow(rate) == nil {
			t.Errorf("%v was accepted", rate)
		}
	}
}
