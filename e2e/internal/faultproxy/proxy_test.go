package faultproxy_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/e2e/internal/faultproxy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// proxy is what both proxies have in common.
type proxy interface {
	URL() string
	Close()
	Counts() faultproxy.Counts
}

// eachProxy runs a test against every proxy before the same backend.
func eachProxy(t *testing.T, handler http.Handler, test func(t *testing.T, p proxy)) {
	t.Run("api", func(t *testing.T) { test(t, newAPI(t, newBackend(t, handler))) })
	t.Run("s3", func(t *testing.T) { test(t, newS3(t, newBackend(t, handler))) })
	t.Run("search", func(t *testing.T) { test(t, newSearch(t, newBackend(t, handler))) })
}

// newBackend returns host:port of a server.
func newBackend(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func newAPI(t *testing.T, backends ...string) *faultproxy.API {
	t.Helper()
	p, err := faultproxy.NewAPI(1, backends...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func newS3(t *testing.T, backend string) *faultproxy.S3 {
	t.Helper()
	p, err := faultproxy.NewS3(1, backend)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// dial connects to a proxy below HTTP.
func dial(t *testing.T, p proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// exchange sends a request as it is written, and returns all that comes back until the connection ends.
func exchange(t *testing.T, p proxy, request string) (string, error) {
	t.Helper()
	conn := dial(t, p)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// newClient returns an HTTP client whose connections are closed with the test.
func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func send(t *testing.T, client *http.Client, method, url, body string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, err
}

func textOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// What is signed must arrive as it was sent.
func TestRequestArrivesAsSent(t *testing.T) {
	var mu sync.Mutex
	var got *http.Request
	var body []byte
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header()["Content-Type"] = nil
		w.Header()["Date"] = nil
		w.Header().Set("X-Amzn-RequestId", "r1")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "answer")
	})
	const target = "/bucket/a%2Fb%20c+d//e%7e%C3%A9?x=%2f&flag&y=a+b"
	eachProxy(t, backend, func(t *testing.T, p proxy) {
		answer, err := exchange(t, p, "PUT "+target+" HTTP/1.1\r\nHost: signed.example:99\r\nContent-Length: 4\r\n"+
			"X-Amz-Meta-Two: 1\r\nX-Amz-Meta-Two: 2\r\nConnection: close\r\n\r\nbody")
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if got.RequestURI != target || got.Host != "signed.example:99" || string(body) != "body" {
			t.Errorf("got %s for %s with %q", got.RequestURI, got.Host, body)
		}
		if two := got.Header["X-Amz-Meta-Two"]; len(two) != 2 || len(got.Header) != 2 || got.ContentLength != 4 {
			t.Errorf("got the headers %v and length %d", got.Header, got.ContentLength)
		}
		want := "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 6\r\nX-Amzn-Requestid: r1\r\nConnection: close\r\n\r\nanswer"
		if answer != want {
			t.Errorf("got the answer %q", answer)
		}
	})
}

// A request without a body must not grow one, and the answer to a HEAD has a length and no body.
func TestNoBody(t *testing.T) {
	var mu sync.Mutex
	var got *http.Request
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got = r
		w.Header().Set("Content-Length", "12345")
	})
	eachProxy(t, backend, func(t *testing.T, p proxy) {
		resp, err := send(t, newClient(t), http.MethodHead, p.URL()+"/bucket/key", "")
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if resp.ContentLength != 12345 || got.ContentLength != 0 || len(got.TransferEncoding) > 0 {
			t.Errorf("got length %d for %v", resp.ContentLength, got)
		}
	})
}

// The backend reads the first bytes while the client still holds back the rest: bodies are not buffered.
func TestBodiesStreamBothWays(t *testing.T) {
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(flushing{w}, r.Body)
	})
	t.Run("request", func(t *testing.T) {
		arrived := make(chan struct{})
		first := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 1000))
			close(arrived)
			_, _ = io.Copy(io.Discard, r.Body)
		})
		p := newS3(t, newBackend(t, first))
		conn := dial(t, p)
		_, err := io.WriteString(conn, "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\nConnection: close\r\n\r\n"+
			strings.Repeat("x", 1000))
		if err != nil {
			t.Fatal(err)
		}
		<-arrived
		if _, err := io.WriteString(conn, strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
			t.Errorf("got %q, %v", answer, err)
		}
	})
	eachProxy(t, backend, func(t *testing.T, p proxy) {
		const size = 16 << 20
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.URL()+"/b/k", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := newClient(t).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
			t.Errorf("got %d bytes back, %v", n, err)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	_ = http.NewResponseController(f.ResponseWriter).Flush()
	return n, err
}

// A backend that dies in the middle of its answer must not look like one that gave a short answer.
func TestBrokenAnswerStaysBroken(t *testing.T) {
	backend := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "only this")
		panic(http.ErrAbortHandler)
	})
	eachProxy(t, backend, func(t *testing.T, p proxy) {
		if _, err := send(t, newClient(t), http.MethodGet, p.URL()+"/b/k", ""); err == nil {
			t.Error("no error")
		}
	})
}

// Close must not wait for a backend that never answers.
func TestCloseWhileABackendHangs(t *testing.T) {
	reached := make(chan struct{}, 2)
	backend := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- struct{}{}
		<-r.Context().Done()
	})
	eachProxy(t, backend, func(t *testing.T, p proxy) {
		conn := dial(t, p)
		if _, err := io.WriteString(conn, "GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		<-reached
		p.Close()
	})
}
