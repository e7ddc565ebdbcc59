package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/internal/deploy"
	"hydrant/shared/proc"
)

// Names of the parts of an installation.
const (
	partNATS     = "nats-server"
	partIngest   = "ingest"
	partBuffer   = "buffer"
	partSink     = "s3sink"
	partES       = "es"
	partRedshift = "redshift"
	partS3       = "s3"
	partAllInOne = "hydrant run"
	partStandIn  = "redshift-standin"

	partBentoPut     = "bento put"
	partBentoDeliver = "bento deliver"
)

const (
	storeBytes = 24 << 30
	startTime  = time.Minute
	stopTime   = 90 * time.Second
)

// installation is Hydrant, running: the services as processes, or all in one.
type installation struct {
	dir      string
	programs deploy.Programs
	addr     addresses
	bento    string // the program
	parts    map[string]*proc.Process
	order    []string // in which they were started

	conn *nats.Conn
	js   jetstream.JetStream
}

// addresses are host:port.
type addresses struct {
	api, s3, nats, monitor, admin, buffer, sink, es, redshift, standIn string

	postgres string // behind the stand-in, which starts when it is known
}

func newInstallation(dir string, programs deploy.Programs) (*installation, error) {
	i := &installation{dir: dir, programs: programs, parts: map[string]*proc.Process{}}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	a := &i.addr
	for _, addr := range []*string{&a.api, &a.s3, &a.nats, &a.monitor, &a.admin, &a.buffer, &a.sink, &a.es, &a.redshift, &a.standIn} {
		port, err := proc.FreePort()
		if err != nil {
			return nil, err
		}
		*addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return i, nil
}

// startProcesses starts NATS, and of the services those that are named, each as a process of its own, on an empty directory.
func startProcesses(ctx context.Context, dir string, programs deploy.Programs, services ...string) (*installation, error) {
	i, err := newInstallation(dir, programs)
	if err != nil {
		return nil, err
	}
	if err := i.startAll(ctx, append([]string{partNATS}, services...)); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// startAllInOne starts the all-in-one program on an empty directory.
func startAllInOne(ctx context.Context, dir string, programs deploy.Programs) (*installation, error) {
	i, err := newInstallation(dir, programs)
	if err != nil {
		return nil, err
	}
	if err := i.startAll(ctx, []string{partAllInOne}); err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

func (i *installation) startAll(ctx context.Context, parts []string) error {
	for _, name := range parts {
		if err := i.start(ctx, name); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	}
	return i.connect()
}

// start starts one part, and waits until it is ready.
func (i *installation) start(ctx context.Context, name string) error {
	if name == partNATS {
		config := deploy.NATSConfig(i.addr.nats, i.addr.monitor, filepath.Join(i.dir, "nats"), storeBytes)
		if err := os.WriteFile(i.natsConfig(), config, 0o600); err != nil {
			return err
		}
	}
	p, err := proc.Start(i.spec(name))
	if err != nil {
		return err
	}
	i.parts[name] = p
	i.order = append(i.order, name)
	return i.waitReady(ctx, name)
}

// end ends one part, which may be started again.
func (i *installation) end(name string) error {
	p := i.parts[name]
	delete(i.parts, name)
	i.order = slices.DeleteFunc(i.order, func(other string) bool { return other == name })
	if err := p.Terminate(stopTime); err != nil {
		p.Kill()
		return err
	}
	return nil
}

func (i *installation) natsConfig() string { return filepath.Join(i.dir, "nats.conf") }

func (i *installation) spec(name string) proc.Spec {
	s := proc.Spec{Name: name, LogFile: filepath.Join(i.dir, filepath.Base(name)+".log")}
	a := i.addr
	switch name {
	case partBentoPut, partBentoDeliver:
		return i.bentoSpec(s)
	case partNATS:
		s.Path, s.Args = i.programs.Path("nats-server"), []string{"-c", i.natsConfig()}
	case partIngest:
		s.Path, s.Args = i.programs.Path("hydrant-ingest"), []string{"--listen", a.api, "--admin-addr", a.admin}
	case partBuffer:
		s.Path, s.Args = i.programs.Path("hydrant-buffer"), []string{"--admin-addr", a.buffer}
	case partSink:
		s.Path, s.Args = i.programs.Path("hydrant-s3sink"), []string{"--admin-addr", a.sink, "--s3-create-buckets"}
	case partES:
		s.Path, s.Args = i.programs.Path("hydrant-es"), []string{"--admin-addr", a.es}
	case partRedshift:
		s.Path, s.Args = i.programs.Path("hydrant-redshift"), []string{"--admin-addr", a.redshift}
	case partStandIn:
		return i.standInSpec(s)
	case partS3:
		s.Path, s.Args = i.programs.Path("hydrant"), []string{"s3-server", "--alone"}
		s.Env = deploy.S3Env(a.s3, filepath.Join(i.dir, "s3"))
		return s
	case partAllInOne:
		s.Path = i.programs.Path("hydrant")
		s.Args = []string{"run", "--data-dir", i.dir, "--listen", a.api, "--s3-listen", a.s3, "--nats-listen", a.nats,
			"--nats-monitor-listen", a.monitor, "--admin-addr", a.admin, "--store-bytes", strconv.FormatInt(storeBytes, 10)}
	}
	s.Env = i.settings()
	return s
}

// settings are those that the services need to find each other. All others are at their defaults: what is measured is what
// a user gets.
func (i *installation) settings() []string {
	return []string{
		"HYDRANT_LOG_LEVEL=warn",
		"HYDRANT_NATS_URL=nats://" + i.addr.nats, "HYDRANT_NATS_MONITOR_URL=http://" + i.addr.monitor,
		"HYDRANT_S3_ENDPOINT=http://" + i.addr.s3, "HYDRANT_S3_PATH_STYLE=true",
		"HYDRANT_S3_ACCESS_KEY_ID=" + s3Key, "HYDRANT_S3_SECRET_ACCESS_KEY=" + s3Secret,
	}
}

// waitReady waits for a part's readiness, or of the S3 server, which has none, for an answer of any kind.
func (i *installation) waitReady(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	p := i.parts[name]
	switch name {
	case partNATS:
		return p.WaitReady(ctx, "http://"+i.addr.monitor+"/healthz")
	case partBuffer:
		return p.WaitReady(ctx, "http://"+i.addr.buffer+"/readyz")
	case partSink:
		return p.WaitReady(ctx, "http://"+i.addr.sink+"/readyz")
	case partES:
		return p.WaitReady(ctx, "http://"+i.addr.es+"/readyz")
	case partRedshift:
		return p.WaitReady(ctx, "http://"+i.addr.redshift+"/readyz")
	case partStandIn:
		return i.waitStandIn(ctx)
	case partBentoPut, partBentoDeliver:
		return p.WaitReady(ctx, "http://"+i.bentoAdmin(name)+"/ready")
	case partS3:
		return i.waitS3(ctx)
	default:
		return p.WaitReady(ctx, "http://"+i.addr.admin+"/readyz")
	}
}

func (i *installation) waitS3(ctx context.Context) error {
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if err := i.alive(); err != nil {
			return false, err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.addr.s3, nil)
		if err != nil {
			return false, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, nil //nolint:nilerr // It does not listen yet.
		}
		return true, answer.Body.Close()
	})
}

func (i *installation) connect() error {
	conn, err := nats.Connect("nats://"+i.addr.nats, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // by default they are printed; NATS is restarted on purpose
	if err != nil {
		return err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	i.conn, i.js = conn, js
	return nil
}

// alive fails with the end of its log if a part has ended.
func (i *installation) alive() error {
	var err error
	for name, p := range i.parts {
		select {
		case <-p.Exited():
			err = errors.Join(err, fmt.Errorf("%s has ended: %w; its log ends with: %s", name, p.ExitErr(), p.LogTail(1000)))
		default:
		}
	}
	return err
}

// pids are the process ids of the parts, and of the S3 server that the all-in-one has for a child.
func (i *installation) pids() map[string]int {
	pids := map[string]int{}
	for name, p := range i.parts {
		pids[name] = p.PID()
	}
	if one, ok := pids[partAllInOne]; ok {
		if children, err := machine.Children(one); err == nil && len(children) == 1 {
			pids[partS3] = children[0]
		}
	}
	return pids
}

// close ends everything and removes what it has stored.
func (i *installation) close() error {
	err := i.alive()
	if i.conn != nil {
		i.conn.Close()
	}
	for n := len(i.order) - 1; n >= 0; n-- {
		i.parts[i.order[n]].Kill()
	}
	return errors.Join(err, i.remove())
}

// remove removes the directory. The S3 server that an all-in-one leaves behind notices a moment later that its parent is
// gone, and may write until then.
func (i *installation) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), settleTime)
	defer cancel()
	var last error
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		last = os.RemoveAll(i.dir)
		return last == nil, nil
	})
	return errors.Join(err, last)
}

// poll asks until the answer is yes. It fails when asking does, or when the context ends.
func poll(ctx context.Context, every time.Duration, yes func() (bool, error)) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if done, err := yes(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
