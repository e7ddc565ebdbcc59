package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats-server/v2/server"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/settings"
)

// pages passes on each write, and gives up when nobody reads it.
type pages chan string

func (p pages) Write(data []byte) (int, error) {
	select {
	case p <- string(data):
		return len(data), nil
	case <-time.After(time.Minute):
		return 0, errors.New("nobody reads")
	}
}

// until returns the first page with text.
func (p pages) until(t *testing.T, text string) string {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case page := <-p:
			if strings.Contains(page, text) {
				return page
			}
		case <-deadline:
			t.Fatalf("no page with %q", text)
		}
	}
}

func TestRunOnce(t *testing.T) {
	in, _ := busy(t)
	var out bytes.Buffer
	command := Command{NATS: in.cfg, Since: 24 * time.Hour, Streams: []names.Stream{"orders"}}
	in.must(command.Run(t.Context(), &out))
	for _, want := range []string{"orders  ACTIVE  s3", "S3.NoSuchBucket", "1 delivery stream;", " %); NATS:", in.cfg.NATSURL} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	out.Reset()
	command.JSON, command.Streams = true, nil
	in.must(command.Run(t.Context(), &out))
	var report Report
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	in.must(decoder.Decode(&report))
	if report.DeliveryStreams != 4 || len(report.Legs) != 4 || report.Store.UsedBytes == 0 || report.Store.LimitBytes == 0 {
		t.Errorf("report is %+v", report)
	}
}

// A server whose clock is two minutes behind is said to be, by its monitoring page.
func TestRunWithClocksApart(t *testing.T) {
	in := newInstallation(t)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"server_name":"n2","now":%q,"config":{"max_storage":1}}`, time.Now().Add(-2*time.Minute).UTC().Format(time.RFC3339Nano))
	}))
	defer page.Close()
	run := func(monitors string) Report {
		var report Report
		natstest.WaitFor(t, "all servers tell in time", func() bool {
			command := Command{NATS: in.cfg, Since: time.Hour, JSON: true}
			command.NATS.NATSMonitorURL = monitors
			var out bytes.Buffer
			in.must(command.Run(t.Context(), &out))
			report = Report{}
			in.must(json.Unmarshal(out.Bytes(), &report))
			return len(report.Clocks) > strings.Count(monitors, ",")
		})
		return report
	}
	if r := run(in.cfg.NATSMonitorURL + "," + page.URL); len(r.Clocks) != 2 || r.Clocks[0].Server != "n2" || !r.Clocks[0].apart() || r.Clocks[1].apart() {
		t.Errorf("clocks are %+v", r.Clocks)
	}
	if r := run("http://127.0.0.1:1"); len(r.Clocks) != 1 || r.Clocks[0].apart() {
		t.Errorf("where nobody answers at the monitoring address clocks are %+v", r.Clocks)
	}
}

// A leg whose failures are not logged says so.
func TestLoggingOff(t *testing.T) {
	in := newInstallation(t)
	d := in.stream("demo", id("d"), 1)
	in.put(d, 0, 10)
	b := in.cut(d, 0, 1, 1, time.Now())
	in.sink(d, 2, func(uint64) bool { return false })
	run := func() string {
		var out bytes.Buffer
		in.must(Command{NATS: in.cfg, Since: time.Hour}.Run(t.Context(), &out))
		return strings.Join(strings.Fields(out.String()), " ")
	}
	const hint = `demo s3: 1 pending batch was tried without success; why is not known, because error logging is off: "hydrant logs demo" says how to turn it on`
	if got := run(); !strings.Contains(got, hint) {
		t.Errorf("got %s", got)
	}
	in.failed(b, "S3.AccessDenied", time.Now()) // from before it was turned off
	if got := run(); strings.Contains(got, "logging is off") || !strings.Contains(got, "last error S3.AccessDenied") {
		t.Errorf("got %s", got)
	}
}

// A batch that failed once and waits for its next try tells why, before JetStream has given it out again. One that was
// delivered since does not.
func TestFailedOnce(t *testing.T) {
	in := newInstallation(t)
	d := in.stream("demo", id("d"), 1)
	in.put(d, 0, 10)
	in.put(d, 0, 10)
	delivered := in.cut(d, 0, 1, 1, time.Now())
	waits := in.cut(d, 0, 2, 2, time.Now())
	in.settle(delivered, batch.Delivered, func(*batch.Delivery) {})
	failing := func() Failing {
		legs, err := Collect(t.Context(), in.js, Options{})
		in.must(err)
		return legs[0].Failing
	}
	in.failed(delivered, "S3.AccessDenied", time.Now())
	if f := failing(); f != (Failing{}) {
		t.Errorf("failing is %+v, of a batch that is delivered", f)
	}
	in.failed(waits, "S3.NoSuchBucket", time.Now())
	if f := failing(); f.Batches != 1 || f.LastErrorCode != "S3.NoSuchBucket" {
		t.Errorf("failing is %+v", f)
	}
}

func TestWatch(t *testing.T) {
	in := newInstallation(t)
	d := in.stream("demo", id("d"), 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, ended := make(pages), make(chan error, 1)
	command := Command{NATS: in.cfg, Since: time.Hour, Watch: true, WatchInterval: 100 * time.Millisecond}
	go func() { ended <- command.Run(ctx, out) }()

	page := out.until(t, "demo")
	if strings.Contains(page, "\x1b") {
		t.Errorf("a pipe gets what is for a terminal: %q", page)
	}
	in.put(d, 0, 77)
	out.until(t, " 77 ")
	in.nats.Stop()
	out.until(t, "trying again every 100ms")
	in.nats.Restart()
	out.until(t, " 77 ")

	cancel()
	for {
		select {
		case <-out: // the last page may be on its way
		case err := <-ended:
			if err != nil {
				t.Errorf("ended with %v", err)
			}
			return
		}
	}
}

func TestWatchJSON(t *testing.T) {
	in := newInstallation(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, ended := make(pages), make(chan error, 1)
	command := Command{NATS: in.cfg, Since: time.Hour, Watch: true, JSON: true, WatchInterval: 100 * time.Millisecond}
	go func() { ended <- command.Run(ctx, out) }()
	for range 2 {
		page := out.until(t, "legs")
		var report Report
		if err := json.Unmarshal([]byte(page), &report); err != nil || strings.Count(page, "\n") != 1 {
			t.Errorf("not a document on a line: %v: %q", err, page)
		}
	}
	cancel()
	for {
		select {
		case <-out:
		case err := <-ended:
			in.must(err)
			return
		}
	}
}

func TestUnreachable(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := taken.Addr().String()
	_ = taken.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	refusing := natstest.Start(t, func(o *server.Options) { o.Username, o.Password = "hydrant", "secret" })
	bare := natstest.Start(t, func(o *server.Options) {
		account := server.NewAccount("without")
		o.Accounts = []*server.Account{account}
		o.Users = []*server.User{{Username: "anybody", Password: "anything", Account: account}}
		o.NoAuthUser = "anybody"
	})
	empty := natstest.Start(t)

	const hint = "is Hydrant running? (--nats-url, HYDRANT_NATS_URL)"
	tests := []struct{ name, url, want string }{
		{"nobody there", "nats://" + nobody, "no NATS at nats://" + nobody + ": " + hint},
		{"nobody answers", "nats://" + silent.Addr().String(), "no NATS at nats://" + silent.Addr().String() + ": " + hint},
		{"wrong password", strings.Replace(refusing.URL(), "//", "//hydrant:wrong@", 1), "no NATS at " + refusing.URL() + ": " + hint + ": nats: Authorization Violation"},
		{"no JetStream", bare.URL(), "no JetStream"},
		{"no installation", empty.URL(), inspect.ErrNoInstallation.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			command := Command{NATS: broker.Config{NATSURL: test.url}, Since: time.Hour}
			err := command.Run(t.Context(), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestTerminalIsCleared(t *testing.T) {
	command := Command{Watch: true, WatchInterval: time.Second}
	var out bytes.Buffer
	if err := command.print(Report{}, &out, true); err != nil || !strings.HasPrefix(out.String(), clearScreen+"no delivery streams") {
		t.Errorf("got %v, %q", err, &out)
	}
	out.Reset()
	if err := command.complain(errors.New("gone"), &out, true); err != nil || !strings.HasPrefix(out.String(), clearScreen+"gone;") {
		t.Errorf("got %v, %q", err, &out)
	}
	if terminal(&out) {
		t.Error("a buffer counts as a terminal")
	}
}

func TestRunEnded(t *testing.T) {
	in := newInstallation(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	command := Command{NATS: in.cfg, Since: time.Hour, WatchInterval: time.Second}
	if err := command.Run(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context ended", err)
	}
	command.Watch = true
	in.must(command.Run(ctx, io.Discard))
}

func TestUnknownStream(t *testing.T) {
	in := newInstallation(t)
	command := Command{NATS: in.cfg, Since: time.Hour, Streams: []names.Stream{"nobody"}}
	err := command.Run(t.Context(), io.Discard)
	if !errors.Is(err, catalog.ErrNotFound) || err.Error() != "delivery stream not found: nobody" {
		t.Errorf("got %v", err)
	}
}

func TestSettings(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string // of the error
	}{
		{"none", nil, ""},
		{"all", []string{"orders", "web.clicks", "--since=1h", "--json", "--watch", "--watch-interval=5s", "--nats-url=nats://a:1"}, ""},
		{"since is nothing", []string{"--since=0s"}, "--since (HYDRANT_SINCE): 0s is not accepted; use 1s to 336h0m0s"},
		{"since is long", []string{"--since=1000h"}, "--since (HYDRANT_SINCE): 1000h0m0s is not accepted"},
		{"interval is short", []string{"--watch-interval=1ms"}, "--watch-interval (HYDRANT_WATCH_INTERVAL): 1ms is not accepted; use 100ms or more"},
		{"NATS is wrong", []string{"--replicas=2"}, "--replicas (HYDRANT_REPLICAS): 2 is not accepted"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var program struct {
				Status Command `cmd:""`
			}
			parser, err := settings.Parser("hydrant", "", &program, io.Discard, io.Discard, func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			_, err = parser.Parse(append([]string{"status"}, test.args...))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
	var program struct {
		Status Command `cmd:""`
	}
	parser := kong.Must(&program)
	if _, err := parser.Parse([]string{"status", "a", "b", "--json"}); err != nil {
		t.Fatal(err)
	}
	got := program.Status
	if len(got.Streams) != 2 || got.Streams[1] != "b" || !got.JSON || got.Since != 24*time.Hour || got.WatchInterval != 2*time.Second {
		t.Errorf("got %+v", got)
	}
}
