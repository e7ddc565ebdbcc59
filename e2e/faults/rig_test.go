package faults

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/producer"
	"hydrant/e2e/internal/schedule"
	"hydrant/shared/names"
	"hydrant/shared/proc"
)

const (
	replicas = 2 // of each service
	role     = "arn:aws:iam::000000000000:role/faults"
	bucket   = "faults"
	// backupBucket is where backups of source records go, so that each leg can be counted by itself.
	backupBucket = "faults-backup"
	ackWait      = 5 * time.Second
)

// rig is an installation of processes with proxies between them that break things.
type rig struct {
	t      *testing.T
	dir    string
	direct *s3.Client // past the proxies
	js     jetstream.JetStream

	s3addr string
	env    []string // of every service
	// backends are the addresses of the ingest replicas.
	backends []string

	parts   map[string]*part
	targets []schedule.Target
	api     *faultproxy.API
	s3      map[string]*faultproxy.S3     // S3 as each sink sees it, by the sink's name
	search  map[string]*faultproxy.Search // the search node as each sink sees it
	node    *esnode.Node                  // nil if there is none
	indices string                        // how the names of this rig's begin

	warehouse *warehouse // nil if there is none

	ledger *checker.Ledger
	client *firehose.Client

	goes   map[string][]names.Leg // the ways that the records of a delivery stream have to go
	shapes map[string]shape       // how the records of a delivery stream are, if not plain and of any size

	mu       sync.Mutex
	happened map[string]int // how often each action that waits for its moment had it
}

// shape is how the records of a delivery stream are: JSON documents or plain, how many of them bad, and how large at most.
type shape struct {
	documents bool
	bad       float64
	largest   int
}

// process is what can be done to a part.
type process interface {
	Name() string
	Kill()
	Pause() error
	Resume() error
	Restart() error
	Exited() <-chan struct{}
	Paused() (bool, error)
	Connected(local string) (bool, error)
	WaitReady(ctx context.Context, url string) error
	LogTail(size int64) string
}

// part is one process of the rig, or several that are one to the others.
type part struct {
	process
	kind  string
	ready string // address of its readiness, if it has one
	armed string // file that arms its fault points
	log   string // file that is its own
	event sync.Mutex
}

// newRig starts an installation; settings are environment variables that come last, and so win.
func newRig(t *testing.T, seed uint64, programs deploy.Programs, settings ...string) *rig {
	r := &rig{
		t: t, dir: t.TempDir(), parts: map[string]*part{}, s3: map[string]*faultproxy.S3{}, search: map[string]*faultproxy.Search{},
		ledger: checker.NewLedger(), goes: map[string][]names.Leg{}, shapes: map[string]shape{}, happened: map[string]int{},
	}
	client, monitor := r.addr(), r.addr()
	r.s3addr = r.addr()
	config := filepath.Join(r.dir, "nats.conf")
	r.must(os.WriteFile(config, deploy.NATSConfig(client, monitor, filepath.Join(r.dir, "nats"), 8<<30), 0o600))
	r.start("nats", "nats", programs.Path("nats-server"), monitor+"/healthz", nil, "-c", config)
	s3dir := filepath.Join(r.dir, "s3")
	r.must(os.MkdirAll(s3dir, 0o750))
	r.start("s3", "s3", programs.Path("hydrant"), "", deploy.S3Env(r.s3addr, s3dir), "s3-server", "--alone")

	r.env = []string{"HYDRANT_NATS_URL=nats://" + client, "HYDRANT_NATS_MONITOR_URL=http://" + monitor}
	for n := range replicas {
		api, admin := r.addr(), r.addr()
		r.backends = append(r.backends, api)
		r.start("ingest", fmt.Sprintf("ingest-%d", n+1), programs.Path("hydrant-ingest"), admin+"/readyz", r.env, "--listen", api, "--admin-addr", admin)
	}
	for n := range replicas {
		admin := r.addr()
		r.start("buffer", fmt.Sprintf("buffer-%d", n+1), programs.Path("hydrant-buffer"), admin+"/readyz", r.env, "--admin-addr", admin)
	}
	for n := range replicas {
		r.startSink("s3sink", fmt.Sprintf("s3sink-%d", n+1), programs, seed+uint64(n), settings)
	}
	var err error
	r.api, err = faultproxy.NewAPI(seed, r.backends...)
	r.must(err)
	t.Cleanup(r.api.Close)
	r.client = producer.NewClient(r.api.URL(), &http.Client{Timeout: 15 * time.Second})
	r.direct = s3Client("http://" + r.s3addr)
	conn, err := nats.Connect("nats://"+client, nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true))
	r.must(err)
	t.Cleanup(conn.Close)
	r.js, err = jetstream.New(conn)
	r.must(err)
	r.awaitReady()
	for _, name := range []string{bucket, backupBucket} {
		_, err = r.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
		r.must(err)
	}
	return r
}

// startSink starts a sink behind an S3 proxy of its own, so that a hook of the proxy knows whom to kill. Its parts are
// small and its times short, so that two minutes hold many of each.
func (r *rig) startSink(kind, name string, programs deploy.Programs, seed uint64, settings []string) {
	proxy, err := faultproxy.NewS3(seed, r.s3addr)
	r.must(err)
	r.t.Cleanup(proxy.Close)
	r.s3[name] = proxy
	admin := r.addr()
	env := slices.Concat(r.env, []string{
		"HYDRANT_S3_ENDPOINT=" + proxy.URL(), "HYDRANT_S3_PATH_STYLE=true", "HYDRANT_S3_TIMEOUT=4s",
		"HYDRANT_S3_ACCESS_KEY_ID=local", "HYDRANT_S3_SECRET_ACCESS_KEY=localsecret",
		"HYDRANT_ACK_WAIT=" + ackWait.String(), "HYDRANT_RETRY_MIN=200ms", "HYDRANT_RETRY_MAX=2s", "HYDRANT_PART_SIZE=5242880",
	}, settings)
	r.start(kind, name, programs.Path("hydrant-"+kind), admin+"/readyz", env, "--admin-addr", admin)
}

func s3Client(endpoint string) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
	})
}

func (r *rig) start(kind, name, path, ready string, env []string, args ...string) {
	armed := filepath.Join(r.dir, name+".armed")
	log := filepath.Join(r.dir, name+".log")
	p := proc.StartTest(r.t, proc.Spec{
		Name: name, Path: path, Args: args, Env: append(env[:len(env):len(env)], "HYDRANT_FAULTPOINT="+armed), LogFile: log,
	})
	if ready != "" {
		ready = "http://" + ready
	}
	r.add(kind, name, &part{process: p, ready: ready, armed: armed, log: log})
}

func (r *rig) add(kind, name string, p *part) {
	p.kind = kind
	r.parts[name] = p
	r.targets = append(r.targets, schedule.Target{Kind: kind, Name: name})
}

func (r *rig) awaitReady() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for name, p := range r.parts {
		if p.ready == "" {
			continue
		}
		if err := p.WaitReady(ctx, p.ready); err != nil {
			r.t.Fatalf("%s is not ready: %v", name, err)
		}
	}
	deploy.Eventually(r.t, "the S3 server answers", func() bool {
		_, err := r.direct.ListBuckets(ctx, &s3.ListBucketsInput{})
		return err == nil
	})
}

func (r *rig) addr() string {
	port, err := proc.FreePort()
	r.must(err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// destination is where a delivery stream of the rig delivers to.
func destination(prefix string, sizeMB, interval int32, format types.CompressionFormat) *types.ExtendedS3DestinationConfiguration {
	return &types.ExtendedS3DestinationConfiguration{
		RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + bucket), Prefix: &prefix, CompressionFormat: format,
		ErrorOutputPrefix: aws.String("wrong/!{firehose:error-output-type}/"),
		BufferingHints:    &types.BufferingHints{SizeInMBs: &sizeMB, IntervalInSeconds: &interval},
	}
}

// withBackup adds a backup of the source records, with hints and a form of its own.
func withBackup(to *types.ExtendedS3DestinationConfiguration) *types.ExtendedS3DestinationConfiguration {
	to.S3BackupMode = types.S3BackupModeEnabled
	to.S3BackupConfiguration = &types.S3DestinationConfiguration{
		RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + backupBucket), CompressionFormat: types.CompressionFormatZip,
		ErrorOutputPrefix: to.ErrorOutputPrefix,
		BufferingHints:    &types.BufferingHints{SizeInMBs: aws.Int32(8), IntervalInSeconds: aws.Int32(3)},
	}
	return to
}

// createStream makes a delivery stream to S3; the proxies may be at work already.
func (r *rig) createStream(name string, to *types.ExtendedS3DestinationConfiguration) {
	r.t.Helper()
	legs := []names.Leg{names.LegS3}
	if to.S3BackupConfiguration != nil {
		legs = append(legs, names.LegBackup)
	}
	r.create(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: to}, legs)
}

func (r *rig) create(input *firehose.CreateDeliveryStreamInput, legs []names.Leg) {
	r.t.Helper()
	r.goes[*input.DeliveryStreamName] = legs
	deploy.Eventually(r.t, "delivery stream "+*input.DeliveryStreamName+" is made", func() bool {
		_, err := r.client.CreateDeliveryStream(r.t.Context(), input)
		if err != nil {
			r.t.Log(err)
		}
		return err == nil || strings.Contains(err.Error(), "already exists")
	})
}

func (r *rig) producer(stream, id string, rng *rand.Rand, rate float64) *producer.Producer {
	r.t.Helper()
	config := producer.Config{Client: r.client, Stream: stream, ID: id, Rand: rng, Ledger: r.ledger, Rate: rate}
	shape := r.shapes[stream]
	config.Documents, config.Bad, config.Largest = shape.documents, shape.bad, shape.largest
	p, err := producer.New(config)
	r.must(err)
	return p
}

// went notes that an action had its moment.
func (r *rig) went(action string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.happened[action]++
}

func (r *rig) wentOff() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.happened)
}

// checkLogs looks for what no fault excuses: a panic, or a data race where the programs are built to find them
// (GOFLAGS=-race).
func (r *rig) checkLogs(t *testing.T) {
	for name, p := range r.parts {
		if p.log == "" {
			continue
		}
		log, err := os.ReadFile(p.log)
		r.must(err)
		for _, sign := range []string{"DATA RACE", "panic:", "msg=panic", "fatal error:"} {
			if bytes.Contains(log, []byte(sign)) {
				t.Errorf("the log of %s has %q", name, sign)
			}
		}
	}
}

// keepLogs puts the processes' logs where they outlive a test that failed.
func (r *rig) keepLogs(t *testing.T) {
	dir, err := os.MkdirTemp("", "hydrant-faults-logs")
	r.must(err)
	for name, p := range r.parts {
		log := []byte(p.LogTail(1 << 20))
		if p.log != "" {
			log, err = os.ReadFile(p.log)
			r.must(err)
		}
		r.must(os.WriteFile(filepath.Join(dir, name+".log"), log, 0o600))
	}
	t.Log("logs are in", dir)
}
