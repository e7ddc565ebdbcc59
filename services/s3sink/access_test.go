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
	k := &kmsStore{store: gofakes3.New(r.s3.backend).Server(), knows: knows, keys: map[string]string{}}
	r.s3.fail("any", -1, func(_ http.Handler, w http.ResponseWriter, q *http.Request) { k.ServeHTTP(w, q) })
	return k
}

func (k *kmsStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const algorithm, key = "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	k.mu.Lock()
	if sse := r.Header.Get(algorithm); sse != "" {
		k.asked = append(k.asked, fmt.Sprintf("%s %s %s", operationOf(r), sse, r.Header.Get(key)))
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
	for operation, size := range map[string]int{"PutObject": 1000, "CreateMultipartUpload": 6 << 20} {
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
	tests := []struct {
		name  string
		size  int
		fault string // an operation of which the answer is lost
	}{
		{"single put", 1000, ""},
		{"multipart", 6 << 20, ""},
		{"single put, answers lost", 1000, "PutObject"},
		{"multipart, answers lost", 6 << 20, "CompleteMultipartUpload"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			kms := &kmsStore{store: gofakes3.New(r.s3.backend).Server(), keys: map[string]string{}}
			if tt.fault != "" {
				r.s3.fail(tt.fault, sdkAttempts, func(_ http.Handler, _ http.ResponseWriter, q *http.Request) {
					kms.ServeHTTP(httptest.NewRecorder(), q)
					panic(http.ErrAbortHandler)
				})
			}
			r.s3.fail("any", -1, func(_ http.Handler, w http.ResponseWriter, q *http.Request) { kms.ServeHTTP(w, q) })
			r.start()
			for i, s := range []*deliveryStream{r.stream("one", encryptedWith(kmsKey), logged), r.stream("two", encryptedWith(kmsKey), logged)} {
				s.fill([]int{tt.size, 1000}[i])
				whole := s.batch()
				wantEqual(t, "the outcome", s.delivered(s.hand(whole)).Outcome, batch.Delivered)
				seq := s.put([]byte("a record\n"))
				s.delivered(s.hand(s.describe(seq, seq)))
				entry := s.logEntry()
				wantEqual(t, "the code", entry.ErrorCode, codeKMSNotFound)
				wantEqual(t, "the batch", entry.Batch, whole.ID())
			}
			wantEqual(t, "the warnings", len(r.messages("ERRORS")), 2)
		})
	}
}

// TestKMSRefused is a store that says that it knows no KMS: nothing is written plain, and the owner is told why.
func TestKMSRefused(t *testing.T) {
	refusals := map[string]action{
		"as gofakes3":      nil, // which is the store
		"as MinIO":         answerWith(http.StatusNotImplemented, "NotImplemented", "Server side encryption specified but KMS is not configured"),
		"as R2":            answerWith(http.StatusNotImplemented, "NotImplemented", "Header 'x-amz-server-side-encryption' with value 'aws:kms' not implemented"),
		"as AWS over http": answerWith(http.StatusBadRequest, "InvalidArgument", "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."),
		"without a reason": answerWith(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented"),
	}
	for name, refusal := range refusals {
		sizes := map[string]int{"PutObject": 1000}
		if refusal == nil {
			sizes["CreateMultipartUpload"] = 6 << 20
		}
		for operation, size := range sizes {
			t.Run(operation+" "+name, func(t *testing.T) {
				r := newRig(t)
				if refusal != nil {
					r.s3.fail(operation, -1, refusal)
				}
				s := r.stream("demo", encryptedWith(kmsKey))
				s.fill(size)
				destination := r.destination()
				_, err := destination.Deliver(t.Context(), s.attempt(s.batch()))
				wantError(t, err, "permanent", codeKMSNotFound, "does not encrypt with a KMS key")
				wantEqual(t, "the objects", len(r.keys("data")), 0)
				r.wantNoUploads("data")
				wantEqual(t, "whether conditions are taken for refused", destination.conditions.refusedBy("data"), false)
			})
		}
	}
}

// TestWhenACL writes for the bucket's owner where the accounts say so, or the setting.
func TestWhenACL(t *testing.T) {
	const nobody = "000000000000"
	tests := []struct {
		setting, account, role string
		want                   bool
	}{
		{aclAuto, accountA, roleA, false},
		{aclAuto, accountB, roleA, true},
		{aclAuto, nobody, roleA, false},
		{aclAuto, accountA, "arn:aws:iam::000000000000:role/local", false},
		{aclAuto, accountA, "", false},
		{aclAlways, accountA, roleA, true},
		{aclAlways, nobody, "", true},
		{aclNever, accountB, roleA, false},
	}
	for operation, size := range map[string]int{"PutObject": 1000, "CreateMultipartUpload": 6 << 20} {
		t.Run(operation, func(t *testing.T) {
			r := newRig(t)
			var acl string
			r.s3.fail(operation, -1, func(store httpHandler, w httpWriter, q *httpRequest) {
				acl = q.Header.Get("x-amz-acl")
				store.ServeHTTP(w, q)
			})
			s := r.stream("demo")
			s.fill(size)
			d := s.batch()
			for i, tt := range tests {
				if size > minPartSize && i > 1 {
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

// TestNoACLs is a bucket that takes no ACLs: the object is written without, and the next ones are not tried with.
func TestNoACLs(t *testing.T) {
	const unnamedText = "A header you provided implies functionality that is not implemented"
	tests := []struct {
		name       string
		refusal    action
		conditions bool // are refused too
	}{
		{"ACLs disabled", answerWith(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs"), false},
		{"as R2", answerWith(http.StatusNotImplemented, "NotImplemented", "Header 'x-amz-acl' with value 'bucket-owner-full-control' not implemented"), false},
		{"InvalidArgument", answerWith(http.StatusBadRequest, "InvalidArgument", "x-amz-acl is not supported"), false},
		{"without a reason", answerWith(http.StatusNotImplemented, "NotImplemented", unnamedText), false},
		{"without a reason, conditions too", answerWith(http.StatusNotImplemented, "NotImplemented", unnamedText), true},
	}
	for i, tt := range tests {
		sizes := map[string]int{"PutObject": 1000}
		if i == 0 || tt.conditions {
			sizes["CreateMultipartUpload"] = 6 << 20
		}
		for operation, size := range sizes {
			t.Run(operation+" "+tt.name, func(t *testing.T) {
				r := newRig(t)
				refuse := func(store httpHandler, w httpWriter, q *httpRequest) {
					if q.Header.Get("x-amz-acl") != "" || tt.conditions && q.Header.Get("If-None-Match") != "" {
						tt.refusal(store, w, q)
						return
					}
					store.ServeHTTP(w, q)
				}
				r.s3.fail(operation, -1, refuse)
				r.s3.fail("CompleteMultipartUpload", -1, refuse)
				s := r.stream("demo")
				s.fill(size)
				first := s.batch()
				destination := r.destination(func(c *Config) { c.S3ACL = aclAlways })
				_, err := destination.Deliver(t.Context(), s.attempt(first))
				check(t, err)
				r.wantOne("data")
				wantEqual(t, "whether the ACL is remembered", destination.acls.refusedBy("data"), true)
				wantEqual(t, "whether conditions are remembered", destination.conditions.refusedBy("data"), tt.conditions)
				before := r.s3.count(operation)
				s.fill(size)
				_, err = destination.Deliver(t.Context(), s.attempt(s.describe(first.Last+1, s.batch().Last)))
				check(t, err)
				wantEqual(t, "the requests for the second object", r.s3.count(operation)-before, 1)
			})
		}
	}
}
