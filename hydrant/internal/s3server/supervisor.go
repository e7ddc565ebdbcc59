package s3server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// stopWait is how long the child may take to end after SIGTERM before it is killed.
	stopWait = 5 * time.Second
	// portWait is how long the port may still be taken at the start. The child of a parent that was killed a moment ago needs
	// a moment to notice.
	portWait = time.Second
	// pollWait is between two looks at whether the port is free, or whether the server answers.
	pollWait = 20 * time.Millisecond
)

// SupervisorConfig says what to start and what it is to serve.
type SupervisorConfig struct {
	// Command is the child's program and arguments. The default is this program with ChildArg.
	Command []string
	// Env is the child's environment beside what the supervisor hands over. The default is this process's.
	Env []string
	// Addr, Dir, AccessKey, SecretKey and Region are those of ServeConfig.
	Addr, Dir, AccessKey, SecretKey, Region string
	// Logger receives what the supervisor does, what the child prints to standard error as warnings, and what it prints to
	// standard output for debugging. If it is enabled for debugging, that is a line a request. nil discards everything.
	Logger *slog.Logger
}

// Supervisor keeps the S3 server running as a child process.
type Supervisor struct {
	command []string
	env     []string
	serve   ServeConfig
	log     *slog.Logger

	http *http.Client
	s3   *s3.Client

	ended chan struct{} // closed when Run is about to return

	mu   sync.Mutex
	pid  int   // of the child that runs, 0 before the first and between two
	last error // why the last child, or Run, ended
}

// New checks the configuration. Nothing is started before Run.
func New(cfg SupervisorConfig) (*Supervisor, error) {
	if err := checkAddr(cfg.Addr); err != nil {
		return nil, err
	}
	if cfg.AccessKey == "" || cfg.SecretKey == "" {
		return nil, errors.New("the S3 server needs an access key and a secret key")
	}
	if cfg.Dir == "" {
		return nil, errors.New("the S3 server needs a directory")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the S3 directory: %w", err)
	}
	if len(cfg.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program, to start it as the S3 server: %w", err)
		}
		cfg.Command = []string{self, ChildArg}
	}
	if cfg.Env == nil {
		cfg.Env = os.Environ()
	}
	if cfg.Region == "" {
		cfg.Region = DefaultRegion
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Supervisor{
		command: cfg.Command,
		log:     cfg.Logger,
		serve: ServeConfig{
			Addr: cfg.Addr, Dir: dir, AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey, Region: cfg.Region,
			Debug: cfg.Logger.Enabled(context.Background(), slog.LevelDebug),
		},
		ended: make(chan struct{}),
	}
	s.env = childEnv(cfg.Env, s.serve)
	s.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	s.s3 = s.newClient()
	return s, nil
}

// Run starts the server and starts it again whenever it dies, until ctx is cancelled; then it stops it and returns nil when
// it is gone. Run is to be called once.
//
// It returns an error when the address is in use, or the program cannot be started, at the first start. After that, every
// death is logged as an error and the server is started again, after 100 ms at first and at most 5 s: whoever depends on it
// sees refused connections meanwhile.
func (s *Supervisor) Run(ctx context.Context) (err error) {
	defer func() {
		s.died(err)
		close(s.ended)
	}()
	if err := waitForPort(ctx, s.serve.Addr); err != nil && ctx.Err() == nil {
		return err
	}
	var delay backoff
	for first := true; ctx.Err() == nil; first = false {
		born := time.Now()
		err := s.runChild(ctx)
		if ctx.Err() != nil {
			break
		}
		var neverRan *startError
		if first && errors.As(err, &neverRan) {
			return err
		}
		lived := time.Since(born)
		wait := delay.next(lived)
		s.died(err)
		s.log.Error("S3 server died, starting it again", "err", err, "lived", lived, "wait", wait)
		sleep(ctx, wait)
	}
	return nil
}

// runChild runs one child until it ends, by itself or because ctx is cancelled, and says why it did.
func (s *Supervisor) runChild(ctx context.Context) error {
	stdout := &lineLogger{log: s.log.Debug}
	stderr := &lineLogger{log: s.log.Warn}
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Env = s.env
	cmd.Stdout, cmd.Stderr = stdout, stderr
	// A process group of its own keeps Ctrl-C in a terminal away from the child: the parent gets it, ends what uses the
	// server first, and the server last.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWait
	// Nothing is ever written to it. That it is open tells the child that this process lives; Wait closes it.
	if _, err := cmd.StdinPipe(); err != nil {
		return &startError{err}
	}
	if err := cmd.Start(); err != nil {
		return &startError{err}
	}
	s.setPID(cmd.Process.Pid)
	s.log.Info("S3 server started", "addr", s.serve.Addr, "dir", s.serve.Dir, "pid", cmd.Process.Pid)
	err := cmd.Wait()
	stdout.flush()
	stderr.flush()
	if ctx.Err() != nil && killed(cmd.ProcessState) {
		s.log.Warn("S3 server did not end in time and was killed", "waited", stopWait)
	}
	if err == nil {
		err = errors.New("it ended without an error")
	}
	if stderr.last != "" {
		err = fmt.Errorf("%w: %s", err, stderr.last)
	}
	return err
}

// startError says that there was no child to begin with.
type startError struct{ err error }

func (e *startError) Error() string { return "start the S3 server: " + e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

func killed(state *os.ProcessState) bool {
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

func (s *Supervisor) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
}

// died records that a child, or Run, ended, and why. Nothing is known against one that was told to.
func (s *Supervisor) died(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = 0
	if err != nil {
		s.last = err
	}
}

// state is the process id of the child that runs, or 0, and why the last one ended.
func (s *Supervisor) state() (pid int, last error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid, s.last
}

// waitForPort returns when addr can be listened on. Without it a port that another program has would show as a child that
// dies again and again, or, worse, not at all: the other program could answer in its place.
func waitForPort(ctx context.Context, addr string) error {
	var listen net.ListenConfig
	deadline := time.Now().Add(portWait)
	for {
		l, err := listen.Listen(ctx, "tcp", addr)
		if err == nil {
			return l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("the S3 server cannot listen on %s: %w", addr, err)
		}
		sleep(ctx, pollWait)
	}
}

// sleep waits for d, or until ctx is cancelled.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
