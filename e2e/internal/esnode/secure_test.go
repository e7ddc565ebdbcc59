package esnode_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"hydrant/e2e/internal/esnode"
)

func secured(t *testing.T, node *esnode.Node) {
	front := esnode.Secure(t, node.URL, esnode.Credentials{User: "writer", Password: "correct", APIKey: "a2V5OnNlY3JldA=="})
	for _, tc := range []struct {
		name, authorization string
		passes              bool
	}{
		{"none", "", false},
		{"user and password", basic("writer", "correct"), true},
		{"wrong password", basic("writer", "wrong"), false},
		{"wrong user", basic("reader", "correct"), false},
		{"API key", "ApiKey a2V5OnNlY3JldA==", true},
		{"wrong API key", "ApiKey b3RoZXI6c2VjcmV0", false},
		{"API key as something else", "Bearer a2V5OnNlY3JldA==", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := front.Refused()
			_, err := front.Client(http.Header{"Authorization": {tc.authorization}}).Info(t.Context())
			if tc.passes && err != nil {
				t.Error(err)
			}
			if !tc.passes {
				wantStatus(t, err, http.StatusUnauthorized)
			}
			if refused := front.Refused() - before; (refused == 0) != tc.passes {
				t.Errorf("it says that it refused %d", refused)
			}
		})
	}
	t.Run("corrected on the server", func(t *testing.T) {
		client := front.Client(http.Header{"Authorization": {basic("writer", "new")}})
		_, err := client.Info(t.Context())
		wantStatus(t, err, http.StatusUnauthorized)
		front.Accept(esnode.Credentials{User: "writer", Password: "new"})
		_, err = client.Info(t.Context())
		must(t, err)
		_, err = front.Client(http.Header{"Authorization": {"ApiKey "}}).Info(t.Context())
		wantStatus(t, err, http.StatusUnauthorized)
	})
	t.Run("signatures", func(t *testing.T) { signatures(t, front) })
	t.Run("authority", func(t *testing.T) { authority(t, front) })
}

// signatures makes a document with a right signature, which a wrong one does not.
func signatures(t *testing.T, front *esnode.Front) {
	front.Accept(esnode.Credentials{Signing: esnode.Signing{AccessKey: "key", SecretKey: "secret", SessionToken: "session", Region: "eu-west-1"}})
	right := signed{key: aws.Credentials{AccessKeyID: "key", SecretAccessKey: "secret", SessionToken: "session"}, service: "es", region: "eu-west-1"}
	document := []byte(`{"n":1}`)
	for _, tc := range []struct {
		name   string
		change func(*signed)
		sent   string
		status int
	}{
		{"right", func(*signed) {}, `{"n":1}`, http.StatusCreated},
		{"right, and the server is asked", func(*signed) {}, `{"n":1}`, http.StatusConflict},
		{"another body", func(*signed) {}, `{"n":2}`, http.StatusUnauthorized},
		{"wrong secret", func(s *signed) { s.key.SecretAccessKey = "other" }, `{"n":1}`, http.StatusUnauthorized},
		{"wrong key", func(s *signed) { s.key.AccessKeyID = "other" }, `{"n":1}`, http.StatusUnauthorized},
		{"no session", func(s *signed) { s.key.SessionToken = "" }, `{"n":1}`, http.StatusUnauthorized},
		{"wrong service", func(s *signed) { s.service = "s3" }, `{"n":1}`, http.StatusUnauthorized},
		{"wrong region", func(s *signed) { s.region = "us-east-1" }, `{"n":1}`, http.StatusUnauthorized},
	} {
		t.Run(tc.name, func(t *testing.T) {
			how := right
			tc.change(&how)
			request, err := http.NewRequest(http.MethodPut, front.URL+"/signed/_create/a%20b?refresh=false", strings.NewReader(string(document)))
			must(t, err)
			request.Header.Set("Content-Type", "application/json")
			sum := sha256.Sum256(document)
			must(t, v4.NewSigner().SignHTTP(t.Context(), how.key, request, hex.EncodeToString(sum[:]), how.service, how.region, time.Now()))
			request.Body = io.NopCloser(strings.NewReader(tc.sent))
			request.Header.Set("X-Request-Id", "added on the way")
			response, err := front.Client(nil).HTTP.Do(request)
			must(t, err)
			must(t, response.Body.Close())
			if response.StatusCode != tc.status {
				t.Errorf("status %d, want %d", response.StatusCode, tc.status)
			}
		})
	}
}

// signed is how a request is signed.
type signed struct {
	key             aws.Credentials
	service, region string
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// authority reads the file that a program under test is given, and finds that it is needed.
func authority(t *testing.T, front *esnode.Front) {
	text, err := os.ReadFile(front.CAFile)
	must(t, err)
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(text) {
		t.Fatalf("%s has no certificate", front.CAFile)
	}
	if status, err := statusOf(t, front.URL, trusted); err != nil || status != http.StatusUnauthorized {
		t.Errorf("who trusts the authority is answered %d, %v", status, err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := statusOf(t, front.URL, x509.NewCertPool()); !errors.As(err, &unknown) {
		t.Errorf("who does not trust the authority gets %v", err)
	}
}

func statusOf(t *testing.T, url string, trusted *x509.CertPool) (int, error) {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
