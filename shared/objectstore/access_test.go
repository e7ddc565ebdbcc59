package objectstore

import (
	"net/http"
	"testing"

	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

// TestKMSRefused is a store that says that it knows no KMS: nothing is written plain, and the owner is told why.
func TestKMSRefused(t *testing.T) {
	refusals := map[string]action{
		"as gofakes3":      nil, // which is the store
		"as MinIO":         s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", "Server side encryption specified but KMS is not configured"),
		"as R2":            s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", "Header 'x-amz-server-side-encryption' with value 'aws:kms' not implemented"),
		"as AWS over http": s3test.AnswerWith(http.StatusBadRequest, "InvalidArgument", "Requests specifying Server Side Encryption with AWS KMS managed keys must be made over a secure connection."),
		"without a reason": s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented"),
	}
	for name, refusal := range refusals {
		sizes := map[string]int{"PutObject": 1000}
		if refusal == nil {
			sizes["CreateMultipartUpload"] = several
		}
		for operation, size := range sizes {
			t.Run(operation+" "+name, func(t *testing.T) {
				r := newRig(t)
				if refusal != nil {
					r.s3.Fail(operation, -1, refusal)
				}
				store := r.store()
				_, err := store.Create(t.Context(), writing(size, func(w *Write) { w.Object.KMS = kmsKey }))
				wantError(t, err, delivery.Permanent, CodeKMSNotFound, "does not encrypt with a KMS key")
				r.wantNone()
				wantEqual(t, "whether conditions are taken for refused", store.conditions.refusedBy("data"), false)
			})
		}
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
		{"ACLs disabled", s3test.AnswerWith(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs"), false},
		{"as R2", s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", "Header 'x-amz-acl' with value 'bucket-owner-full-control' not implemented"), false},
		{"InvalidArgument", s3test.AnswerWith(http.StatusBadRequest, "InvalidArgument", "x-amz-acl is not supported"), false},
		{"without a reason", s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", unnamedText), false},
		{"without a reason, conditions too", s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", unnamedText), true},
	}
	for i, tt := range tests {
		sizes := map[string]int{"PutObject": 1000}
		if i == 0 || tt.conditions {
			sizes["CreateMultipartUpload"] = several
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
				r.s3.Fail(operation, -1, refuse)
				r.s3.Fail("CompleteMultipartUpload", -1, refuse)
				store := r.store(func(c *Settings) { c.S3ACL = aclAlways })
				_, err := store.Create(t.Context(), writing(size))
				check(t, err)
				r.wantObject(size)
				wantEqual(t, "whether the ACL is remembered", store.acls.refusedBy("data"), true)
				wantEqual(t, "whether conditions are remembered", store.conditions.refusedBy("data"), tt.conditions)
				before := r.s3.Count(operation)
				_, err = store.Create(t.Context(), writing(size, func(w *Write) { w.Object.Key += "-2" }))
				check(t, err)
				wantEqual(t, "the requests for the second object", r.s3.Count(operation)-before, 1)
			})
		}
	}
}
