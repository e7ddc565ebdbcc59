// Package s3test is test support: an S3 server in memory, and an STS server beside it, that can be told to fail, to stall, to
// carry a request out and lose the answer, and to recover. Nothing but tests may import it.
//
// The servers end with the test. Between faults the S3 server is a real one, which checks signatures, keeps every version of an
// object, and knows multipart uploads and conditional writes.
package s3test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/rclone/gofakes3"
	"github.com/rclone/gofakes3/s3mem"
)

// The credentials that the server accepts, and the region that it is in.
const (
	AccessKey = "local"
	SecretKey = "localsecret"
	Region    = "us-east-1"
)

// Server is an S3 server in memory, in front of which faults can be put.
type Server struct {
	Backend *s3mem.Backend // what it keeps, for another server before it
	Client  *s3.Client     // of the test itself, past all faults

	t      testing.TB
	store  http.Handler
	faker  *gofakes3.GoFakeS3
	server *httptest.Server

	mu     sync.Mutex
	faults []*fault
	calls  map[string]int      // by operation
	keys   map[string][]string // access keys that the requests were signed with, by operation
	names  sync.Mutex          // makes conditional writes atomic
}

// Action deals with a request instead of the store, or around it.
type Action func(store http.Handler, w http.ResponseWriter, r *http.Request)

// fault is an action for a number of requests of one operation.
type fault struct {
	operation string
	where     string // part of the path
	left      int    // -1 for all
	do        Action
}

// Start runs a server until the test ends. It has one bucket, "data".
func Start(t testing.TB) *Server {
	t.Helper()
	f := &Server{t: t, Backend: s3mem.New(), calls: map[string]int{}, keys: map[string][]string{}}
	f.faker = gofakes3.New(f.Backend, gofakes3.WithV4Auth(map[string]string{AccessKey: SecretKey}))
	f.store = f.faker.Server()
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	direct := httptest.NewServer(f.store)
	t.Cleanup(direct.Close)
	f.Client = Client(t, direct.URL)
	f.Bucket("data")
	return f
}

// Client returns one that is no more than the SDK makes it.
func Client(t testing.TB, address string) *s3.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint: &address, Region: Region, UsePathStyle: true, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""), DisableLogOutputChecksumValidationSkipped: true,
	})
}

// URL is its address.
func (f *Server) URL() string { return f.server.URL }

// Bucket makes one, in which every version is kept.
func (f *Server) Bucket(name string) {
	f.t.Helper()
	_, err := f.Client.CreateBucket(f.t.Context(), &s3.CreateBucketInput{Bucket: &name})
	check(f.t, err)
	f.version(name)
}

// version keeps every version of what is in a bucket, so that they can be counted.
func (f *Server) version(bucket string) {
	f.t.Helper()
	_, err := f.Client.PutBucketVersioning(f.t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	check(f.t, err)
}

// Fail puts an action before the next requests of an operation, -1 for all of them. The function it returns ends it.
func (f *Server) Fail(operation string, times int, do Action) (heal func()) {
	return f.FailAt(operation, "", times, do)
}

// FailAt is Fail for requests with where in their path.
func (f *Server) FailAt(operation, where string, times int, do Action) (heal func()) {
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

// First puts an action before all requests of an operation to a path, and before what was put there earlier.
func (f *Server) First(operation, where string, do Action) (heal func()) {
	heal = f.FailAt(operation, where, -1, do)
	f.mu.Lock()
	defer f.mu.Unlock()
	last := len(f.faults) - 1
	f.faults = slices.Insert(f.faults[:last:last], 0, f.faults[last])
	return heal
}

// Count is how often an operation was asked for.
func (f *Server) Count(operation string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[operation]
}

// Writes is how often an object was written, whatever was answered.
func (f *Server) Writes(bucket, key string) int {
	f.t.Helper()
	list, err := f.Client.ListObjectVersions(f.t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &key})
	check(f.t, err)
	return len(list.Versions)
}

// Keys lists a bucket. The server itself lists also what was deleted.
func (f *Server) Keys(bucket string) []string {
	f.t.Helper()
	list, err := f.Client.ListObjectsV2(f.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	check(f.t, err)
	deleted := f.deleted(bucket)
	var keys []string
	for _, o := range list.Contents {
		if !deleted[*o.Key] {
			keys = append(keys, *o.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (f *Server) deleted(bucket string) map[string]bool {
	f.t.Helper()
	list, err := f.Client.ListObjectVersions(f.t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket})
	check(f.t, err)
	keys := map[string]bool{}
	for _, marker := range list.DeleteMarkers {
		if *marker.IsLatest {
			keys[*marker.Key] = true
		}
	}
	return keys
}

// Uploads is how many multipart uploads of a bucket are unfinished.
func (f *Server) Uploads(bucket string) int {
	f.t.Helper()
	list, err := f.Client.ListMultipartUploads(f.t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "NoSuchUpload" {
		return 0 // how gofakes3 says that there has never been one
	}
	check(f.t, err)
	return len(list.Uploads)
}

// Content reads an object.
func (f *Server) Content(bucket, key string) ([]byte, *s3.GetObjectOutput) {
	f.t.Helper()
	got, err := f.Client.GetObject(f.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	check(f.t, err)
	data, err := io.ReadAll(got.Body)
	check(f.t, err)
	check(f.t, got.Body.Close())
	return data, got
}

// ServeHTTP implements http.Handler: the server with its faults.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := OperationOf(r)
	f.mu.Lock()
	f.calls[operation]++
	f.keys[operation] = append(f.keys[operation], signedWith(r))
	var do Action
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
func (f *Server) carryOut(operation string, w http.ResponseWriter, r *http.Request) {
	if operation == "PutObject" || operation == "CompleteMultipartUpload" {
		f.names.Lock()
		defer f.names.Unlock()
	}
	f.store.ServeHTTP(w, r)
}

// SignedBy returns the access keys that requests of an operation were signed with, one after the other.
func (f *Server) SignedBy(operation string) []string {
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

// OperationOf names the operation of S3 that a request is.
func OperationOf(r *http.Request) string {
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

// Answer answers with an S3 error, and does not carry the request out.
func Answer(status int, code string) Action {
	return AnswerWith(status, code, "It is said to have failed.")
}

// AnswerWith is Answer with a text of its own.
func AnswerWith(status int, code, text string) Action {
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

// Reset breaks the connection, and does not carry the request out.
func Reset(http.Handler, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Lose carries the request out and breaks the connection instead of answering.
func Lose(store http.Handler, _ http.ResponseWriter, r *http.Request) {
	store.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Hold carries the request out, if it should, and answers nothing before released is closed or the client gives up.
func Hold(carryOut bool, reached chan<- struct{}, released <-chan struct{}) Action {
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

// After carries the request out and answers something else.
func After(do Action) Action {
	return func(store http.Handler, w http.ResponseWriter, r *http.Request) {
		store.ServeHTTP(httptest.NewRecorder(), r)
		do(store, w, r)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
