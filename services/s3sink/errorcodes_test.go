package s3sink

import (
	"bytes"
	"net/http"
	"testing"

	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

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
			r.s3.Fail("PutObject", -1, answerWith(http.StatusForbidden, "AccessDenied",
				"Authorization: AWS4-HMAC-SHA256 Credential=hidden/20261126/us-east-1/s3/aws4_request, Signature=hidden; X-Amz-Security-Token: hidden; one\n"))
		}, "AccessDenied"},
		{"a redirect to a signed address", func(_ *testing.T, r *rig, _ *Config) {
			r.s3.Fail("PutObject", -1, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
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
			natstest.WaitFor(t, "an entry", func() bool {
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
