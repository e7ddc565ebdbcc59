package s3sink

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"hydrant/shared/delivery"
	"hydrant/shared/names"
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
		{http.StatusBadRequest, "InvalidBucketName", codeNoSuchBucket, delivery.Permanent},
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
			if e.Message == "" || (tt.code != codeInternal || tt.class == delivery.Permanent) && e.Message == message(codeInternal) {
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

// TestErrorLogHasNoCredentials has the SDK and a server say more than an error log should repeat.
func TestErrorLogHasNoCredentials(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *rig, *Config)
		want   string // is in the entry
	}{
		{"a password in the address of the environment", func(t *testing.T, _ *rig, cfg *Config) {
			t.Setenv("AWS_ENDPOINT_URL_S3", "http://me:hidden@127.0.0.1:1")
			cfg.S3Endpoint = ""
		}, "PutObject"},
		{"a server that repeats what it was sent", func(_ *testing.T, r *rig, _ *Config) {
			r.s3.fail("PutObject", -1, answerWith(http.StatusForbidden, "AccessDenied",
				"Authorization: AWS4-HMAC-SHA256 Credential=hidden/20261126/us-east-1/s3/aws4_request, Signature=hidden; X-Amz-Security-Token: hidden; one\n"))
		}, "AccessDenied"},
		{"a redirect to a signed address", func(_ *testing.T, r *rig, _ *Config) {
			r.s3.fail("PutObject", -1, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "http://me:hidden@127.0.0.1:1/k?X-Amz-Signature=hidden")
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
		}, "307"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo")
			s.put([]byte("one\n"))
			r.start(func(cfg *Config) { c.change(t, r, cfg) })
			s.hand(s.batch())
			var data []byte
			eventually(t, "an entry", func() bool {
				if all := r.messages(names.ErrorsStream); len(all) > 0 {
					data = all[0]
				}
				return data != nil
			})
			for _, secret := range []string{"hidden", secretKey} {
				if bytes.Contains(data, []byte(secret)) {
					t.Errorf("%q is in %s", secret, data)
				}
			}
			if !bytes.Contains(data, []byte(c.want)) {
				t.Errorf("no %q in %s", c.want, data)
			}
		})
	}
}
