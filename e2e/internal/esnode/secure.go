package esnode

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// Credentials are what Secure lets pass: a user's name and password, an API key in its encoded form, a signature, or each
// of those that are given.
type Credentials struct {
	User, Password, APIKey string
	Signing                Signing
}

func (c Credentials) allow(r *http.Request) bool {
	if user, password, ok := r.BasicAuth(); ok {
		return c.User != "" && user == c.User && password == c.Password
	}
	// The scheme may be written in any way (RFC 9110), and Elastic's own client writes APIKey.
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if c.APIKey != "" && strings.EqualFold(scheme, "ApiKey") && key == c.APIKey {
		return true
	}
	return c.Signing.allow(r)
}

// Front is a server with TLS that lets requests with the right credentials pass to a node, and answers others as a
// node's own security does. The node itself has no security, and knows nothing of the credentials.
type Front struct {
	URL    string // https://127.0.0.1:port
	CAFile string // PEM, of the authority that vouches for the server

	t        testing.TB
	server   *httptest.Server
	accepted atomic.Pointer[Credentials]
	refused  atomic.Int64
}

// Secure serves in front of a node until the test ends.
func Secure(t testing.TB, node string, accepted Credentials) *Front {
	t.Helper()
	target, err := url.Parse(node)
	must(t, err)
	f := &Front{t: t, CAFile: filepath.Join(t.TempDir(), "ca.pem")}
	f.Accept(accepted)
	f.server = httptest.NewUnstartedServer(f.guard(reverse(t, target)))
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that do not trust it, as tests want them
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.URL = f.server.URL
	must(t, os.WriteFile(f.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw}), 0o600))
	return f
}

func reverse(t testing.TB, target *url.URL) http.Handler {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the answer 502 tells of it
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"} {
				r.Out.Header.Del(name)
			}
		},
	}
}

// Accept changes the credentials for the requests to come.
func (f *Front) Accept(c Credentials) { f.accepted.Store(&c) }

// Refused is how many requests had other credentials, or none.
func (f *Front) Refused() int64 { return f.refused.Load() }

const unauthorized = `{"error":{"root_cause":[{"type":"security_exception","reason":"unable to authenticate"}],` +
	`"type":"security_exception","reason":"unable to authenticate"},"status":401}`

func (f *Front) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.accepted.Load().allow(r) {
			next.ServeHTTP(w, r)
			return
		}
		f.refused.Add(1)
		w.Header().Add("WWW-Authenticate", `Basic realm="security" charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", "ApiKey")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, unauthorized)
	})
}

// Client returns a client that trusts the server and has no credentials but those in its header.
func (f *Front) Client(header http.Header) *Client {
	pool := x509.NewCertPool()
	pool.AddCert(f.server.Certificate())
	return &Client{URL: f.URL, HTTP: newHTTP(f.t, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}), Header: header}
}
