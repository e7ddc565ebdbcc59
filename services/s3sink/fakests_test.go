package s3sink

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeSTS is an STS server that checks who asks for which role, as a role's trust policy does, and can be told to fail.
// The credentials that it gives are good for the S3 server of the test.
type fakeSTS struct {
	s3     *fakeS3
	server *httptest.Server
	trust  map[string]string // external id by role

	mu       sync.Mutex
	now      func() time.Time
	lifetime time.Duration
	do       action // instead of an answer
	asked    []url.Values
}

func (r *rig) startSTS(trust map[string]string) *fakeSTS {
	f := &fakeSTS{s3: r.s3, trust: trust, lifetime: time.Hour, now: time.Now}
	f.server = httptest.NewServer(f)
	r.t.Cleanup(f.server.Close)
	return f
}

// assuming is the setting to take roles from it.
func (f *fakeSTS) assuming(c *Config) { c.STSEndpoint = f.server.URL }

// fail answers with an action from now on; nil ends that.
func (f *fakeSTS) fail(do action) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

func (f *fakeSTS) live(lifetime time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lifetime = lifetime
}

// requests returns what was asked, also where the answer was a failure.
func (f *fakeSTS) requests() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]url.Values(nil), f.asked...)
}

func (f *fakeSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := r.ParseForm()
	f.mu.Lock()
	f.asked = append(f.asked, r.PostForm)
	number, do, end := len(f.asked), f.do, f.now().Add(f.lifetime)
	f.mu.Unlock()
	role := r.PostForm.Get("RoleArn")
	id, known := f.trust[role]
	switch {
	case do != nil:
		do(nil, w, r)
	case err != nil || r.PostForm.Get("Action") != "AssumeRole":
		stsError(http.StatusBadRequest, "InvalidAction")(nil, w, r)
	case signedWith(r) != accessKey || !strings.Contains(r.Header.Get("Authorization"), "/sts/aws4_request"):
		stsError(http.StatusForbidden, "InvalidClientTokenId")(nil, w, r)
	case !known || r.PostForm.Get("ExternalId") != id:
		stsError(http.StatusForbidden, "AccessDenied")(nil, w, r)
	default:
		key := temporaryKey(role, number)
		f.s3.faker.AddAuthKeys(map[string]string{key: temporarySecret})
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
<AssumedRoleUser><Arn>%s</Arn><AssumedRoleId>AROA:session</AssumedRoleId></AssumedRoleUser>
</AssumeRoleResult><ResponseMetadata><RequestId>STS-REQUEST</RequestId></ResponseMetadata></AssumeRoleResponse>`,
			key, temporarySecret, temporaryToken, end.UTC().Format(time.RFC3339), role)
	}
}

const (
	temporarySecret = "temporarysecret"
	temporaryToken  = "temporarytoken"
)

// temporaryKey is the access key of the credentials that the n-th request got for a role.
func temporaryKey(role string, n int) string {
	return fmt.Sprintf("ASIA-%s-%d", role[strings.LastIndexByte(role, '/')+1:], n)
}

// stsError answers with an error in STS's form.
func stsError(status int, code string) action {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>STS says %s.</Message></Error><RequestId>STS-REQUEST</RequestId></ErrorResponse>`, code, code)
	}
}

// as makes a delivery stream of an account use a role.
func as(account, role string) option {
	return func(d *doc) {
		d.ARN = "arn:aws:firehose:us-east-1:" + account + ":deliverystream/" + string(d.Name)
		d.Destination.S3.RoleARN = &role
	}
}

// wantError checks that a delivery failed, how, and that the failure shows no secret.
func wantError(t *testing.T, err error, class, code string, parts ...string) {
	t.Helper()
	e := deliveryError(t, err)
	wantEqual(t, "the code", e.Code, code)
	wantEqual(t, "the class", className(e.Class), class)
	for _, part := range parts {
		if !strings.Contains(e.Message+"\n"+e.Err.Error(), part) {
			t.Errorf("%q is neither in %q nor in %q", part, e.Message, e.Err)
		}
	}
	for _, secret := range []string{secretKey, temporarySecret, temporaryToken, "Signature="} {
		if strings.Contains(e.Message+e.Err.Error(), secret) {
			t.Errorf("%q is in %q or in %q", secret, e.Message, e.Err)
		}
	}
}
