package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers each call with answer, and returns where.
func serve(t *testing.T, answer http.HandlerFunc) (addr string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func acknowledge(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if strings.HasSuffix(r.Header.Get("X-Amz-Target"), string(PutRecord)) {
		_, _ = io.WriteString(w, `{"RecordId":"1"}`)
		return
	}
	_, _ = io.WriteString(w, `{"FailedPutCount":0,"RequestResponses":[]}`)
}

// A call looks like one of an SDK, and each has an invocation id of its own.
func TestCallsAreLikeAnSDKs(t *testing.T) {
	var mu sync.Mutex
	ids := map[string]bool{}
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ids[r.Header.Get("Amz-Sdk-Invocation-Id")] = true
		mu.Unlock()
		for name, form := range map[string]string{
			"Content-Type":          `^application/x-amz-json-1\.1$`,
			"X-Amz-Target":          `^Firehose_20150804\.PutRecord(Batch)?$`,
			"Authorization":         `^AWS4-HMAC-SHA256 Credential=\w{20}/\d{8}/us-east-1/firehose/aws4_request, SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}$`,
			"X-Amz-Date":            `^\d{8}T\d{6}Z$`,
			"Amz-Sdk-Request":       `^attempt=1; max=3$`,
			"Amz-Sdk-Invocation-Id": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
		} {
			if got := r.Header.Get(name); !regexp.MustCompile(form).MatchString(got) {
				t.Errorf("%s is %q", name, got)
			}
		}
		acknowledge(w, r)
	})
	d, target := data(), NewTarget("demo")
	l := Load{Addr: addr, Connections: 3, Length: time.Minute, Calls: 20, Next: func(connection, n int) Call {
		if connection == 0 {
			return d.PutSingle(target, n)
		}
		return d.PutBatch(target, n)
	}}
	got, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Calls != 20 || len(got.Latencies) != 20 || len(ids) != 20 {
		t.Errorf("%d calls, %d latencies, %d invocation ids; want 20 of each", got.Calls, len(got.Latencies), len(ids))
	}
}

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"acknowledged", acknowledge, ""},
		{"in chunks", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"FailedPutCount":0,"RequestResponses":["`)
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, long+`"]}`)
		}, ""},
		{"one record refused", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"FailedPutCount":1}`) }, "FailedPutCount"},
		{"throttled", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "slow down", http.StatusServiceUnavailable)
		}, "503: slow down"},
		{"a connection that breaks", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "read the answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, target := data(), NewTarget("demo")
			l := Load{Addr: serve(t, c.answer), Connections: 2, Length: time.Minute, Calls: 6, Next: func(_, n int) Call { return d.PutBatch(target, n) }}
			got, err := l.Run(t.Context())
			if c.want == "" && (err != nil || got.Calls != 6 || got.Bytes != 6*BatchBytes) {
				t.Errorf("%d calls of %d bytes, %v", got.Calls, got.Bytes, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("the error is %v, want one with %q", err, c.want)
			}
		})
	}
}

// What Hydrant is compared with takes the same calls and answers in its own way.
func TestAnotherPath(t *testing.T) {
	var path atomic.Value
	addr := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		path.Store(r.URL.Path)
		_, _ = io.Copy(io.Discard, r.Body)
	})
	d, target := data(), NewTarget("demo")
	l := Load{Addr: addr, Path: "/put", Connections: 1, Length: time.Minute, Calls: 3, Next: func(_, n int) Call { return d.PutBatch(target, n) }}
	got, err := l.Run(t.Context())
	if err != nil || got.Calls != 3 || path.Load() != "/put" {
		t.Errorf("%d calls to %v, %v", got.Calls, path.Load(), err)
	}
}

func TestAnswersThatAreNotHTTP(t *testing.T) {
	for _, text := range []string{"SSH-2.0-x\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"} {
		addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			socket, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(socket, text)
			_ = socket.Close()
		})
		conn, err := Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Do(PutText(NewTarget("demo"), []byte("x"))); !errors.Is(err, errNotHTTP) {
			t.Errorf("%q gives %v", text, err)
		}
		conn.Close()
	}
}

// What may be made is asked before each call, and what was acknowledged is told.
func TestAdmission(t *testing.T) {
	var asked, acked atomic.Int64
	d, target := data(), NewTarget("demo")
	l := Load{
		Addr: serve(t, acknowledge), Connections: 4, Length: time.Minute,
		Next:  func(_, n int) Call { return d.PutSingle(target, n) },
		Admit: func(context.Context, int64) bool { return asked.Add(1) <= 10 },
		Acked: func(bytes int64) { acked.Add(bytes) },
	}
	got, err := l.Run(t.Context())
	if err != nil || got.Calls != 10 || acked.Load() != 10*RecordBytes {
		t.Errorf("%d calls, %d bytes, %v; want 10 calls", got.Calls, acked.Load(), err)
	}
}

func TestNobodyListens(t *testing.T) {
	_, err := Load{Addr: "127.0.0.1:1", Connections: 1, Length: time.Second}.Run(t.Context())
	if err == nil {
		t.Error("no error")
	}
}

func TestRates(t *testing.T) {
	r := Result{Calls: 100, Bytes: 5e6, Took: 2 * time.Second}
	if got := fmt.Sprint(r.Rate(), r.MBps()); got != "50 2.5" {
		t.Errorf("got %s", got)
	}
}
