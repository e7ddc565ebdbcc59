// Package pgtest is test support: it runs a real PostgreSQL, of the programs that the system has: apt-get install postgresql.
// Nothing but tests, benchmarks, and what stands in for other databases in them, may import it.
//
// Each server is one of its own, with data of its own, on a port of 127.0.0.1, with fsync on unless a test says otherwise. It
// does not run as root: where the test does, the server is user postgres, or nobody. It is killed and stopped with all of its
// processes, which PostgreSQL starts each in a group of its own.
//
// None of them outlives the process that started the server, however that ends, nor has a file of it open: somebody who
// waits for the end of its output is not kept waiting. On other systems than Linux that is so only of a process that ends by
// itself. Data of one that was killed stays in the system's temporary folder.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hydrant/shared/proc"
)

// The superuser of every server.
const (
	User     = "postgres"
	Password = "postgres-secret"
)

// ErrNotInstalled says what to do.
var ErrNotInstalled = errors.New("there is no PostgreSQL: apt-get install postgresql")

// patience is how long a server may take to be there: some seconds on two busy cores.
const patience = time.Minute

// Server is a PostgreSQL with its data. Its methods may be called concurrently.
type Server struct {
	Addr string // 127.0.0.1:port, the same after a restart

	programs string // the folder of PostgreSQL's
	dir      string // of what it keeps
	process  *proc.Process

	mu    sync.Mutex
	guard *guard // while it is paused
}

// Node is a server that runs until its test ends.
type Node struct {
	*Server

	t testing.TB
}

// Start runs a server and waits until it is ready. Settings are PostgreSQL's own, such as fsync=off. Where PostgreSQL is not
// installed, the test is skipped, and fails where CI is set.
func Start(t testing.TB, settings ...string) *Node {
	t.Helper()
	server, remove, err := Run(t.Context(), settings...)
	if err != nil {
		Missing(t, err)
	}
	t.Cleanup(func() {
		server.Kill()
		if t.Failed() {
			t.Logf("the end of PostgreSQL's log:\n%s", server.process.LogTail(8<<10))
		}
		must(t, remove())
	})
	return &Node{server, t}
}

// Run is Start for all tests of a package together, or for a program. The server keeps what it has in a new folder, which remove
// deletes after it was killed.
func Run(ctx context.Context, settings ...string) (_ *Server, remove func() error, err error) {
	programs, err := find()
	if err != nil {
		return nil, nil, err
	}
	dir, err := folder()
	if err != nil {
		return nil, nil, err
	}
	server, err := run(ctx, programs, dir, settings)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return server, func() error { return os.RemoveAll(dir) }, nil
}

// Missing ends a test that has no server: it is skipped where PostgreSQL is not installed, unless CI is set.
func Missing(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, ErrNotInstalled) || os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(ctx context.Context, programs, dir string, settings []string) (*Server, error) {
	owner, err := account()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := initialise(ctx, programs, dir, data, owner); err != nil {
		return nil, err
	}
	port, err := proc.FreePort()
	if err != nil {
		return nil, err
	}
	server := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), programs: programs, dir: dir}
	server.process, err = proc.Start(proc.Spec{
		Name: "postgres", Path: filepath.Join(programs, "postgres"), Args: arguments(data, port, settings), Dir: dir,
		LogFile: filepath.Join(dir, "log"), User: owner,
	})
	if err != nil {
		return nil, err
	}
	if err := server.AwaitReady(ctx); err != nil {
		server.Kill()
		return nil, fmt.Errorf("%w; its log ends with: %s", err, server.process.LogTail(1000))
	}
	return server, nil
}

func arguments(data string, port int, settings []string) []string {
	args := []string{"-D", data}
	for _, s := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port), "unix_socket_directories=", "shared_buffers=32MB",
		"max_connections=100", "autovacuum=off", "log_statement=none", "max_wal_size=256MB",
	}, settings...) {
		args = append(args, "-c", s)
	}
	return args
}

// URL is how a client connects as the superuser.
func (s *Server) URL(database string) string { return URL(s.Addr, User, Password, database) }

// URL is how a client connects to a server of PostgreSQL's protocol without TLS.
func URL(addr, user, password, database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: addr, Path: "/" + database, RawQuery: "sslmode=disable",
	}).String()
}

// AwaitReady waits until the server takes connections.
func (s *Server) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.process.Exited():
			return fmt.Errorf("wait for PostgreSQL: it has exited: %w", errors.Join(s.process.ExitErr(), err))
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w", errors.Join(ctx.Err(), err))
		}
	}
}

func (s *Server) try(ctx context.Context) error {
	host, port, _ := strings.Cut(s.Addr, ":")
	return exec.CommandContext(ctx, filepath.Join(s.programs, "pg_isready"), "--quiet", "--host", host, "--port", port).Run()
}

// Process is the server's first process. It alone is no server: kill and stop the server.
func (s *Server) Process() *proc.Process { return s.process }

// Kill kills all of the server's processes at once, as a machine does that loses its power, and returns when they are gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	children := s.freeze()
	_ = signal(children, syscall.SIGKILL)
	s.process.Kill()
	awaitGone(children)
	s.endGuard()
}

// Pause stops all of the server's processes.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	children := s.freeze()
	guard, err := startGuard(children)
	if err != nil {
		return fmt.Errorf("pause PostgreSQL: %w", err)
	}
	s.endGuard()
	s.guard = guard
	return signal(children, syscall.SIGSTOP)
}

// Resume lets a server go on that was paused.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.endGuard()
	return errors.Join(signal(childrenOf(s.process.PID()), syscall.SIGCONT), s.process.Resume())
}

func (s *Server) endGuard() {
	if s.guard != nil {
		s.guard.end()
		s.guard = nil
	}
}

// freeze stops the process that starts the others, so that there are no more of them than it returns.
func (s *Server) freeze() []int {
	if err := s.process.Pause(); err != nil {
		return nil // it has ended, and the others notice
	}
	return childrenOf(s.process.PID())
}

// Restart starts the server again on its data, killing it first if it still runs, and waits until it is ready.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	if err := s.process.Restart(); err != nil {
		return err
	}
	return s.AwaitReady(ctx)
}

// Restart is the server's, for a test.
func (n *Node) Restart() {
	n.t.Helper()
	must(n.t, n.Server.Restart(n.t.Context()))
}
