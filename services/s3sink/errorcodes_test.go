package s3sink

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"hydrant/shared/delivery"
)

// TestErrorCodes has a server answer the write of an object with each error.
func TestErrorCodes(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put([]byte("one\n"))
	d := s.batch()
	destination := r.destination()
	tests := []struct {
		status int
		s3     string
		code   string
		class  delivery.Class
	}{
		{http.StatusForbidden, "AccessDenied", codeAccessDenied, delivery.Permanent},
		{http.StatusForbidden, "InvalidAccessKeyId", codeAccessDenied, delivery.Permanent},
		{http.StatusForbidden, "SignatureDoesNotMatch", codeAccessDenied, delivery.Permanent},
		{http.StatusNotFound, "NoSuchBucket", codeNoSuchBucket, delivery.Permanent},
		{http.StatusForbidden, "AccountProblem", codeAccountProblem, delivery.Permanent},
		{http.StatusForbidden, "AllAccessDisabled", codeAllAccessDisabled, delivery.Permanent},
		{http.StatusForbidden, "InvalidPayer", codeInvalidPayer, delivery.Permanent},
		{http.StatusForbidden, "NotSignedUp", codeNotSignedUp, delivery.Permanent},
		{http.StatusMethodNotAllowed, "MethodNotAllowed", codeMethodNotAllowed, delivery.Permanent},
		{http.StatusBadRequest, "KMS.NotFoundException", codeKMSNotFound, delivery.Permanent},
		{http.StatusBadRequest, "KeyTooLongError", codeInternal, delivery.Permanent},
		{http.StatusMovedPermanently, "PermanentRedirect", codeInternal, delivery.Permanent},
		{http.StatusBadRequest, "RequestTimeout", codeInternal, delivery.Retryable},
		{http.StatusForbidden, "RequestTimeTooSkewed", codeInternal, delivery.Retryable},
		{http.StatusBadRequest, "ExpiredToken", codeInternal, delivery.Retryable},
		{http.StatusConflict, "OperationAborted", codeInternal, delivery.Retryable},
		{http.StatusTooManyRequests, "TooManyRequests", codeInternal, delivery.Retryable},
		{http.StatusInternalServerError, "InternalError", codeInternal, delivery.Retryable},
		{http.StatusServiceUnavailable, "SlowDown", codeInternal, delivery.Retryable},
		{http.StatusBadGateway, "BadGateway", codeInternal, delivery.Retryable},
	}
	for _, tt := range tests {
		t.Run(tt.s3, func(t *testing.T) {
			defer r.s3.fail("PutObject", -1, answer(tt.status, tt.s3))()
			result, err := destination.Deliver(t.Context(), s.attempt(d))
			var e *delivery.Error
			if !errors.As(err, &e) {
				t.Fatalf("Deliver returned %+v and %v, want a delivery.Error", result, err)
			}
			wantEqual(t, "the code", e.Code, tt.code)
			wantEqual(t, "the class", e.Class, tt.class)
			wantEqual(t, "the request id", e.RequestID, "REQUEST-"+tt.s3)
			wantEqual(t, "the host id", e.HostID, "HOST")
			if e.Message == "" || tt.code != codeInternal && e.Message == message(codeInternal) {
				t.Errorf("the message is %q", e.Message)
			}
			for _, part := range []string{tt.s3, "s3://data/", "StatusCode: " + strconv.Itoa(tt.status), "REQUEST-" + tt.s3} {
				if !strings.Contains(e.Err.Error(), part) {
					t.Errorf("%q is not in %q", part, e.Err)
				}
			}
			for _, secret := range []string{accessKey + "/", secretKey, "X-Amz-Signature"} {
				if strings.Contains(e.Err.Error(), secret) {
					t.Errorf("%q is in %q", secret, e.Err)
				}
			}
		})
	}
	if keys := r.keys("data"); len(keys) != 0 {
		t.Errorf("objects were written: %q", keys)
	}
}

// TestNetworkErrors is the same for a server that cannot be reached.
func TestNetworkErrors(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put([]byte("one\n"))
	destination := r.destination(func(c *Config) { c.S3Endpoint = "http://127.0.0.1:1" })
	_, err := destination.Deliver(t.Context(), s.attempt(s.batch()))
	var e *delivery.Error
	if !errors.As(err, &e) || e.Class != delivery.Retryable || e.Code != codeInternal {
		t.Errorf("Deliver returned %v, want a retryable %s", err, codeInternal)
	}
}
