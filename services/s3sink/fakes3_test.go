package s3sink

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
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
	backend *s3mem.Backend
	server  *httptest.Server
	client  *s3.Client // of the test itself, past all faults

	mu     sync.Mutex
	faults []*fault
	calls  map[string]int // by operation
	made   map[string]int // successful writes, by bucket/key
	names  sync.Mutex     // makes conditional writes atomic, which gofakes3's memory backend does not
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
	f := &fakeS3{t: t, backend: s3mem.New(), calls: map[string]int{}, made: map[string]int{}}
	f.store = gofakes3.New(f.backend, gofakes3.WithV4Auth(map[string]string{accessKey: secretKey})).Server()
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	direct := httptest.NewServer(f.store)
	t.Cleanup(direct.Close)
	client, transport, err := newClient(t.Context(), Config{
		S3Endpoint: direct.URL, S3Region: defaultRegion, S3PathStyle: true, S3AccessKeyID: accessKey, S3SecretAccessKey: secretKey,
		S3Timeout: patience, Workers: 1,
	})
	check(t, err)
	t.Cleanup(transport.CloseIdleConnections)
	f.client = client
	f.bucket("data")
	return f
}

func (f *fakeS3) url() string { return f.server.URL }

func (f *fakeS3) bucket(name string) {
	f.t.Helper()
	_, err := f.client.CreateBucket(f.t.Context(), &s3.CreateBucketInput{Bucket: &name})
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

func (f *fakeS3) count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[operation]
}

func (f *fakeS3) writes(object string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.made[object]
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := operationOf(r)
	f.mu.Lock()
	f.calls[operation]++
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

// carryOut lets the store have a request, and counts what it wrote.
func (f *fakeS3) carryOut(operation string, w http.ResponseWriter, r *http.Request) {
	if operation != "PutObject" && operation != "CompleteMultipartUpload" {
		f.store.ServeHTTP(w, r)
		return
	}
	f.names.Lock()
	defer f.names.Unlock()
	answer := httptest.NewRecorder()
	f.store.ServeHTTP(answer, r)
	if answer.Code == http.StatusOK {
		f.mu.Lock()
		f.made[strings.TrimPrefix(r.URL.Path, "/")]++
		f.mu.Unlock()
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
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
		w.Header().Set("x-amz-request-id", "REQUEST-"+code)
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
