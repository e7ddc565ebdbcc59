package natsserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/hydrant/internal/natsserver"
	"hydrant/shared/logtest"
)

// holdStore is the argument that turns the test binary into a process that runs a server on the store directory which
// follows, says where, and waits to be killed.
const holdStore = "hold-store"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == holdStore {
		os.Exit(hold(os.Args[2])) //nolint:forbidigo // TestMain is the main of this process.
	}
	goleak.VerifyTestMain(m)
}

func hold(dir string) int {
	s, err := natsserver.Start(context.Background(), natsserver.Config{Addr: "127.0.0.1:0", StoreDir: dir, StoreBytes: 1 << 30})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, s.URL())
	// Standard input ends when the test does, however it ends.
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return 0
}

func testConfig(dir string) natsserver.Config {
	return natsserver.Config{Addr: "127.0.0.1:0", StoreDir: dir, StoreBytes: 1 << 30}
}

func mustStart(t *testing.T, cfg natsserver.Config) *natsserver.Server {
	t.Helper()
	s, err := natsserver.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// store makes a stream and puts n messages into it, each acknowledged.
func store(t *testing.T, js jetstream.JetStream, cfg jetstream.StreamConfig, n int) {
	t.Helper()
	cfg.Subjects = []string{cfg.Name}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.Publish(t.Context(), cfg.Name, []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// checkStored reads the messages of store back.
func checkStored(t *testing.T, js jetstream.JetStream, stream string, n int) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Msgs; got != uint64(n) {
		t.Fatalf("stream %s has %d messages, want %d", stream, got, n)
	}
	for i := range n {
		msg, err := s.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if string(msg.Data) != strconv.Itoa(i) {
			t.Fatalf("message %d of %s is %q", i+1, stream, msg.Data)
		}
	}
}

func TestSyncAlways(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MonitorAddr = "127.0.0.1:0"
	s := mustStart(t, cfg)
	if !s.SyncAlways() {
		t.Error("the server's own configuration says that sync always is off")
	}

	// This is what a service reads of a server that it did not start itself.
	var jsz struct {
		Config struct {
			SyncAlways bool  `json:"sync_always"`
			MaxStorage int64 `json:"max_storage"`
		} `json:"config"`
	}
	getJSON(t, s.MonitorURL()+"/jsz?config=1", &jsz)
	if !jsz.Config.SyncAlways {
		t.Error("/jsz?config=1 does not say sync_always")
	}
	if jsz.Config.MaxStorage != 1<<30 || s.StoreBytes() != 1<<30 {
		t.Errorf("the store's size is %d, StoreBytes says %d, configured are %d", jsz.Config.MaxStorage, s.StoreBytes(), 1<<30)
	}

	if got := connect(t, s.URL()).Conn().MaxPayload(); got != 1<<20 {
		t.Errorf("max payload is %d, want 1 MiB", got)
	}
}

func getJSON(t *testing.T, url string, to any) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(to); err != nil {
		t.Fatal(err)
	}
}

func TestMonitorOff(t *testing.T) {
	s := mustStart(t, testConfig(t.TempDir()))
	if s.MonitorURL() != "" {
		t.Errorf("monitoring is on %s, nothing was configured", s.MonitorURL())
	}
}

func TestURLOfAllInterfaces(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Addr = "0.0.0.0:0"
	s := mustStart(t, cfg)
	if !strings.HasPrefix(s.URL(), "nats://127.0.0.1:") {
		t.Errorf("URL is %s", s.URL())
	}
	connect(t, s.URL())
}

func TestRestartKeepsData(t *testing.T) {
	dir := t.TempDir()
	s := mustStart(t, testConfig(dir))
	store(t, connect(t, s.URL()), jetstream.StreamConfig{Name: "RECORDS"}, 10)
	s.Shutdown()

	s = mustStart(t, testConfig(dir))
	checkStored(t, connect(t, s.URL()), "RECORDS", 10)
}

func TestShutdown(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MonitorAddr = "127.0.0.1:0"
	s := mustStart(t, cfg)
	s.Shutdown()
	s.Shutdown()
	if s.SyncAlways() {
		t.Error("a server that is down says that it syncs")
	}
	for _, url := range []string{s.URL(), s.MonitorURL()} {
		_, addr, _ := strings.Cut(url, "://")
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("the port is not free: %v", err)
			continue
		}
		l.Close()
	}
}

func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	for _, tc := range []struct {
		name string
		set  func(*natsserver.Config)
	}{
		{"clients", func(c *natsserver.Config) { c.Addr = addr }},
		{"monitoring", func(c *natsserver.Config) { c.MonitorAddr = addr }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			tc.set(&cfg)
			_, err := natsserver.Start(t.Context(), cfg)
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
				t.Fatalf("error is %v, want one that names %s", err, addr)
			}
			// Nothing holds the store.
			mustStart(t, testConfig(cfg.StoreDir))
		})
	}
}

func TestTwoAddressesOnOnePort(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.Addr = freeAddr(t)
	cfg.MonitorAddr = cfg.Addr
	// Each port is free before the start, so this shows that what the server itself reports comes back as an error too.
	_, err := natsserver.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), cfg.Addr) {
		t.Fatalf("error is %v, want one that names %s", err, cfg.Addr)
	}
	mustStart(t, testConfig(cfg.StoreDir))
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestStoreInUse(t *testing.T) {
	dir := t.TempDir()
	mustStart(t, testConfig(dir))
	_, err := natsserver.Start(t.Context(), testConfig(dir))
	wantInUse(t, err, dir, os.Getpid())
}

func wantInUse(t *testing.T, err error, dir string, pid int) {
	t.Helper()
	if !errors.Is(err, syscall.EWOULDBLOCK) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), strconv.Itoa(pid)) {
		t.Fatalf("error is %v, want one that names %s and process %d", err, dir, pid)
	}
}

// A process that is killed leaves the lock free, and what it acknowledged on disk.
func TestKilledProcess(t *testing.T) {
	dir := t.TempDir()
	other, url := startProcess(t, dir)
	_, err := natsserver.Start(t.Context(), testConfig(dir))
	wantInUse(t, err, dir, other.Process.Pid)

	store(t, connect(t, url), jetstream.StreamConfig{Name: "RECORDS"}, 10)
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()

	s := mustStart(t, testConfig(dir))
	checkStored(t, connect(t, s.URL()), "RECORDS", 10)
}

// startProcess runs a server on dir in a process of its own.
func startProcess(t *testing.T, dir string) (cmd *exec.Cmd, url string) {
	t.Helper()
	cmd = exec.Command(os.Args[0], holdStore, dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the process did not come up: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

func TestStreamThatCannotBeRecovered(t *testing.T) {
	dir := t.TempDir()
	s := mustStart(t, testConfig(dir))
	js := connect(t, s.URL())
	store(t, js, jetstream.StreamConfig{Name: "FULL"}, 3)
	store(t, js, jetstream.StreamConfig{Name: "EMPTY"}, 0)
	s.Shutdown()

	sumOf := func(stream string) string {
		return filepath.Join(dir, "jetstream", "$G", "streams", stream, "meta.sum")
	}
	sum, err := os.ReadFile(sumOf("FULL"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, sumOf("FULL"), []byte("spoilt"))
	writeFile(t, sumOf("EMPTY"), []byte("spoilt"))
	var log logtest.Lines
	cfg := testConfig(dir)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	_, err = natsserver.Start(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "FULL") || strings.Contains(err.Error(), "EMPTY") {
		t.Fatalf("error is %v, want one that names the stream FULL alone", err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "checksums do not match") {
		t.Errorf("the log does not say why:\n%s", log.String())
	}

	// A stream that never held anything stops nobody.
	writeFile(t, sumOf("FULL"), sum)
	s = mustStart(t, testConfig(dir))
	checkStored(t, connect(t, s.URL()), "FULL", 3)
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o640); err != nil {
		t.Fatal(err)
	}
}

// A store that has become smaller than what the streams in it are promised does not lose a stream.
func TestSmallerStore(t *testing.T) {
	dir := t.TempDir()
	s := mustStart(t, testConfig(dir))
	store(t, connect(t, s.URL()), jetstream.StreamConfig{Name: "RECORDS", MaxBytes: 512 << 20}, 3)
	s.Shutdown()

	cfg := testConfig(dir)
	cfg.StoreBytes = 128 << 20
	s = mustStart(t, cfg)
	checkStored(t, connect(t, s.URL()), "RECORDS", 3)
}

func TestMoreThanAThousandConsumers(t *testing.T) {
	const n = 1_200
	s := mustStart(t, testConfig(t.TempDir()))
	js := connect(t, s.URL())
	// In memory, for a durable consumer costs several syncs; the limit is the same.
	cfg := jetstream.StreamConfig{Name: "BATCHES", Subjects: []string{"batches.>"}, Storage: jetstream.MemoryStorage}
	stream, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := "s3sink_" + strconv.Itoa(i)
		_, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: name, FilterSubject: "batches." + name})
		if err != nil {
			t.Fatalf("consumer %d: %v", i, err)
		}
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Consumers != n {
		t.Errorf("%d consumers, want %d", info.State.Consumers, n)
	}
}

func TestDefaultStoreBytes(t *testing.T) {
	dir := t.TempDir()
	var volume syscall.Statfs_t
	if err := syscall.Statfs(dir, &volume); err != nil {
		t.Fatal(err)
	}
	free := int64(volume.Bavail) * int64(volume.Bsize) //nolint:unconvert // The types differ between systems.
	cfg := testConfig(dir)
	cfg.StoreBytes = 0
	s := mustStart(t, cfg)
	// Others write to the volume meanwhile.
	if got := float64(s.StoreBytes()) / float64(free); got < 0.7 || got > 0.8 {
		t.Errorf("the store may take %d of %d bytes, want 75 %%", s.StoreBytes(), free)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*natsserver.Config)
		want string
	}{
		{"no port", func(c *natsserver.Config) { c.Addr = "127.0.0.1" }, `"127.0.0.1"`},
		{"no address", func(c *natsserver.Config) { c.Addr = "" }, `""`},
		{"port out of range", func(c *natsserver.Config) { c.Addr = "127.0.0.1:65536" }, "0 to 65535"},
		{"monitoring port is a word", func(c *natsserver.Config) { c.MonitorAddr = "127.0.0.1:http" }, `"127.0.0.1:http"`},
		{"no store", func(c *natsserver.Config) { c.StoreDir = "" }, "store directory"},
		{"negative size", func(c *natsserver.Config) { c.StoreBytes = -1 }, "-1"},
		{"store is a file", func(c *natsserver.Config) {
			c.StoreDir = filepath.Join(c.StoreDir, "file")
			_ = os.WriteFile(c.StoreDir, nil, 0o600)
		}, "file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t.TempDir())
			tc.set(&cfg)
			if _, err := natsserver.Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %s", err, tc.want)
			}
		})
	}
}

func TestContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := natsserver.Start(ctx, testConfig(dir)); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	mustStart(t, testConfig(dir))
}

func TestLogLevels(t *testing.T) {
	for _, tc := range []struct {
		name  string
		level slog.Level
		want  []string
		not   []string
	}{
		{"info", slog.LevelInfo, []string{"NATS server is up"}, []string{"Starting nats-server"}},
		{"debug", slog.LevelDebug, []string{`level=DEBUG msg="Starting nats-server"`}, []string{`msg=" `}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log logtest.Lines
			cfg := testConfig(t.TempDir())
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: tc.level}))
			mustStart(t, cfg).Shutdown()
			for _, w := range tc.want {
				if !strings.Contains(log.String(), w) {
					t.Errorf("the log lacks %q:\n%s", w, log.String())
				}
			}
			for _, n := range append(tc.not, "level=WARN", "level=ERROR") {
				if strings.Contains(log.String(), n) {
					t.Errorf("the log has %q:\n%s", n, log.String())
				}
			}
		})
	}
}
