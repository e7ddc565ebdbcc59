package fakees

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Domain stands before a server and lets in whoever signs with SigV4, as Amazon's domains do: for its own region, with
// credentials that it knows and that were not revoked, the body as it is.
type Domain struct {
	next   http.Handler
	server *httptest.Server
	region string
	secret func(key string) (secret, token string)

	mu      sync.Mutex
	revoked []string
	signers []string
	refused []string
}

// StartDomain runs one until the test ends. secret knows what belongs to an access key.
func StartDomain(t testing.TB, next http.Handler, region string, secret func(key string) (secret, token string)) *Domain {
	t.Helper()
	d := &Domain{next: next, region: region, secret: secret}
	d.server = httptest.NewServer(d)
	t.Cleanup(d.server.Close)
	return d
}

// URL is its address.
func (d *Domain) URL() string { return d.server.URL }

// Revoke ends the session of an access key.
func (d *Domain) Revoke(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.revoked = append(d.revoked, key)
}

// Signers are the access keys of the requests that were let in, and why others were not.
func (d *Domain) Signers() (letIn, refused []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.signers), slices.Clone(d.refused)
}

// ServeHTTP implements http.Handler.
func (d *Domain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client gave up
	}
	key, why := d.check(r, body)
	d.mu.Lock()
	if why == "" {
		d.signers = append(d.signers, key)
	} else {
		d.refused = append(d.refused, why)
	}
	d.mu.Unlock()
	if why != "" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"message":%q}`, why)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	d.next.ServeHTTP(w, r)
}

// check returns who signed a request, or why it is not let in, in Amazon's words.
func (d *Domain) check(r *http.Request, body []byte) (key, why string) {
	authorization := r.Header.Get("Authorization")
	scope, signed := strings.CutPrefix(authorization, "AWS4-HMAC-SHA256 Credential=")
	parts := strings.Split(strings.Split(scope, ",")[0], "/")
	if !signed || len(parts) != 5 {
		return "", "Missing Authentication Token"
	}
	key = parts[0]
	if parts[2] != d.region || parts[3] != "es" {
		return key, "Credential should be scoped to a valid region and service, not " + parts[2] + " and " + parts[3]
	}
	secret, token := d.secret(key)
	d.mu.Lock()
	revoked := slices.Contains(d.revoked, key)
	d.mu.Unlock()
	switch {
	case secret == "":
		return key, "The security token included in the request is invalid."
	case revoked:
		return key, "The security token included in the request is expired"
	}
	want, err := signatureOf(r, body, aws.Credentials{AccessKeyID: key, SecretAccessKey: secret, SessionToken: token}, d.region)
	if err != nil || want != authorization {
		return key, "The request signature we calculated does not match the signature you provided."
	}
	return key, ""
}

// signatureOf signs a request again, over the headers that it was signed over and the body that came.
func signatureOf(r *http.Request, body []byte, with aws.Credentials, region string) (string, error) {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "", err
	}
	_, names, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again, err := http.NewRequestWithContext(context.Background(), r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	for _, name := range strings.Split(names, ";") {
		if values := r.Header.Values(name); len(values) > 0 && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), with, again, hex.EncodeToString(sum[:]), "es", region, at)
	return again.Header.Get("Authorization"), err
}
