package s3sink

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/rclone/gofakes3"

	"hydrant/shared/batch"
	"hydrant/shared/objectstore"
	"hydrant/shared/s3test"
)

const kmsKey = "arn:aws:kms:us-east-1:111111111111:key/9f0c"

func encryptedWith(key string) option {
	return func(d *doc) {
		d.Destination.S3.EncryptionConfiguration = &types.EncryptionConfiguration{KMSEncryptionConfig: &types.KMSEncryptionConfig{AWSKMSKeyARN: &key}}
	}
}

// kmsStore stands before an S3 server that knows no KMS. It is either like one that does, or like one that passes over the
// headers.
type kmsStore struct {
	store http.Handler
	knows bool

	mu    sync.Mutex
	asked []string          // operations that named a key, with it
	keys  map[string]string // of what was written, by path
}

// startKMS puts it before the S3 server of the test. Signatures, which the removed headers are part of, are not checked.
func (r *rig) startKMS(knows bool) *kmsStore {
	k := &kmsStore{store: gofakes3.New(r.s3.Backend).Server(), knows: knows, keys: map[string]string{}}
	r.s3.Fail("any", -1, func(_ http.Handler, w http.ResponseWriter, q *http.Request) { k.ServeHTTP(w, q) })
	return k
}

func (k *kmsStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const algorithm, key = "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	k.mu.Lock()
	if sse := r.Header.Get(algorithm); sse != "" {
		k.asked = append(k.asked, fmt.Sprintf("%s %s %s", s3test.OperationOf(r), sse, r.Header.Get(key)))
		if k.knows {
			k.keys[r.URL.Path] = r.Header.Get(key)
		}
	}
	if used := k.keys[r.URL.Path]; used != "" {
		w.Header().Set(algorithm, "aws:kms")
		w.Header().Set(key, used)
	}
	k.mu.Unlock()
	r.Header.Del(algorithm)
	r.Header.Del(key)
	k.store.ServeHTTP(w, r)
}

// TestKMS asks the store to encrypt, with each operation that makes an object, and finds the object again.
func TestKMS(t *testing.T) {
	t.Parallel()
	for operation, size := range map[string]int{"PutObject": 1000, "CreateMultipartUpload": several} {
		t.Run(operation, func(t *testing.T) {
			r := newRig(t)
			kms := r.startKMS(true)
			s := r.stream("demo", encryptedWith(kmsKey))
			s.fill(size)
			destination := r.destination()
			first, err := destination.Deliver(t.Context(), s.attempt(s.batch()))
			check(t, err)
			if want := []string{operation + " aws:kms " + kmsKey}; !slices.Equal(kms.asked, want) {
				t.Errorf("the store was asked for %q, want %q", kms.asked, want)
			}
			again := s.attempt(s.batch())
			again.Number = 2
			second, err := destination.Deliver(t.Context(), again)
			check(t, err)
			wantEqual(t, "what is found", second, first)
			if first.Warning != nil {
				t.Errorf("a warning: %v", first.Warning)
			}
			r.wantOne("data")
		})
	}
}

// TestNoKMS asks for no encryption where the delivery stream does not.
func TestNoKMS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	kms := r.startKMS(true)
	s := r.stream("demo")
	s.put([]byte("a record\n"))
	result, err := r.destination().Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err)
	if len(kms.asked) != 0 || result.Warning != nil {
		t.Errorf("the store was asked for %q, and warned of %v", kms.asked, result.Warning)
	}
}

// TestKMSPassedOver is a store that writes plain objects and says nothing: the batch is delivered, and its owner is told,
// once for each delivery stream.
func TestKMSPassedOver(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		size  int
		fault string // an operation of which the answer is lost
	}{
		{"single put", 1000, ""},
		{"multipart", several, ""},
		{"single put, answers lost", 1000, "PutObject"},
		{"multipart, answers lost", several, "CompleteMultipartUpload"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			kms := &kmsStore{store: gofakes3.New(r.s3.Backend).Server(), keys: map[string]string{}}
			if tt.fault != "" {
				r.s3.Fail(tt.fault, sdkAttempts, func(_ http.Handler, _ http.ResponseWriter, q *http.Request) {
					kms.ServeHTTP(httptest.NewRecorder(), q)
					panic(http.ErrAbortHandler)
				})
			}
			r.s3.Fail("any", -1, func(_ http.Handler, w http.ResponseWriter, q *http.Request) { kms.ServeHTTP(w, q) })
			r.start()
			for i, s := range []*deliveryStream{r.stream("one", encryptedWith(kmsKey), logged), r.stream("two", encryptedWith(kmsKey), logged)} {
				s.fill([]int{tt.size, 1000}[i])
				whole := s.batch()
				wantEqual(t, "the outcome", s.delivered(s.hand(whole)).Outcome, batch.Delivered)
				seq := s.put([]byte("a record\n"))
				s.delivered(s.hand(s.describe(seq, seq)))
				entry := s.logEntry()
				wantEqual(t, "the code", entry.ErrorCode, objectstore.CodeKMSNotFound)
				wantEqual(t, "the batch", entry.Batch, whole.ID())
			}
			wantEqual(t, "the warnings", len(r.messages("ERRORS")), 2)
		})
	}
}

// TestWhenACL writes for the bucket's owner where the accounts say so, or the setting.
func TestWhenACL(t *testing.T) {
	t.Parallel()
	const nobody = "000000000000"
	tests := []struct {
		setting, account, role string
		want                   bool
	}{
		{"auto", accountA, roleA, false},
		{"auto", accountB, roleA, true},
		{"auto", nobody, roleA, false},
		{"auto", accountA, "arn:aws:iam::000000000000:role/local", false},
		{"auto", accountA, "", false},
		{"always", accountA, roleA, true},
		{"always", nobody, "", true},
		{"never", accountB, roleA, false},
	}
	for operation, size := range map[string]int{"PutObject": 1000, "CreateMultipartUpload": several} {
		t.Run(operation, func(t *testing.T) {
			r := newRig(t)
			var acl string
			r.s3.Fail(operation, -1, func(store httpHandler, w httpWriter, q *httpRequest) {
				acl = q.Header.Get("x-amz-acl")
				store.ServeHTTP(w, q)
			})
			s := r.stream("demo")
			s.fill(size)
			d := s.batch()
			for i, tt := range tests {
				if size > part && i > 1 {
					break // what is decided is the same
				}
				attempt := s.attempt(d)
				document := *s.doc
				destination := *document.Destination.S3
				document.Destination.S3 = &destination
				as(tt.account, tt.role)(&document)
				prefixed(itoa(i) + "/")(&document) // or the object would be there
				attempt.Stream = &document
				_, err := r.destination(func(c *Config) { c.S3ACL = tt.setting }).Deliver(t.Context(), attempt)
				check(t, err)
				want := ""
				if tt.want {
					want = "bucket-owner-full-control"
				}
				wantEqual(t, fmt.Sprintf("x-amz-acl of %+v", tt), acl, want)
			}
		})
	}
}
