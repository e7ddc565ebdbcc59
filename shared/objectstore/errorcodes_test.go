package objectstore

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

// TestErrorCodes has a server answer the write of an object with each error.
func TestErrorCodes(t *testing.T) {
	r := newRig(t)
	store := r.store()
	tests := []struct {
		status int
		s3     string
		code   string
		class  delivery.Class
	}{
		{http.StatusForbidden, "AccessDenied", CodeAccessDenied, delivery.Permanent},
		{http.StatusForbidden, "InvalidAccessKeyId", CodeAccessDenied, delivery.Permanent},
		{http.StatusForbidden, "SignatureDoesNotMatch", CodeAccessDenied, delivery.Permanent},
		{http.StatusNotFound, "NoSuchBucket", CodeNoSuchBucket, delivery.Permanent},
		{http.StatusForbidden, "AccountProblem", CodeAccountProblem, delivery.Permanent},
		{http.StatusForbidden, "AllAccessDisabled", CodeAllAccessDisabled, delivery.Permanent},
		{http.StatusForbidden, "InvalidPayer", CodeInvalidPayer, delivery.Permanent},
		{http.StatusForbidden, "NotSignedUp", CodeNotSignedUp, delivery.Permanent},
		{http.StatusMethodNotAllowed, "MethodNotAllowed", CodeMethodNotAllowed, delivery.Permanent},
		{http.StatusBadRequest, "KMS.NotFoundException", CodeKMSNotFound, delivery.Permanent},
		{http.StatusBadRequest, "InvalidBucketName", CodeNoSuchBucket, delivery.Permanent},
		{http.StatusBadRequest, "KeyTooLongError", CodeInternal, delivery.Permanent},
		{http.StatusMovedPermanently, "PermanentRedirect", CodeInternal, delivery.Permanent},
		{http.StatusBadRequest, "RequestTimeout", CodeInternal, delivery.Retryable},
		{http.StatusForbidden, "RequestTimeTooSkewed", CodeInternal, delivery.Retryable},
		{http.StatusBadRequest, "ExpiredToken", CodeInternal, delivery.Retryable},
		{http.StatusConflict, "OperationAborted", CodeInternal, delivery.Retryable},
		{http.StatusTooManyRequests, "TooManyRequests", CodeInternal, delivery.Retryable},
		{http.StatusInternalServerError, "InternalError", CodeInternal, delivery.Retryable},
		{http.StatusServiceUnavailable, "SlowDown", CodeInternal, delivery.Retryable},
		{http.StatusBadGateway, "BadGateway", CodeInternal, delivery.Retryable},
	}
	for _, tt := range tests {
		t.Run(tt.s3, func(t *testing.T) {
			defer r.s3.Fail("PutObject", -1, s3test.Answer(tt.status, tt.s3))()
			result, err := store.Create(t.Context(), writing(9))
			var e *delivery.Error
			if !errors.As(err, &e) {
				t.Fatalf("Create returned %+v and %v, want a delivery.Error", result, err)
			}
			wantEqual(t, "the code", e.Code, tt.code)
			wantEqual(t, "the class", e.Class, tt.class)
			wantEqual(t, "the request id", e.RequestID, "REQUEST-"+tt.s3)
			wantEqual(t, "the host id", e.HostID, "HOST")
			if e.Message == "" || (tt.code != CodeInternal || tt.class == delivery.Permanent) && e.Message == Message(CodeInternal, service) {
				t.Errorf("the message is %q", e.Message)
			}
			for _, part := range []string{tt.s3, "s3://data/", "StatusCode: " + strconv.Itoa(tt.status), "REQUEST-" + tt.s3} {
				if !strings.Contains(e.Err.Error(), part) {
					t.Errorf("%q is not in %q", part, e.Err)
				}
			}
			for _, secret := range []string{s3test.AccessKey + "/", s3test.SecretKey, "X-Amz-Signature"} {
				if strings.Contains(e.Err.Error(), secret) {
					t.Errorf("%q is in %q", secret, e.Err)
				}
			}
		})
	}
	r.wantNone()
}

// TestNetworkErrors is the same for a server that cannot be reached.
func TestNetworkErrors(t *testing.T) {
	r := newRig(t)
	store := r.store(func(c *Settings) { c.S3Endpoint = "http://127.0.0.1:1" })
	_, err := store.Create(t.Context(), writing(9))
	var e *delivery.Error
	if !errors.As(err, &e) || e.Class != delivery.Retryable || e.Code != CodeInternal {
		t.Errorf("Create returned %v, want a retryable %s", err, CodeInternal)
	}
}
