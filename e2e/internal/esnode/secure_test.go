package esnode_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"testing"

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
	t.Run("authority", func(t *testing.T) { authority(t, front) })
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
