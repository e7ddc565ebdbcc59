// Package proc is test support: it runs a built binary as a child process that a test kills, stops and starts again. Nothing but
// tests and benchmarks may import it.
//
// A child leads a process group of its own, so that what it starts dies with it. None is left behind: it is reaped as
// soon as it ends, its group is killed then, and on Linux it dies with the test's process, however that ends.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Spec says what to run.
type Spec struct {
	// Name is how the process is called in errors, such as ingest-1.
	Name string
	// Path is the binary.
	Path string
	Args []string
	// Dir is where it runs, the parent's own folder if empty.
	Dir string
	// Env holds NAME=value pairs, which are added to the parent's environment.
	Env []string
	// LogFile gets what the process writes to its standard output and error, appended; it is dropped if empty.
	LogFile string
	// User is whom the process runs as, for a program that does not run as root; nil for the parent's.
	User *syscall.Credential
}

// Process is a child process, running or ended. Its methods may be called concurrently.
type Process struct {
	spec Spec

	// changing is held while the process is started, killed or terminated.
	changing sync.Mutex

	mu      sync.Mutex
	current *run
}

// run is one life of a process.
type run struct {
	pid    int
	exited chan struct{}

	mu sync.Mutex
	// reaped and err are set before exited is closed. After reaping, the pid may be another's.
	reaped bool
	err    error
}

// errExited is returned for a signal to a process that has ended.
var errExited = errors.New("the process has exited")

// Start runs the binary.
func Start(spec Spec) (*Process, error) {
	p := &Process{spec: spec}
	if err := p.start(); err != nil {
		return nil, err
	}
	return p, nil
}

// StartTest runs the binary until the test ends, and shows the end of its log if the test has failed.
func StartTest(t testing.TB, spec Spec) *Process {
	t.Helper()
	p, err := Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() && spec.LogFile != "" {
			t.Logf("the end of %s's log:\n%s", spec.Name, p.LogTail(8<<10))
		}
	})
	return p
}

// Name returns the process's name.
func (p *Process) Name() string { return p.spec.Name }

// PID returns the process id of the present or last life.
func (p *Process) PID() int { return p.life().pid }

// Exited returns a channel that is closed when the present life has ended. After Restart there is another.
func (p *Process) Exited() <-chan struct{} { return p.life().exited }

// ExitErr returns how the last life ended: nil for exit code 0 or while it runs, else an *exec.ExitError.
func (p *Process) ExitErr() error {
	r := p.life()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Kill sends SIGKILL to the process group and returns when the process is reaped. It may have ended before.
func (p *Process) Kill() {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.kill()
}

// Strike sends SIGKILL to the process group and does not wait. None of it does anything from then on but end what the kernel does for it:
// for what has to happen in the same moment, before Kill.
func (p *Process) Strike() error { return p.signal("strike", syscall.SIGKILL) }

// Pause stops the process group with SIGSTOP.
func (p *Process) Pause() error { return p.signal("pause", syscall.SIGSTOP) }

// Resume lets a paused process group go on with SIGCONT.
func (p *Process) Resume() error { return p.signal("resume", syscall.SIGCONT) }

// Paused tells whether the process is stopped now, by Pause or by itself.
func (p *Process) Paused() (bool, error) {
	r := p.life()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reaped {
		return false, fmt.Errorf("state of %s: %w", p.spec.Name, errExited)
	}
	letter, err := state(r.pid)
	return letter == 'T', err
}

// Connected tells whether the process has a TCP connection of which its own end has the address, an IPv4 one with its port. Only
// Linux knows.
func (p *Process) Connected(local string) (bool, error) {
	address, err := netip.ParseAddrPort(local)
	if err != nil || !address.Addr().Is4() {
		return false, fmt.Errorf("connections of %s: %q is no IPv4 address with a port", p.spec.Name, local)
	}
	r := p.life()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reaped {
		return false, fmt.Errorf("connections of %s: %w", p.spec.Name, errExited)
	}
	return connected(r.pid, address)
}

// Terminate asks the process to end with SIGTERM, which reaches it even if it is paused, and returns when it is reaped.
// After the timeout it returns an error and the process still runs. A process that ended with another exit code than 0
// is an error too.
func (p *Process) Terminate(timeout time.Duration) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	r := p.life()
	// Its children are the process's own to end.
	if err := r.signal(r.pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("terminate %s: %w", p.spec.Name, err)
	}
	// If it ended meanwhile, it was not paused.
	_ = r.signal(-r.pid, syscall.SIGCONT)
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	select {
	case <-r.exited:
	case <-deadline.C:
		return fmt.Errorf("terminate %s: it still runs after %v", p.spec.Name, timeout)
	}
	if err := p.ExitErr(); err != nil {
		return fmt.Errorf("terminate %s: %w", p.spec.Name, err)
	}
	return nil
}

// Restart runs the binary again with the same arguments, and kills the process first if it still runs.
func (p *Process) Restart() error {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.kill()
	return p.start()
}

// WaitReady polls the URL until it answers 200. It fails when the context ends or the process exits.
func (p *Process) WaitReady(ctx context.Context, url string) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	exited := p.Exited()
	for {
		err := poll(ctx, client, url)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("wait for %s: it has exited: %w", p.spec.Name, errors.Join(p.ExitErr(), err))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", p.spec.Name, errors.Join(ctx.Err(), err))
		}
	}
}

func poll(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("poll: %s answers %s: %s", url, resp.Status, reason)
	}
	return nil
}

// LogTail returns the last bytes of the log file.
func (p *Process) LogTail(size int64) string {
	file, err := os.Open(p.spec.LogFile)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if end, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(0, end-size), io.SeekStart)
	}
	text, err := io.ReadAll(io.LimitReader(file, size))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// FreePort returns a port of 127.0.0.1 on which nothing listens, and which the kernel gives to nobody who asks for any port
// for the next minute: a connection to it that was just closed keeps it in TIME_WAIT, where only who names it, as servers in
// Go do, may listen on it.
func FreePort() (int, error) {
	socket, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("free port: %w", err)
	}
	defer func() { _ = socket.Close() }()
	client, err := new(net.Dialer).DialContext(context.Background(), "tcp", socket.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("free port: %w", err)
	}
	defer func() { _ = client.Close() }()
	server, err := socket.Accept()
	if err != nil {
		return 0, fmt.Errorf("free port: %w", err)
	}
	_ = server.Close() // before the client: who closes first has to wait
	_, _ = io.Copy(io.Discard, client)
	return socket.Addr().(*net.TCPAddr).Port, nil
}

func (p *Process) life() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

func (p *Process) signal(what string, signal syscall.Signal) error {
	r := p.life()
	if err := r.signal(-r.pid, signal); err != nil {
		return fmt.Errorf("%s %s: %w", what, p.spec.Name, err)
	}
	return nil
}

// kill is called with changing held.
func (p *Process) kill() {
	r := p.life()
	// The one error there can be is that it has ended, or is about to.
	_ = r.signal(-r.pid, syscall.SIGKILL)
	<-r.exited
}

// start is called with changing held, or before anyone else has the process.
func (p *Process) start() error {
	r := &run{exited: make(chan struct{})}
	started := make(chan error, 1)
	go r.live(p.spec, started)
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = r
	return nil
}

// live runs the process from start to end.
func (r *run) live(spec Spec, started chan<- error) {
	// Linux sends the signal of Pdeathsig when the thread ends that started the child, so this one has to last as
	// long as the child does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd, err := command(spec)
	if err != nil {
		started <- err
		return
	}
	err = cmd.Start()
	closeLog(cmd)
	if err != nil {
		started <- err
		return
	}
	r.pid = cmd.Process.Pid
	started <- nil
	err = cmd.Wait()
	r.bury(err)
}

func command(spec Spec) (*exec.Cmd, error) {
	// A process ends when its owner says so, not with a context.
	cmd := exec.CommandContext(context.Background(), spec.Path, spec.Args...)
	cmd.Dir, cmd.Env = spec.Dir, append(os.Environ(), spec.Env...)
	cmd.SysProcAttr = sysProcAttr()
	cmd.SysProcAttr.Credential = spec.User
	if spec.LogFile == "" {
		return cmd, nil
	}
	file, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	return cmd, nil
}

// closeLog closes the parent's copy of the log file; the child has its own.
func closeLog(cmd *exec.Cmd) {
	if file, ok := cmd.Stdout.(*os.File); ok {
		_ = file.Close()
	}
}

// bury notes that the process has ended, and kills what it left behind: a child of it would hold on to its ports.
func (r *run) bury(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The group has the pid for its name as long as anyone is left in it, so this reaches no one else.
	_ = syscall.Kill(-r.pid, syscall.SIGKILL)
	r.reaped, r.err = true, err
	close(r.exited)
}

// signal sends a signal to the process, or with a negative pid to its group, unless it is reaped.
func (r *run) signal(pid int, signal syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reaped {
		return errExited
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return fmt.Errorf("signal %v: %w", signal, err)
	}
	return nil
}
