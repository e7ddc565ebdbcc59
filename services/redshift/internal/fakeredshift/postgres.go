// Package fakeredshift is test support: a database that loads as Redshift does, and can be told to fail, to stall, and to carry a
// transaction out and lose the answer. Nothing but tests may import it.
//
// It is a real PostgreSQL behind a proxy of its protocol. Everything goes to PostgreSQL as it is, but for COPY … FROM 's3://…', which the
// test says what to do instead of: locks, snapshots and transactions are PostgreSQL's own. As with Redshift, transactions read
// from the snapshot of their first statement.
package fakeredshift

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// The database's first user.
const (
	User     = "owner"
	Password = "own3r-pa55word"
)

const startTime = 30 * time.Second

// ErrMissing says that there is no PostgreSQL on this machine.
var ErrMissing = errors.New("PostgreSQL is not installed: apt-get install postgresql")

// Postgres is a PostgreSQL server of the test's own.
type Postgres struct {
	Address string
	dir     string
	process *exec.Cmd
	ended   chan struct{}
}

// StartPostgres makes a server on a free port, and waits until it answers.
func StartPostgres() (*Postgres, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fakeredshift-")
	if err != nil {
		return nil, err
	}
	p := &Postgres{dir: dir, ended: make(chan struct{})}
	if err := p.start(bin); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, nil
}

// programs is the folder with the programs of PostgreSQL: Debian's newest, which it keeps off the path, or those on the path.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err == nil && len(found) > 0 {
		return filepath.Dir(slices.Max(found)), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", ErrMissing
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

func (p *Postgres) start(bin string) error {
	as, err := unprivileged(p.dir)
	if err != nil {
		return err
	}
	secret := filepath.Join(p.dir, "password")
	if err := os.WriteFile(secret, []byte(Password), 0o644); err != nil { //nolint:gosec // of a test, for another user
		return err
	}
	data := filepath.Join(p.dir, "data")
	made := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", User, "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync") //nolint:noctx // it ends
	made.SysProcAttr = as
	made.Dir = p.dir
	if output, err := made.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, output)
	}
	if p.Address, err = freeAddress(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(p.Address)
	p.process = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-h", "127.0.0.1", "-p", port, "-k", "", "-F", //nolint:noctx // Stop ends it
		"-c", "default_transaction_isolation=repeatable read", "-c", "max_connections=100")
	p.process.SysProcAttr, p.process.Dir = as, p.dir
	log, err := os.Create(p.logFile())
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own
	p.process.Stdout, p.process.Stderr = log, log
	if err := p.process.Start(); err != nil {
		return err
	}
	go p.wait()
	return p.await(filepath.Join(bin, "pg_isready"))
}

func (p *Postgres) wait() {
	defer close(p.ended)
	_ = p.process.Wait() // Stop ended it, or await tells of it
}

// unprivileged is the attributes of a process that is not root's, as PostgreSQL wants it, and gives it the folder.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		who, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(who.Uid, 10, 32)
		gid, _ := strconv.ParseUint(who.Gid, 10, 32)
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, errors.New("there is no user postgres or nobody that PostgreSQL could run as")
}

func (p *Postgres) logFile() string { return filepath.Join(p.dir, "log") }

func freeAddress() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// await waits until the server takes connections.
func (p *Postgres) await(ready string) error {
	host, port, _ := net.SplitHostPort(p.Address)
	deadline := time.After(startTime)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if exec.Command(ready, "-q", "-h", host, "-p", port).Run() == nil { //nolint:noctx // it ends
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.ended:
			said, _ := os.ReadFile(p.logFile())
			return fmt.Errorf("PostgreSQL ended: %s", said)
		case <-deadline:
			return errors.Join(errors.New("PostgreSQL does not answer"), p.Stop())
		}
	}
}

// Stop ends the server, and removes what it kept.
func (p *Postgres) Stop() error {
	_ = p.process.Process.Signal(syscall.SIGQUIT) // at once; it may have ended by itself
	<-p.ended
	return os.RemoveAll(p.dir)
}
