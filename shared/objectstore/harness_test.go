package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/shared/delivery"
	"hydrant/shared/logtest"
	"hydrant/shared/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	accountA = "111111111111"
	accountB = "222222222222"
	roleA    = "arn:aws:iam::111111111111:role/a"
	kmsKey   = "arn:aws:kms:us-east-1:111111111111:key/9f0c"

	service = "test sink"

	// Parts are small here, since large objects take long with the race detector. The tests' own server takes any; those of
	// S3's own size are in TestCreate.
	part    = 256 << 10
	several = part + part/5 // bytes of an object of two parts
)

// rig is an S3 server that can be told to fail, and the settings to use it.
type rig struct {
	t   *testing.T
	s3  *s3test.Server
	cfg Settings
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, s3: s3test.Start(t)}
	r.cfg = Settings{
		S3Endpoint: r.s3.URL(), S3Region: defaultRegion, S3PathStyle: true, S3AccessKeyID: s3test.AccessKey, S3SecretAccessKey: s3test.SecretKey,
		S3Timeout: 10 * time.Second, S3Checksums: "supported", S3SignPayload: signAlways, S3ACL: aclAuto,
		PartSize: part, PartMemory: 4 * part,
	}
	return r
}

// store opens the server. At the end of the test all memory for parts must have been given back.
func (r *rig) store(change ...func(*Settings)) *Store {
	r.t.Helper()
	cfg := r.cfg
	for _, c := range change {
		c(&cfg)
	}
	valid := cfg
	valid.PartSize, valid.PartMemory = MinPartSize, cfg.PartMemory/cfg.PartSize*MinPartSize // smaller ones are refused
	check(r.t, valid.Validate())
	store, err := Open(r.t.Context(), cfg, Names{Program: "test", Service: service}, Demand{Writers: 4, Backoff: 10 * time.Millisecond}, NewBuffers(cfg), testLog(r.t))
	check(r.t, err)
	r.t.Cleanup(func() {
		store.Close()
		wantEqual(r.t, "the buffers not given back", store.buffers.Lent(), 0)
	})
	return store
}

func testLog(t *testing.T) *slog.Logger { return logtest.New(t) }

// object is a batch's object in the bucket "data".
func object() Object {
	return Object{
		Bucket: "data", Key: "2026/demo-1-object", Stream: "demo", ARN: arnOf(accountA), Batch: "x.s3.0.1-9",
		Metadata: map[string]string{MetadataRecords: "7"},
	}
}

func arnOf(account string) string {
	return "arn:aws:firehose:us-east-1:" + account + ":deliverystream/demo"
}

// writing is a first attempt, by a worker that has the batch, to write an object of that many bytes.
func writing(size int, change ...func(*Write)) Write {
	w := Write{Object: object(), Held: func() error { return nil }, Body: bodyOf(size)}
	for _, c := range change {
		c(&w)
	}
	return w
}

// bodyOf writes the same bytes each time.
func bodyOf(size int) func(context.Context, io.Writer) error {
	return func(_ context.Context, out io.Writer) error {
		content := noise(size)
		for len(content) > 0 {
			n := min(len(content), 100_000)
			if _, err := out.Write(content[:n]); err != nil {
				return err
			}
			content = content[n:]
		}
		return nil
	}
}

// noise is bytes that are different everywhere.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out) // documented never to fail
	return out
}

// attempt is what a destination does: what an earlier attempt left is looked for first.
func attempt(ctx context.Context, store *Store, w Write) (*Found, error) {
	if w.Again {
		store.Sweep(ctx, w.Object)
		if found, err := store.Find(ctx, w.Object); found != nil || err != nil {
			return found, err
		}
	}
	return store.Create(ctx, w)
}

// wantObject checks that there is one object, that it is what was to be written, and was written once, and that no upload is
// unfinished.
func (r *rig) wantObject(size int) {
	r.t.Helper()
	r.wantOne()
	data, got := r.s3.Content("data", object().Key)
	wantEqual(r.t, "whether the object is what was written", string(data) == string(noise(size)), true)
	wantEqual(r.t, "hydrant-batch", got.Metadata[MetadataBatch], string(object().Batch))
	wantEqual(r.t, "hydrant-records", got.Metadata[MetadataRecords], "7")
}

func (r *rig) wantOne() {
	r.t.Helper()
	keys := r.s3.Keys("data")
	wantEqual(r.t, "the objects", len(keys), 1)
	for _, key := range keys {
		wantEqual(r.t, "how often "+key+" was written", r.s3.Writes("data", key), 1)
	}
	wantEqual(r.t, "the unfinished uploads", r.s3.Uploads("data"), 0)
}

func (r *rig) wantNone() {
	r.t.Helper()
	wantEqual(r.t, "the objects", len(r.s3.Keys("data")), 0)
	wantEqual(r.t, "the unfinished uploads", r.s3.Uploads("data"), 0)
}

// wantError checks that a write failed, how, and that the failure shows no secret.
func wantError(t *testing.T, err error, class delivery.Class, code string, parts ...string) {
	t.Helper()
	var e *delivery.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v, want a delivery.Error", err)
	}
	wantEqual(t, "the code", e.Code, code)
	wantEqual(t, "the class", e.Class, class)
	for _, part := range parts {
		if !strings.Contains(e.Message+"\n"+e.Err.Error(), part) {
			t.Errorf("%q is neither in %q nor in %q", part, e.Message, e.Err)
		}
	}
	for _, secret := range []string{s3test.SecretKey, s3test.TemporarySecret, s3test.TemporaryToken, "Signature="} {
		if strings.Contains(e.Message+e.Err.Error(), secret) {
			t.Errorf("%q is in %q or in %q", secret, e.Message, e.Err)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

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
	httpHandler = http.Handler
	httpWriter  = http.ResponseWriter
	httpRequest = http.Request
	action      = s3test.Action
)
