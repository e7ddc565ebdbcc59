package s3test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"
)

// STS is an STS server that checks who asks for which role, as a role's trust policy does, and can be told to fail.
// The credentials that it gives are good for the S3 server of the test.
type STS struct {
	s3     *Server
	server *httptest.Server
	trust  map[string]string // external id by role

	mu       sync.Mutex
	now      func() time.Time
	lifetime time.Duration
	do       Action // instead of an answer
	asked    []url.Values
}

// StartSTS runs one until the test ends. trust has the external id that each role asks for.
func StartSTS(s3 *Server, trust map[string]string) *STS {
	f := &STS{s3: s3, trust: trust, lifetime: time.Hour, now: time.Now}
	f.server = httptest.NewServer(f)
	s3.t.Cleanup(f.server.Close)
	return f
}

// URL is its address.
func (f *STS) URL() string { return f.server.URL }

// Fail answers with an action from now on; nil ends that.
func (f *STS) Fail(do Action) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

// Live sets how long the credentials that it gives from now on hold.
func (f *STS) Live(lifetime time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lifetime = lifetime
}

// Clock gives it a clock, before anything is asked of it.
func (f *STS) Clock(now func() time.Time) { f.now = now }

// Requests returns what was asked, also where the answer was a failure.
func (f *STS) Requests() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]url.Values(nil), f.asked...)
}

// ServeHTTP implements http.Handler.
func (f *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		STSError(http.StatusBadRequest, "InvalidAction")(nil, w, r)
	case signedWith(r) != AccessKey || !strings.Contains(r.Header.Get("Authorization"), "/sts/aws4_request"):
		STSError(http.StatusForbidden, "InvalidClientTokenId")(nil, w, r)
	case !known || r.PostForm.Get("ExternalId") != id:
		STSError(http.StatusForbidden, "AccessDenied")(nil, w, r)
	default:
		key := TemporaryKey(role, number)
		f.s3.faker.AddAuthKeys(map[string]string{key: TemporarySecret})
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>
<AssumedRoleUser><Arn>%s</Arn><AssumedRoleId>AROA:session</AssumedRoleId></AssumedRoleUser>
</AssumeRoleResult><ResponseMetadata><RequestId>STS-REQUEST</RequestId></ResponseMetadata></AssumeRoleResponse>`,
			key, TemporarySecret, TemporaryToken, end.UTC().Format(time.RFC3339), role)
	}
}

// What is secret in the credentials that it gives.
const (
	TemporarySecret = "temporarysecret"
	TemporaryToken  = "temporarytoken"
)

// TemporaryKey is the access key of the credentials that the n-th request got for a role.
func TemporaryKey(role string, n int) string {
	return fmt.Sprintf("ASIA-%s-%d", role[strings.LastIndexByte(role, '/')+1:], n)
}

// STSError answers with an error in STS's form.
func STSError(status int, code string) Action {
	return func(_ http.Handler, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>STS says %s.</Message></Error><RequestId>STS-REQUEST</RequestId></ErrorResponse>`, code, code)
	}
}
