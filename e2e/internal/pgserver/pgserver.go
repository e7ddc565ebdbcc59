// Package pgserver runs a real PostgreSQL for tests, of the programs that the system has: apt-get install postgresql.
//
// Each server is one of its own, with data of its own, on a port of 127.0.0.1, with fsync on. It does not run as root: where
// the test does, the server is user postgres, or nobody. It is killed and stopped with all of its processes, which PostgreSQL
// starts each in a group of its own.
package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"hydrant/e2e/internal/proc"
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

// Server is a PostgreSQL with its data.
type Server struct {
	process *proc.Process
	Addr    string // 127.0.0.1:port, the same after a restart
}

// Node is a server that runs until its test ends.
type Node struct {
	*Server

	t testing.TB
}

// Start runs a server and waits until it is ready. Where PostgreSQL is not installed, the test is skipped, and fails where CI is
// set.
func Start(t testing.TB) *Node {
	t.Helper()
	programs, err := find()
	if err != nil {
		Missing(t, err)
	}
	dir, err := folder()
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := run(t.Context(), programs, dir)
	must(t, err)
	t.Cleanup(func() {
		server.Kill()
		if t.Failed() {
			t.Logf("the end of PostgreSQL's log:\n%s", server.process.LogTail(8<<10))
		}
	})
	return &Node{server, t}
}

// Run is Start for a program. The server keeps what it has in a new folder, which remove deletes after it was killed.
func Run(ctx context.Context) (_ *Server, remove func() error, err error) {
	programs, err := find()
	if err != nil {
		return nil, nil, err
	}
	dir, err := folder()
	if err != nil {
		return nil, nil, err
	}
	server, err := run(ctx, programs, dir)
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

// find returns the folder of PostgreSQL's programs. Debian keeps them, by version, where no path leads.
func find() (string, error) {
	folders, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", err
	}
	slices.SortFunc(folders, func(a, b string) int { return version(b) - version(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		folders = append(folders, filepath.Dir(path))
	}
	for _, dir := range folders {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", ErrNotInstalled
}

func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// folder makes one that only whom the server runs as can read. A test's own folder lies in one that only root can enter.
func folder() (string, error) {
	dir, err := os.MkdirTemp("", "hydrant-postgres-")
	if err != nil {
		return "", err
	}
	owner, err := account()
	if err == nil && owner != nil {
		err = os.Chown(dir, int(owner.Uid), int(owner.Gid))
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// account is whom the server runs as, nil for who runs the test.
func account() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		found, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, uidErr := strconv.ParseUint(found.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: true}, errors.Join(uidErr, gidErr)
}

func run(ctx context.Context, programs, dir string) (*Server, error) {
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
	settings := []string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(port), "unix_socket_directories=", "shared_buffers=32MB",
		"max_connections=60", "autovacuum=off", "log_statement=none", "max_wal_size=256MB",
	}
	args := []string{"-D", data}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	server := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port)}
	server.process, err = proc.Start(proc.Spec{
		Name: "postgres", Path: filepath.Join(programs, "postgres"), Args: args, LogFile: filepath.Join(dir, "log"), User: owner,
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

// initialise makes the data of a new server. Only that is not synced: what is committed later is.
func initialise(ctx context.Context, programs, dir, data string, owner *syscall.Credential) error {
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o644); err != nil { //nolint:gosec // the folder is closed to others
		return err
	}
	initdb := exec.CommandContext(ctx, filepath.Join(programs, "initdb"), "--pgdata", data, "--username", User, "--pwfile", password,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	initdb.Dir = dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, output)
	}
	return nil
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
	conn, err := pgconn.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Kill kills all of the server's processes at once, as a machine does that loses its power, and returns when they are gone.
func (s *Server) Kill() {
	children := s.freeze()
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.process.Kill()
	awaitGone(children)
}

// Pause stops all of the server's processes.
func (s *Server) Pause() error {
	for _, pid := range s.freeze() {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("pause PostgreSQL: %w", err)
		}
	}
	return nil
}

// Resume lets a server go on that was paused.
func (s *Server) Resume() error {
	for _, pid := range childrenOf(s.process.PID()) {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("resume PostgreSQL: %w", err)
		}
	}
	return s.process.Resume()
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
