package s3sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/recordlog"
	"hydrant/shared/s3test"
	"hydrant/shared/service"
)

const patience = time.Minute

// Parts are small here, since large objects take long with the race detector. The tests' own S3 server takes any; parts of S3's
// own size are what moto's server is sent, which wants them, and what objectstore's tests compare.
const (
	part    = 256 << 10
	several = part + part/5 // bytes of an object of two parts
)

// ownParts has parts of the size that they have outside tests.
func ownParts(c *Config) {
	c.PartSize, c.PartMemory = objectstore.MinPartSize, 8*objectstore.MinPartSize
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// rig is a NATS server, an S3 server that can be told to fail, and what a test does with them.
type rig struct {
	t    *testing.T
	nats *natstest.Server
	js   jetstream.JetStream
	s3   *fakeS3
	cfg  Config
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, nats: natstest.Start(t), s3: s3test.Start(t)}
	r.cfg = rigConfig(r.nats.URL(), r.s3.URL())
	r.js = r.nats.JetStream()
	check(t, broker.Prepare(t.Context(), r.js, r.cfg.NATS, testLog(t)))
	return r
}

func rigConfig(natsURL, s3URL string) Config {
	return Config{
		NATS: broker.Config{NATSURL: natsURL, Replicas: 1, Retention: 24 * time.Hour},
		Settings: objectstore.Settings{
			S3Endpoint: s3URL, S3Region: s3test.Region, S3PathStyle: true, S3AccessKeyID: accessKey, S3SecretAccessKey: secretKey,
			S3Timeout: 10 * time.Second, S3Checksums: "supported", S3SignPayload: "always", S3ACL: "auto",
			PartSize: part, PartMemory: 8 * part,
		},
		Workers: 4, WorkersPerStream: 2, AckWait: 5 * time.Second, RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testLog(t *testing.T) *slog.Logger { return logtest.New(t) }

// start runs a service until the returned function is called, or the test ends.
func (r *rig) start(change ...func(*Config)) (*Service, func()) {
	r.t.Helper()
	cfg := r.cfg
	for _, c := range change {
		c(&cfg)
	}
	tested := cfg.Settings
	if tested.PartSize < objectstore.MinPartSize { // which is refused
		ownParts(&cfg)
	}
	s, err := New(cfg, service.Runtime{Log: testLog(r.t), Metrics: prometheus.NewRegistry()})
	check(r.t, err)
	s.cfg.Settings, s.buffers = tested, objectstore.NewBuffers(tested)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				r.t.Errorf("the service ended with %v", err)
			}
		case <-time.After(patience):
			r.t.Fatal("the service did not stop")
		}
		if n := s.buffers.Lent(); n != 0 {
			r.t.Errorf("%d buffers were not given back", n)
		}
	})
	r.t.Cleanup(stop)
	return s, stop
}

// deliverer is what a service delivers with, without the service.
type deliverer struct {
	*destination
	buffers *objectstore.Buffers
}

func (r *rig) destination(change ...func(*Config)) *deliverer {
	r.t.Helper()
	cfg := r.cfg
	for _, c := range change {
		c(&cfg)
	}
	buffers := objectstore.NewBuffers(cfg.Settings)
	store, err := openStore(r.t.Context(), cfg, buffers, testLog(r.t))
	check(r.t, err)
	r.t.Cleanup(store.Close)
	installation, err := broker.InstallationID(r.t.Context(), r.js)
	check(r.t, err)
	return &deliverer{
		destination: &destination{store: store, records: recordlog.New(r.js), installation: installation, log: testLog(r.t), putSize: cfg.PutSize, leastPart: min(cfg.PartSize, objectstore.MinPartSize)},
		buffers:     buffers,
	}
}

func (r *rig) deliveries() []batch.Delivery {
	var out []batch.Delivery
	for _, data := range r.messages(names.DeliveriesStream) {
		d, err := batch.DecodeDelivery(data)
		check(r.t, err)
		out = append(out, d)
	}
	return out
}

func (r *rig) messages(stream string) [][]byte {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	check(r.t, err)
	var out [][]byte
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(r.t.Context(), seq)
		check(r.t, err)
		out = append(out, m.Data)
	}
	return out
}

// errorLog returns the last entry of an error log.
func (r *rig) errorLog(subject string) (*jetstream.RawStreamMsg, error) {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), names.ErrorsStream)
	check(r.t, err)
	return s.GetLastMsgForSubject(r.t.Context(), subject)
}

// content reads an object.
func (r *rig) content(location string) ([]byte, *s3.GetObjectOutput) {
	r.t.Helper()
	bucket, key, ok := strings.Cut(strings.TrimPrefix(location, "s3://"), "/")
	if !ok {
		r.t.Fatalf("not a location: %q", location)
	}
	return r.s3.Content(bucket, key)
}

// keys lists a bucket.
func (r *rig) keys(bucket string) []string { r.t.Helper(); return r.s3.Keys(bucket) }

// wantOne checks that a bucket holds one object, that it was written once, and that no upload is unfinished.
func (r *rig) wantOne(bucket string) {
	r.t.Helper()
	keys := r.keys(bucket)
	if len(keys) != 1 {
		r.t.Errorf("bucket %s holds %d objects, want 1: %q", bucket, len(keys), keys)
	}
	for _, key := range keys {
		if n := r.s3.Writes(bucket, key); n != 1 {
			r.t.Errorf("%s was written %d times", key, n)
		}
	}
	r.wantNoUploads(bucket)
}

func (r *rig) wantNoUploads(bucket string) {
	r.t.Helper()
	if n := r.uploads(bucket); n != 0 {
		r.t.Errorf("%d unfinished uploads in %s", n, bucket)
	}
}

func (r *rig) uploads(bucket string) int { r.t.Helper(); return r.s3.Uploads(bucket) }

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %s, want %s", what, short(got), short(want))
	}
}

func short(v any) string {
	text := fmt.Sprintf("%v", v)
	return text[:min(len(text), 300)]
}

// Short names for what tests use all the time.
type (
	doc          = catalog.DeliveryStream
	httpHandler  = http.Handler
	httpWriter   = http.ResponseWriter
	httpRequest  = http.Request
	timeDuration = time.Duration
)

func itoa(n int) string { return strconv.Itoa(n) }

func decodeEntry(t *testing.T, data []byte) delivery.LogEntry {
	t.Helper()
	var e delivery.LogEntry
	check(t, json.Unmarshal(data, &e))
	return e
}
