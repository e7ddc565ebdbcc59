package s3sink

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

const (
	accessKey = "local"
	secretKey = "localsecret"
)

// fakeS3 is an S3 server in memory, in front of which faults can be put.
type fakeS3 struct {
	t       *testing.T
	store   http.Handler
	faker   *gofakes3.GoFakeS3
	backend *s3mem.Backend
	server  *httptest.Server
	client  *s3.Client // of the test itself, past all faults

	mu     sync.Mutex
	faults []*fault
	calls  map[string]int      // by operation
	keys   map[string][]string // access keys that the requests were signed with, by operation
	names  sync.Mutex          // makes conditional writes atomic
}

// action deals with a request instead of the store, or around it.
type action func(store http.Handler, w http.ResponseWriter, r *http.Request)

// fault is an action for a number of requests of one operation.
type fault struct {
	operation string
	where     string // part of the path
	left      int    // -1 for all
	do        action
}

func startS3(t *testing.T) *fakeS3 {
	t.Helper()
	f := &fakeS3{t: t, backend: s3mem.New(), calls: map[string]int{}, keys: map[string][]string{}}
	f.faker = gofakes3.New(f.backend, gofakes3.WithV4Auth(map[string]string{accessKey: secretKey}))
	f.store = f.faker.Server()
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	direct := httptest.NewServer(f.store)
	t.Cleanup(direct.Close)
	clients, err := newClients(t.Context(), Config{
		S3Endpoint: direct.URL, S3Region: defaultRegion, S3PathStyle: true, S3AccessKeyID: accessKey, S3SecretAccessKey: secretKey,
		S3Timeout: patience, Workers: 1,
	}, testLog(t))
	check(t, err)
	t.Cleanup(clients.close)
	options := clients.own.Options()
	options.APIOptions = nil // which are for requests that read no body
	options.DisableLogOutputChecksumValidationSkipped = true
	f.client = s3.New(options)
	f.bucket("data")
	return f
}

func (f *fakeS3) url() string { return f.server.URL }

func (f *fakeS3) bucket(name string) {
	f.t.Helper()
	_, err := f.client.CreateBucket(f.t.Context(), &s3.CreateBucketInput{Bucket: &name})
	check(f.t, err)
	f.version(name)
}

// version keeps every version of what is in a bucket, so that they can be counted.
func (f *fakeS3) version(bucket string) {
	f.t.Helper()
	_, err := f.client.PutBucketVersioning(f.t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	check(f.t, err)
}

// fail puts an action before the next requests of an operation, -1 for all of them. The function it returns ends it.
func (f *fakeS3) fail(operation string, times int, do action) (heal func()) {
	return f.failAt(operation, "", times, do)
}

func (f *fakeS3) failAt(operation, where string, times int, do action) (heal func()) {
	rule := &fault{operation, where, times, do}
	f.mu.Lock()
	f.faults = append(f.faults, rule)
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		rule.left = 0
		f.mu.Unlock()
	}
}

// first puts an action before all requests of an operation to a path, and before what was put there earlier.
func (f *fakeS3) first(operation, where string, do action) (heal func()) {
	heal = f.failAt(operation, where, -1, do)
	f.mu.Lock()
	defer f.mu.Unlock()
	last := len(f.faults) - 1
	f.faults = slices.Insert(f.faults[:last:last], 0, f.faults[last])
	return heal
}

func (f *fakeS3) count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[operation]
}

// writes is how often an object was written, whatever was answered.
func (f *fakeS3) writes(bucket, key string) int {
	f.t.Helper()
	list, err := f.client.ListObjectVersions(f.t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &key})
	check(f.t, err)
	return len(list.Versions)
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := operationOf(r)
	f.mu.Lock()
	f.calls[operation]++
	f.keys[operation] = append(f.keys[operation], signedWith(r))
	var do action
	for _, rule := range f.faults {
		if rule.left != 0 && (rule.operation == operation || rule.operation == "any") && strings.Contains(r.URL.Path, rule.where) {
			rule.left--
			do = rule.do
			break
		}
	}
	f.mu.Unlock()
	store := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.carryOut(operation, w, r) })
	if do == nil {
		store(w, r)
		return
	}
	do(store, w, r)
}

// carryOut lets the store have a request. gofakes3 in memory does not check a condition and write in one step.
func (f *fakeS3) carryOut(operation string, w http.ResponseWriter, r *http.Request) {
	if operation == "PutObject" || operation == "CompleteMultipartUpload" {
		f.names.Lock()
		defer f.names.Unlock()
	}
	f.store.ServeHTTP(w, r)
}

// signedBy returns the access keys that requests of an operation were signed with, one after the other.
func (f *fakeS3) signedBy(operation string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.keys[operation])
}

// signedWith is the access key in a request's signature.
func signedWith(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(rest, "/")
	return key
}

func operationOf(r *http.Request) string {
	query := r.URL.Query()
	object := strings.Count(strings.Trim(r.URL.Path, "/"), "/") > 0
	switch {
	case !object && query.Has("uploads"):
		return "ListMultipartUploads"
	case !object:
		return r.Method + "Bucket"
	case query.Has("uploads"):
		return "CreateMultipartUpload"
	case query.Has("uploadId"):
		return map[string]string{
			http.MethodPut: "UploadPart", http.MethodPost: "CompleteMultipartUpload", http.MethodDelete: "AbortMultipartUpload",
		}[r.Method]
	}
	return map[string]string{
		http.MethodPut: "PutObject", http.MethodHead: "HeadObject", http.MethodGet: "GetObject", http.MethodDelete: "DeleteObject",
	}[r.Method]
}

// answer answers with an S3 error, and does not carry the request out.
func answer(status int, code string) action {
	return answerWith(status, code, "It is said to have failed.")
}

func answerWith(status int, code, text string) action {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the client may see a broken connection instead
		w.Header().Set("x-amz-request-id", "REQUEST-"+code)
		w.Header().Set("x-amz-id-2", "HOST")
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message><RequestId>REQUEST-%s</RequestId></Error>", code, text, code)
		}
	}
}

// reset breaks the connection, and does not carry the request out.
func reset(http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// lose carries the request out and breaks the connection instead of answering.
func lose(store http.Handler, _ http.ResponseWriter, r *http.Request) {
	store.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// hold carries the request out, if it should, and answers nothing before released is closed or the client gives up.
func hold(carryOut bool, reached chan<- struct{}, released <-chan struct{}) action {
	return func(store http.Handler, w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		if carryOut {
			store.ServeHTTP(answer, r)
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the client gave up
		select {
		case reached <- struct{}{}:
		default:
		}
		select {
		case <-released:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	}
}

// after carries the request out and answers something else.
func after(do action) action {
	return func(store http.Handler, w http.ResponseWriter, r *http.Request) {
		store.ServeHTTP(httptest.NewRecorder(), r)
		do(store, w, r)
	}
}
