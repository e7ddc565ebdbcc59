package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/shared/natstest"
)

// mainEnv makes the test binary a program: its value says what the service does.
const mainEnv = "SERVICE_TEST_MAIN"

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(mainEnv); behaviour != "" {
		os.Exit(Main("hydrant-test", "A service for a test.", func(cfg testConfig, rt Runtime) (Service, error) {
			return newTestService(behaviour, cfg, rt)
		}))
	}
	goleak.VerifyTestMain(m)
}

type testConfig struct {
	Color string `name:"color" default:"red" help:"Color."`
}

func (c testConfig) Validate() error {
	if c.Color == "green" {
		return errors.New("--color (HYDRANT_COLOR): green is not accepted; use red")
	}
	return nil
}

type testService struct {
	behaviour string
	rt        Runtime
}

func newTestService(behaviour string, cfg testConfig, rt Runtime) (Service, error) {
	if behaviour == "build fails" {
		return nil, errors.New("cannot be built with " + cfg.Color)
	}
	return &testService{behaviour, rt}, nil
}

func (s *testService) Ready() error { return nil }

func (s *testService) Run(ctx context.Context) error {
	s.rt.Log.Info("running")
	switch s.behaviour {
	case "fails":
		return errors.New("out of luck")
	case "ends":
		return nil
	case "is cancelled by itself":
		return context.Canceled
	}
	<-ctx.Done()
	s.rt.Log.Info("finishing")
	if s.behaviour == "fails at the end" {
		return errors.New("could not finish")
	}
	return ctx.Err()
}

// process is the test binary as a service.
type process struct {
	*exec.Cmd
	stdout, stderr output
}

// output may be read while the process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func start(t *testing.T, behaviour string, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], args...)}
	p.Env = append(append(os.Environ(), mainEnv+"="+behaviour, "GORACE=atexit_sleep_ms=0"), env...)
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// end waits for the process and returns its exit status.
func (p *process) end(t *testing.T) int {
	t.Helper()
	timer := time.AfterFunc(time.Minute, func() { _ = p.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.ProcessState.ExitCode()
}

func TestExitStatus(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, c := range []struct {
		name, behaviour string
		env, args       []string
		want            int
		stdout, stderr  string
	}{
		{"the service fails", "fails", nil, nil, 1, "", "out of luck"},
		{"the service ends by itself", "ends", nil, nil, 1, "", "ended by itself"},
		{"the service is cancelled by itself", "is cancelled by itself", nil, nil, 1, "", "canceled"},
		{"it cannot be built", "build fails", nil, nil, 2, "", "hydrant-test: cannot be built with red"},
		{"a wrong flag", "runs", nil, []string{"--log-level=loud"}, 2, "", "HYDRANT_LOG_LEVEL"},
		{"an unknown flag", "runs", nil, []string{"--nonsense"}, 2, "", "--nonsense"},
		{"a wrong variable", "runs", []string{"HYDRANT_COLOR=green"}, nil, 2, "", "green is not accepted"},
		{"an admin port that is taken", "runs", nil, []string{"--admin-addr=" + taken.Addr().String()}, 1, "", "HYDRANT_ADMIN_ADDR"},
		{"help", "runs", nil, []string{"--help"}, 0, "$HYDRANT_ADMIN_ADDR", ""},
		{"version", "runs", nil, []string{"--version"}, 0, "development", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, c.behaviour, c.env, c.args...)
			if got := p.end(t); got != c.want {
				t.Errorf("exit status %d, want %d", got, c.want)
			}
			if !strings.Contains(p.stdout.String(), c.stdout) || !strings.Contains(p.stderr.String(), c.stderr) {
				t.Errorf("it writes %q and, as errors, %q", p.stdout.String(), p.stderr.String())
			}
		})
	}
}

func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name, behaviour string
		signal          syscall.Signal
		want            int
	}{
		{"SIGTERM", "runs", syscall.SIGTERM, 0},
		{"SIGINT", "runs", syscall.SIGINT, 0},
		{"SIGTERM, and it cannot finish", "fails at the end", syscall.SIGTERM, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, c.behaviour, nil, "--log-format=json")
			natstest.WaitFor(t, "it runs", func() bool { return strings.Contains(p.stderr.String(), `"msg":"running"`) })
			if err := p.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if got := p.end(t); got != c.want {
				t.Errorf("exit status %d, want %d", got, c.want)
			}
			log := p.stderr.String()
			if !strings.Contains(log, "finishing") || !strings.Contains(log, `"msg":"stopped"`) || !strings.Contains(log, `"service":"hydrant-test"`) {
				t.Errorf("the log is\n%s", log)
			}
		})
	}
}

func TestRunAll(t *testing.T) {
	failed := errors.New("failed")
	untilCancelled := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	returns := func(err error) func(context.Context) error {
		return func(context.Context) error { return err }
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		parts []func(context.Context) error
		want  error
	}{
		{"nothing", t.Context(), nil, nil},
		{"all end well", t.Context(), []func(context.Context) error{returns(nil), returns(nil)}, nil},
		{"a failure ends the others", t.Context(), []func(context.Context) error{untilCancelled, returns(failed), untilCancelled}, failed},
		{"a part that ends well leaves the others", t.Context(), []func(context.Context) error{
			returns(nil), func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return errors.New("was ended")
				case <-time.After(20 * time.Millisecond):
					return nil
				}
			},
		}, nil},
		{"told to end", ended, []func(context.Context) error{untilCancelled, untilCancelled}, nil},
		{"a failure while it is told to end", ended, []func(context.Context) error{untilCancelled, returns(failed)}, failed},
		{"a wrapped end", ended, []func(context.Context) error{returns(fmt.Errorf("x: %w", context.Canceled))}, nil},
		{"cancelled, and nobody was told to end", t.Context(), []func(context.Context) error{returns(context.Canceled), untilCancelled}, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := RunAll(c.ctx, c.parts...); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
		})
	}
	both := errors.New("also failed")
	err := RunAll(t.Context(), returns(failed), returns(both))
	if !errors.Is(err, failed) || !errors.Is(err, both) {
		t.Errorf("of two failures is told %v", err)
	}
}

func TestLogger(t *testing.T) {
	for _, c := range []struct {
		cfg  LogConfig
		want []slog.Level
		json bool
	}{
		{LogConfig{"debug", "text"}, []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}, false},
		{LogConfig{"info", "json"}, []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError}, true},
		{LogConfig{"warn", "text"}, []slog.Level{slog.LevelWarn, slog.LevelError}, false},
		{LogConfig{"error", "json"}, []slog.Level{slog.LevelError}, true},
	} {
		t.Run(c.cfg.LogLevel, func(t *testing.T) {
			var out bytes.Buffer
			log := c.cfg.Logger(&out)
			for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				log.Log(t.Context(), level, "message")
			}
			written := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(written) != len(c.want) {
				t.Fatalf("%d lines, want %d:\n%s", len(written), len(c.want), out.String())
			}
			for i, line := range written {
				if !strings.Contains(line, c.want[i].String()) || json.Valid([]byte(line)) != c.json {
					t.Errorf("line %q, want level %s, JSON %t", line, c.want[i], c.json)
				}
			}
		})
	}
}
