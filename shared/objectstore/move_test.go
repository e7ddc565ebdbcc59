package objectstore

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

// there puts an object into the bucket, and returns it with its version.
func (r *rig) there(key, content string) (Object, string) {
	r.t.Helper()
	o := object()
	o.Key = key
	_, err := r.s3.Client.PutObject(r.t.Context(), &s3.PutObjectInput{
		Bucket: &o.Bucket, Key: &o.Key, Body: strings.NewReader(content), Metadata: map[string]string{MetadataBatch: string(o.Batch), "own": "1"},
	})
	check(r.t, err)
	said, err := r.store().Describe(r.t.Context(), o)
	check(r.t, err)
	return o, said.Version
}

// awkward is a key with what has to be encoded in a header.
const awkward = "a b+c/é%20ü?&=/demo-1#x"

func TestListDescribeOpen(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.there("other/x", "")
	o, version := r.there(awkward, "content")
	store := r.store()
	var keys []string
	for listed, err := range store.List(t.Context(), o, "a b+") {
		check(t, err)
		keys = append(keys, listed.Key)
		wantEqual(t, "the size", listed.Size, 7)
		wantEqual(t, "the version", listed.Version, version)
		wantEqual(t, "whether it is new", time.Since(listed.Modified) < time.Hour, true)
	}
	wantEqual(t, "the keys", strings.Join(keys, " "), awkward)
	said, err := store.Describe(t.Context(), o)
	check(t, err)
	wantEqual(t, "its own metadata", said.Metadata["own"], "1")
	wantEqual(t, "the size", said.Size, 7)
	content, err := store.Open(t.Context(), o)
	check(t, err)
	data, err := io.ReadAll(content)
	check(t, err)
	check(t, content.Close())
	wantEqual(t, "the content", string(data), "content")

	o.Key = "gone"
	said, err = store.Describe(t.Context(), o)
	wantEqual(t, "whether nothing is there", said == nil && err == nil, true)
	content, err = store.Open(t.Context(), o)
	wantEqual(t, "whether nothing is there", content == nil && err == nil, true)
}

func TestListOfNoBucket(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o := object()
	o.Bucket = "nowhere"
	for _, err := range r.store().List(t.Context(), o, "a/") {
		wantError(t, err, delivery.Permanent, CodeNoSuchBucket, "s3://nowhere/a/")
	}
	for listed, err := range r.store(func(c *Settings) { c.S3CreateBuckets = true }).List(t.Context(), o, "a/") {
		t.Errorf("a bucket that would be made on demand lists %+v, %v", listed, err)
	}
}

// TestOpenStalls has the content end in the middle, and not come any more.
func TestOpenStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o, _ := r.there("a", strings.Repeat("x", 1<<20))
	for name, do := range map[string]func(*httpRequest){
		"is cut":          func(*httpRequest) { panic(http.ErrAbortHandler) },
		"comes no longer": func(q *httpRequest) { <-q.Context().Done() },
	} {
		r.s3.Fail("GetObject", 1, func(_ httpHandler, w httpWriter, q *httpRequest) {
			w.Header().Set("Content-Length", "1048576")
			_, _ = w.Write(make([]byte, 1000))
			w.(http.Flusher).Flush()
			do(q)
		})
		content, err := r.store(func(c *Settings) { c.S3Timeout = 3 * time.Second }).Open(t.Context(), o)
		check(t, err)
		data, err := io.ReadAll(content)
		check(t, content.Close())
		wantError(t, err, delivery.Retryable, CodeInternal, "s3://data/a")
		wantEqual(t, "what was read of content that "+name, len(data), 1000)
	}
}

// TestMove moves an object, also when answers are lost, once more, and when it is under both names already.
func TestMove(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*s3test.Server){
		"":                    func(*s3test.Server) {},
		"lost answer of copy": func(s *s3test.Server) { s.Fail("PutObject", 1, s3test.Lose) },
		"lost answer of both": func(s *s3test.Server) { s.Fail("PutObject", 1, s3test.Lose); s.Fail("DeleteObject", 1, s3test.Lose) },
		"no conditions": func(s *s3test.Server) {
			s.Fail("DeleteObject", -1, func(store httpHandler, w httpWriter, q *httpRequest) {
				if q.Header.Get("If-Match") != "" {
					s3test.Answer(http.StatusNotImplemented, "NotImplemented")(store, w, q)
					return
				}
				store.ServeHTTP(w, q)
			})
		},
		"no ACLs": func(s *s3test.Server) {
			s.Fail("PutObject", 1, s3test.Answer(http.StatusBadRequest, "AccessControlListNotSupported"))
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			o, version := r.there(awkward, "content")
			fault(r.s3)
			store := r.store(func(c *Settings) { c.S3ACL = aclAlways })
			for range 2 {
				check(t, store.Move(t.Context(), o, version, "moved/"+awkward))
				r.wantMoved("moved/" + awkward)
			}
		})
	}
}

func (r *rig) wantMoved(key string) {
	r.t.Helper()
	wantEqual(r.t, "the keys", strings.Join(r.s3.Keys("data"), " "), key)
	data, got := r.s3.Content("data", key)
	wantEqual(r.t, "the content", string(data), "content")
	wantEqual(r.t, "the batch", got.Metadata[MetadataBatch], string(object().Batch))
	wantEqual(r.t, "its own metadata", got.Metadata["own"], "1")
}

// TestMoveFails leaves the object where it is.
func TestMoveFails(t *testing.T) {
	t.Parallel()
	for operation, want := range map[string]string{"PutObject": "a", "DeleteObject": "a b"} {
		r := newRig(t)
		o, version := r.there("a", "content")
		r.s3.Fail(operation, -1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
		wantError(t, r.store().Move(t.Context(), o, version, "b"), delivery.Permanent, CodeAccessDenied, "s3://data/a")
		wantEqual(t, "the keys", strings.Join(r.s3.Keys("data"), " "), want)
	}
}

// TestMoveKeepsTheKey has the copy encrypted as the object was asked to be.
func TestMoveKeepsTheKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	o, version := r.there("a", "content")
	o.KMS = kmsKey
	asked := make(chan http.Header, 1)
	r.s3.Fail("PutObject", 1, func(store httpHandler, w httpWriter, q *httpRequest) {
		asked <- q.Header.Clone()
		for name := range q.Header {
			if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") {
				q.Header.Del(name) // which the server does not know
			}
		}
		s3test.Answer(http.StatusForbidden, "AccessDenied")(store, w, q)
	})
	wantError(t, r.store().Move(t.Context(), o, version, "b"), delivery.Permanent, CodeAccessDenied)
	wantEqual(t, "the key", (<-asked).Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"), kmsKey)
}

// TestMoveWakes stops a process before each of its requests, until another has moved the object and something else came under its name:
// that stays, on a server that knows conditions.
func TestMoveWakes(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"PutObject", "DeleteObject"} {
		r := newRig(t)
		o, version := r.there("a", "content")
		reached, wake := make(chan struct{}), make(chan struct{})
		r.s3.Fail(operation, 1, func(store httpHandler, w httpWriter, q *httpRequest) {
			close(reached)
			<-wake
			r.conditionally(store, w, q)
		})
		store := r.store()
		ended := make(chan error, 1)
		go func() { ended <- store.Move(context.WithoutCancel(t.Context()), o, version, "b") }()
		<-reached
		check(t, store.Move(t.Context(), o, version, "b"))
		r.there("a", "something else")
		r.s3.Fail("DeleteObject", -1, r.conditionally)
		close(wake)
		check(t, <-ended)
		data, _ := r.s3.Content("data", "a")
		wantEqual(t, "what came under the name", string(data), "something else")
		data, _ = r.s3.Content("data", "b")
		wantEqual(t, "what was moved", string(data), "content")
	}
}

// conditionally refuses what is for another version, as S3 does and the server of the test does not.
func (r *rig) conditionally(store httpHandler, w httpWriter, q *httpRequest) {
	meant := q.Header.Get("If-Match") + q.Header.Get("x-amz-copy-source-if-match")
	o := object()
	o.Key = "a"
	said, err := r.store().Describe(context.WithoutCancel(r.t.Context()), o)
	if err != nil {
		r.t.Error(err)
	}
	if said != nil && meant != "" && !slices.Contains([]string{said.Version, strings.Trim(said.Version, `"`)}, meant) {
		s3test.Answer(http.StatusPreconditionFailed, "PreconditionFailed")(store, w, q)
		return
	}
	store.ServeHTTP(w, q)
}
