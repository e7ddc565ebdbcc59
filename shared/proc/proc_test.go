package proc_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/shared/proc"
)

// roleVariable makes the test binary play the child process.
const roleVariable = "HYDRANT_TEST_PROC_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3) //nolint:forbidigo // Here the test binary is the child process, and this its main.
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// play is the child process. Its argument is the address that it serves /readyz on.
func play(role string, args []string) error {
	switch role {
	case "server":
		return serve(args[0], heedSIGTERM())
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		return serve(args[0], func() { select {} })
	case "parent":
		wait := heedSIGTERM()
		child := exec.Command(os.Args[0], args...)
		child.Env = append(os.Environ(), roleVariable+"=stubborn")
		if err := child.Start(); err != nil {
			return err
		}
		wait()
		return nil
	case "guardian":
		wait := heedSIGTERM()
		// It starts a child the way the tests do, and is killed itself.
		_, err := proc.Start(proc.Spec{
			Name: "orphan", Path: os.Args[0], Args: args, Env: []string{roleVariable + "=stubborn"},
		})
		if err != nil {
			return err
		}
		wait()
		return nil
	}
	return fmt.Errorf("no such role: %s", role)
}

// heedSIGTERM returns what waits for the signal, which from now on does not kill: who is told that the process is ready may send it.
func heedSIGTERM() (wait func()) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	return func() { <-terminated }
}

// serve returns when the wait is over.
func serve(address string, wait func()) error {
	fmt.Fprintln(os.Stdout, "serving", address)
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}), ReadHeaderTimeout: time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	over := make(chan struct{})
	go func() { wait(); close(over) }()
	select {
	case err := <-failed:
		return err
	case <-over:
		return server.Close()
	}
}

// child is a process under test and the address on which it, or a child of its own, serves.
type child struct {
	*proc.Process
	address string
}

func start(t *testing.T, role string) child {
	t.Helper()
	port, err := proc.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	c := child{address: address, Process: proc.StartTest(t, proc.Spec{
		Name:    role,
		Path:    os.Args[0],
		Args:    []string{address},
		Env:     []string{roleVariable + "=" + role},
		LogFile: filepath.Join(t.TempDir(), "log"),
	})}
	c.ready(t)
	return c
}

func (c child) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.WaitReady(ctx, "http://"+c.address+"/readyz"); err != nil {
		t.Fatal(err)
	}
}

// answers tells whether the child answers within a moment.
func (c child) answers(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	return c.WaitReady(ctx, "http://"+c.address+"/readyz") == nil
}

// listens tells whether anyone holds the child's port.
func (c child) listens() bool {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

func (c child) assertReaped(t *testing.T) {
	t.Helper()
	select {
	case <-c.Exited():
	default:
		t.Error("Exited is not closed")
	}
	// A zombie would still take the signal.
	if err := syscall.Kill(c.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestKill(t *testing.T) {
	c := start(t, "server")
	c.Kill()
	c.assertReaped(t)
	var exit *exec.ExitError
	if err := c.ExitErr(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("got %v", err)
	}
	c.Kill()
	if err := c.Pause(); err == nil {
		t.Error("a process that has ended was paused")
	}
}

func TestKillConcurrently(t *testing.T) {
	c := start(t, "server")
	var killers sync.WaitGroup
	for range 8 {
		killers.Go(c.Kill)
	}
	killers.Wait()
	c.assertReaped(t)
}

func TestKillReachesGrandchildren(t *testing.T) {
	c := start(t, "parent")
	c.Kill()
	eventually(t, "the grandchild has ended", func() bool { return !c.listens() })
}

func TestGrandchildrenDieWithAProcessThatEndsByItself(t *testing.T) {
	c := start(t, "parent")
	if err := c.Terminate(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the grandchild has ended", func() bool { return !c.listens() })
}

func TestPauseAndResume(t *testing.T) {
	c := start(t, "server")
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is paused", func() bool { return !c.answers(t) })
	wantPaused(t, c, true)
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	c.ready(t)
	wantPaused(t, c, false)
	c.Kill()
	if paused, err := c.Paused(); paused || err == nil {
		t.Errorf("after its end: %v, %v", paused, err)
	}
}

func wantPaused(t *testing.T, c child, want bool) {
	t.Helper()
	if paused, err := c.Paused(); paused != want || err != nil {
		t.Errorf("paused: %v, %v; want %v", paused, err, want)
	}
}

func TestKillWhilePaused(t *testing.T) {
	c := start(t, "server")
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	c.assertReaped(t)
}

func TestTerminate(t *testing.T) {
	c := start(t, "server")
	if err := c.Terminate(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	c.assertReaped(t)
	if err := c.Terminate(time.Second); err == nil {
		t.Error("no error for a process that has ended")
	}
}

func TestTerminateWhilePaused(t *testing.T) {
	c := start(t, "server")
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Terminate(20 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestTerminateTakesTooLong(t *testing.T) {
	c := start(t, "stubborn")
	if err := c.Terminate(50 * time.Millisecond); err == nil {
		t.Error("no error")
	}
	if !c.listens() {
		t.Error("the process does not run any more")
	}
	c.Kill()
	c.assertReaped(t)
}

func TestRestart(t *testing.T) {
	c := start(t, "server")
	first, exited := c.PID(), c.Exited()
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	<-exited
	c.ready(t)
	if c.PID() == first {
		t.Error("it has the same pid")
	}
	select {
	case <-c.Exited():
		t.Error("Exited is closed for the new life")
	default:
	}
	if n := strings.Count(c.LogTail(1<<20), "serving"); n != 2 {
		t.Errorf("%d lives in the log:\n%s", n, c.LogTail(1<<20))
	}
	c.Kill()
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	c.ready(t)
}

func TestExitIsNoticed(t *testing.T) {
	p := proc.StartTest(t, proc.Spec{
		Name: "broken", Path: os.Args[0], Env: []string{roleVariable + "=nonsense"},
		LogFile: filepath.Join(t.TempDir(), "log"),
	})
	err := p.WaitReady(t.Context(), "http://127.0.0.1:1/readyz")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v", err)
	}
	<-p.Exited()
	if err := p.Terminate(time.Second); err == nil {
		t.Error("no error")
	}
	if tail := p.LogTail(8); tail != "onsense\n" {
		t.Errorf("the log ends with %q", tail)
	}
}

func TestWaitReadyTellsTheReason(t *testing.T) {
	c := start(t, "server")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := c.WaitReady(ctx, "http://"+c.address+"/elsewhere")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestStartFails(t *testing.T) {
	for name, spec := range map[string]proc.Spec{
		"no binary": {Path: filepath.Join(t.TempDir(), "missing")},
		"no log":    {Path: os.Args[0], LogFile: filepath.Join(t.TempDir(), "missing", "log")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := proc.Start(spec); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestFreePort(t *testing.T) {
	given := map[int]bool{}
	for range 200 {
		port, err := proc.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if given[port] {
			t.Fatalf("port %d is given twice", port)
		}
		given[port] = true
	}
	for port := range given {
		socket, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		socket.Close()
	}
}
