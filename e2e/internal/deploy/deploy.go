package deploy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/composed"
	"hydrant/hydrant/allinone"
	"hydrant/shared/natstest"
	"hydrant/shared/proc"
)

// Kind is a way to run Hydrant.
type Kind string

// The ways to run Hydrant.
const (
	OneProcess Kind = "one process" // the test's own
	OneProgram Kind = "one program" // the same as a process of its own, which can be killed
	Processes  Kind = "processes"
	Compose    Kind = "compose"
)

// Options change what is started. Settings are environment variables of every process; of containers, those that compose.yaml gives them.
type Options struct {
	Settings   map[string]string
	StoreBytes int64 // of the JetStream store; 0 means 4 GiB
	Cluster    bool  // three NATS servers, where parts are processes: nats, nats-2 and nats-3
	// Dir is where everything is kept, a folder of the test's own if empty; what a NATS server stores is in the folder of its name there.
	Dir string
	// Unsynced has NATS servers that are processes sync as JetStream does by default: later than it acknowledges.
	Unsynced bool
	// Clocks are how far the clocks of parts are ahead of the machine's, in whole seconds, where parts are processes that BuildWithClocks built.
	Clocks map[string]time.Duration
}

// Deployment is an installation that runs until its test ends.
type Deployment struct {
	Kind Kind
	API  string // http://host:port
	S3   string
	NATS string

	t        testing.TB
	programs Programs
	options  Options
	dir      string
	ports    ports

	nats  []natsServer
	links *natstest.Links // between them, if there are several

	project *composed.Project // in Compose
	one     *oneProcess
	parts   map[string]*proc.Process // by name, in Processes
	ready   map[string]string        // readiness addresses, by the same name
}

type ports struct{ api, s3, nats, monitor, admin, buffer, sink, es, redshift int }

// Start starts an installation with an empty data directory.
func Start(t testing.TB, kind Kind, programs Programs, options Options) *Deployment {
	t.Helper()
	if !programs.Start(kind) {
		t.Fatalf("%s cannot be started with what was built: the test is to be left out, or to ask for what can (e2e/leftout_test.go)", kind)
	}
	d := &Deployment{
		Kind: kind, t: t, programs: programs, options: options, dir: t.TempDir(),
		parts: map[string]*proc.Process{}, ready: map[string]string{},
	}
	if d.options.StoreBytes == 0 {
		d.options.StoreBytes = 4 << 30
	}
	if options.Dir != "" {
		d.dir = options.Dir
	}
	if kind == Compose {
		d.startContainers()
		return d
	}
	d.choosePorts()
	if kind == OneProcess {
		for name, value := range options.Settings {
			t.Setenv(name, value)
		}
		d.startOne()
		t.Cleanup(d.stopOne)
		return d
	}
	if kind == OneProgram {
		d.startProgram()
		return d
	}
	d.startProcesses()
	return d
}

func (d *Deployment) choosePorts() {
	d.t.Helper()
	for _, p := range []*int{&d.ports.api, &d.ports.s3, &d.ports.nats, &d.ports.monitor, &d.ports.admin, &d.ports.buffer, &d.ports.sink, &d.ports.es, &d.ports.redshift} {
		port, err := proc.FreePort()
		must(d.t, err)
		*p = port
	}
	d.API, d.S3 = "http://"+local(d.ports.api), "http://"+local(d.ports.s3)
	d.nats = []natsServer{{name: "nats", port: d.ports.nats, monitor: d.ports.monitor}}
	if d.options.Cluster {
		d.nats = cluster(d.t, d.nats[0])
	}
	d.NATS = d.natsURL()
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Part is a part that is a process: a service, "s3", a NATS server, or the one "hydrant" that is everything.
func (d *Deployment) Part(name string) *proc.Process { return d.parts[name] }

// Restart stops everything as a user would, and starts it again on the same data.
func (d *Deployment) Restart() {
	d.t.Helper()
	switch d.Kind {
	case OneProcess:
		d.stopOne()
		d.startOne()
	case Compose:
		d.project.Restart()
	case Processes:
		d.restartProcesses()
	case OneProgram:
		must(d.t, d.parts["hydrant"].Terminate(stopTime))
		must(d.t, d.parts["hydrant"].Restart())
		d.WaitReady()
	}
}

// stopTime is for a part to stop. It gives itself ten seconds at most; the rest is for a busy machine.
const stopTime = time.Minute

func (d *Deployment) restartProcesses() {
	d.t.Helper()
	for _, name := range []string{"ingest", "buffer", "s3sink", "es", "redshift", "s3", "nats"} {
		must(d.t, d.parts[name].Terminate(stopTime))
	}
	for _, name := range []string{"nats", "s3", "ingest", "buffer", "s3sink", "es", "redshift"} {
		must(d.t, d.parts[name].Restart())
	}
	d.WaitReady()
}

// Stop kills one part, such as "nats", "s3" or "es", for a while; the function it returns starts it again. Only where parts are
// processes, or containers.
func (d *Deployment) Stop(name string) (start func()) {
	d.t.Helper()
	if d.Kind == Compose {
		return d.killContainers(name)
	}
	d.parts[name].Kill()
	return func() {
		d.t.Helper()
		must(d.t, d.parts[name].Restart())
	}
}

// Pause stops one part with SIGSTOP; the function it returns wakes it. Only where parts are processes.
func (d *Deployment) Pause(name string) (wake func()) {
	d.t.Helper()
	must(d.t, d.parts[name].Pause())
	return func() {
		d.t.Helper()
		must(d.t, d.parts[name].Resume())
	}
}

// oneProcess is the all-in-one program in the test's own process.
type oneProcess struct {
	cancel context.CancelFunc
	ended  chan error
}

func (d *Deployment) startOne() {
	d.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	cfg := allinone.Config{
		DataDir: d.dir, Listen: local(d.ports.api), S3Listen: local(d.ports.s3), NATSListen: local(d.ports.nats),
		NATSMon: local(d.ports.monitor), AdminAddr: local(d.ports.admin), StoreBytes: d.options.StoreBytes,
		S3AccessKey: "local", S3SecretKey: "localsecret",
		S3Command: []string{d.programs.Path("hydrant"), "s3-server"}, Ready: ready,
	}
	d.one = &oneProcess{cancel: cancel, ended: make(chan error, 1)}
	go func() { d.one.ended <- allinone.Run(ctx, cfg, logger(d.t)) }()
	select {
	case <-ready:
	case err := <-d.one.ended:
		d.t.Fatalf("the all-in-one program ended: %v", err)
	case <-time.After(time.Minute):
		d.t.Fatal("the all-in-one program was not ready within a minute")
	}
}

func (d *Deployment) stopOne() {
	d.one.cancel()
	select {
	case err := <-d.one.ended:
		if err != nil {
			d.t.Errorf("the all-in-one program ended with an error: %v", err)
		}
		d.one.ended <- nil // a second stop finds it ended
	case <-time.After(stopTime):
		d.t.Errorf("the all-in-one program did not stop within %s", stopTime)
	}
}

// logger logs to the test's own log where that can be read after a failure.
func logger(t testing.TB) *slog.Logger {
	out := io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	return slog.New(slog.NewTextHandler(out, nil)).With("test", t.Name())
}

func (d *Deployment) startProgram() {
	d.t.Helper()
	var env []string
	for name, value := range d.options.Settings {
		env = append(env, name+"="+value)
	}
	d.start("hydrant", "hydrant", local(d.ports.admin)+"/readyz", env, "run", "--data-dir", d.dir, "--listen", local(d.ports.api),
		"--s3-listen", local(d.ports.s3), "--nats-listen", local(d.ports.nats), "--nats-monitor-listen", local(d.ports.monitor),
		"--admin-addr", local(d.ports.admin), "--store-bytes", fmt.Sprint(d.options.StoreBytes))
	d.WaitReady()
}

func (d *Deployment) startProcesses() {
	d.t.Helper()
	d.startNATS()
	s3dir := filepath.Join(d.dir, "s3")
	must(d.t, os.MkdirAll(s3dir, 0o750))
	d.start("s3", "hydrant", "", S3Env(local(d.ports.s3), s3dir), "s3-server", "--alone")
	d.startServices()
	d.WaitReady()
}

func (d *Deployment) startServices() {
	d.t.Helper()
	env := []string{
		"HYDRANT_NATS_URL=" + d.NATS, "HYDRANT_NATS_MONITOR_URL=" + d.monitorURL(),
		"HYDRANT_S3_ENDPOINT=" + d.S3, "HYDRANT_S3_PATH_STYLE=true",
		"HYDRANT_S3_ACCESS_KEY_ID=local", "HYDRANT_S3_SECRET_ACCESS_KEY=localsecret",
	}
	for name, value := range d.options.Settings {
		env = append(env, name+"="+value)
	}
	d.start("ingest", "hydrant-ingest", local(d.ports.admin)+"/readyz", env, "--listen", local(d.ports.api), "--admin-addr", local(d.ports.admin))
	d.start("buffer", "hydrant-buffer", local(d.ports.buffer)+"/readyz", env, "--admin-addr", local(d.ports.buffer))
	d.start("s3sink", "hydrant-s3sink", local(d.ports.sink)+"/readyz", env, "--admin-addr", local(d.ports.sink))
	d.start("es", "hydrant-es", local(d.ports.es)+"/readyz", env, "--admin-addr", local(d.ports.es))
	d.start("redshift", "hydrant-redshift", local(d.ports.redshift)+"/readyz", env, "--admin-addr", local(d.ports.redshift))
}

// S3Env is the environment of the S3 server as a program of its own.
func S3Env(addr, dir string) []string {
	return []string{
		"HYDRANT_S3_CHILD_ADDR=" + addr, "HYDRANT_S3_CHILD_DIR=" + dir, "HYDRANT_S3_CHILD_REGION=us-east-1",
		"HYDRANT_S3_CHILD_ACCESS_KEY=local", "HYDRANT_S3_CHILD_SECRET_KEY=localsecret",
	}
}

func (d *Deployment) start(name, program, ready string, env []string, args ...string) {
	d.t.Helper()
	d.parts[name] = proc.StartTest(d.t, proc.Spec{
		Name: name, Path: d.programs.Path(program), Args: args, Env: slices.Concat(env, d.clock(name)), LogFile: filepath.Join(d.dir, name+".log"),
	})
	if ready != "" {
		d.ready[name] = "http://" + ready
	}
}

// WaitReady returns when every part that is a process is ready.
func (d *Deployment) WaitReady() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, url := range d.ready {
		must(d.t, d.parts[name].WaitReady(ctx, url))
	}
	Eventually(d.t, "the S3 server answers", func() bool {
		_, err := d.S3Client().ListBuckets(ctx, &s3.ListBucketsInput{})
		return err == nil
	})
}

// Firehose returns a client of the API.
func (d *Deployment) Firehose(change ...func(*firehose.Options)) *firehose.Client {
	return firehose.New(firehose.Options{
		Region: "us-east-1", BaseEndpoint: &d.API,
		Credentials: credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
	}, change...)
}

// S3Client returns a client of the S3 server.
func (d *Deployment) S3Client() *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &d.S3, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
	})
}

// JetStream returns a connection to look at what the services keep, until the test ends.
func (d *Deployment) JetStream() jetstream.JetStream {
	d.t.Helper()
	conn, err := nats.Connect(d.NATS)
	must(d.t, err)
	d.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(d.t, err)
	return js
}

// Object is an S3 object.
type Object struct {
	Key      string
	Body     []byte
	Encoding string
	Type     string
	Metadata map[string]string
}

// Objects reads every object below a prefix, in the order of their keys. A bucket that does not exist has none.
func (d *Deployment) Objects(bucket, prefix string) []Object {
	d.t.Helper()
	ctx := context.Background()
	client := d.S3Client()
	var objects []Object
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil && strings.Contains(err.Error(), "NoSuchBucket") {
			return nil
		}
		must(d.t, err)
		for _, item := range page.Contents {
			got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: item.Key})
			must(d.t, err)
			body, err := io.ReadAll(got.Body)
			must(d.t, err)
			must(d.t, got.Body.Close())
			objects = append(objects, Object{
				Key: *item.Key, Body: body, Encoding: aws.ToString(got.ContentEncoding), Type: aws.ToString(got.ContentType), Metadata: got.Metadata,
			})
		}
	}
	return objects
}

// Get reads a page of the admin port, of the ingest where each service has its own.
func (d *Deployment) Get(path string) string {
	d.t.Helper()
	if d.Kind == Compose {
		return d.project.Page("api", "http://ingest:4574"+path)
	}
	return d.read("http://" + local(d.ports.admin) + path)
}

// Monitor reads a page of the NATS server's monitoring port.
func (d *Deployment) Monitor(path string) string {
	d.t.Helper()
	if d.Kind == Compose {
		return d.project.Page("nats", "http://127.0.0.1:8222"+path)
	}
	return d.read("http://" + local(d.ports.monitor) + path)
}

func (d *Deployment) read(url string) string {
	d.t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	must(d.t, err)
	response, err := http.DefaultClient.Do(request)
	must(d.t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(d.t, err)
	return string(body)
}

// Program is where a program is, for a test that runs it itself.
func (d *Deployment) Program(name string) string { return d.programs.Path(name) }

// Eventually waits until yes is true, for at most a minute.
func Eventually(t testing.TB, what string, yes func() bool) {
	t.Helper()
	EventuallyWithin(t, time.Minute, what, yes)
}

// EventuallyWithin waits until yes is true, for at most so long.
func EventuallyWithin(t testing.TB, patience time.Duration, what string, yes func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !yes() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within %s: %s", patience, what)
		}
		<-ticker.C
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
