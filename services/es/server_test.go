package es

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/s3test"
)

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		body  string
		want  string
		types bool
		hides bool
	}{
		{`{"version":{"number":"7.10.2"},"tagline":"You Know, for Search"}`, "Elasticsearch 7.10", true, false},
		{`{"version":{"number":"6.8.23"},"tagline":"You Know, for Search"}`, "Elasticsearch 6.8", true, false},
		{`{"version":{"number":"8.17.0"}}`, "Elasticsearch 8.17", false, false},
		{`{"version":{"number":"8.19.21","build_flavor":"default"}}`, "Elasticsearch 8.19", false, true},
		{`{"version":{"number":"9.5.3"}}`, "Elasticsearch 9.5", false, true},
		{`{"version":{"distribution":"opensearch","number":"1.3.20"}}`, "OpenSearch 1.3", false, false},
		{`{"version":{"distribution":"opensearch","number":"3.3.2"}}`, "OpenSearch 3.3", false, false},
		{`{"version":{"number":"7.10.2"},"tagline":"The OpenSearch Project: https://opensearch.org/"}`, "OpenSearch 7.10", false, false},
		{`{"hello":"world"}`, "Elasticsearch 0.0", false, false},
		{`<html>`, "Elasticsearch 0.0", false, false},
		{`{"version":{"number":[]}}`, "Elasticsearch 0.0", false, false},
	} {
		got := readVersion([]byte(c.body))
		wantEqual(t, "the version of "+c.body, got.String(), c.want)
		wantEqual(t, "whether it has types: "+c.body, got.types(), c.types)
		wantEqual(t, "whether it hides documents: "+c.body, got.hidesSource(), c.hides)
	}
}

// A type is sent where there are types. What a server is is asked once, and again after a failure.
func TestTypes(t *testing.T) {
	typed := func(d *types.AmazonopensearchserviceDestinationDescription) { d.TypeName = aws.String("event") }
	r := newRig(t)
	r.es.Be("", "7.10.2")
	s := r.stream("demo", typed)
	destination := r.destination()
	d := s.documents(3, 10)
	_, err := destination.Deliver(t.Context(), s.attempt(d))
	check(t, err)
	for id, name := range r.es.Types() {
		wantEqual(t, "the type of "+id, name, "event")
	}
	wantEqual(t, "the documents", len(r.es.Types()), 3)

	r.es.Be("opensearch", "3.3.2")
	r.es.Fail(1, fakees.Reset)
	other := r.stream("other", typed)
	_, err = destination.Deliver(t.Context(), other.attempt(other.documents(3, 10)))
	check(t, err)
	looks := 0
	for _, q := range r.es.Requests() {
		if q.Method == http.MethodGet {
			looks++
		}
	}
	wantEqual(t, "how often the server was asked what it is", looks, 2)
	untyped := 0
	for _, name := range r.es.Types() {
		if name == "" {
			untyped++
		}
	}
	wantEqual(t, "the documents without a type", untyped, 3)
}

// Who writes is told in each way that there is, to clusters that the operator has named, and no secret is in an error.
func TestAuthentication(t *testing.T) {
	user := func(c *Config) { c.ESUsername, c.ESPassword = "elastic", "changeme" }
	for _, c := range []struct {
		name   string
		change func(c *Config, address, host string)
		want   string
	}{
		{"nobody", func(c *Config, _, host string) { c.ESHosts = []string{host} }, ""},
		{"a user", func(c *Config, _, host string) { user(c); c.ESHosts = []string{"other", strings.ToUpper(host)} }, "Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="},
		{"a user of a domain", func(c *Config, address, _ string) { user(c); c.ESEndpoints = map[string]string{domain: address} }, "Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="},
		{"a user, and a cluster of somebody else", func(c *Config, _, host string) { user(c); c.ESHosts = []string{"x" + host, "127.0.0.1"} }, ""},
		{"an API key", func(c *Config, _, host string) { c.ESAPIKey, c.ESHosts = "abc==", []string{host} }, "APIKey abc=="},
		{"an API key, and a cluster of somebody else", func(c *Config, _, _ string) { c.ESAPIKey = "abc==" }, ""},
		{"SigV4", func(c *Config, _, _ string) { c.ESSigV4, c.ESRegion = true, "eu-west-1" }, "AWS4-HMAC-SHA256 Credential=" + s3test.AccessKey + "/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo")
			change := func(cfg *Config) { c.change(cfg, r.es.URL(), strings.TrimPrefix(r.es.URL(), "http://")) }
			_, err := r.destination(change).Deliver(t.Context(), s.attempt(s.documents(3, 10)))
			check(t, err)
			for _, q := range r.es.Requests() {
				got := q.Header.Get("Authorization")
				if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
					t.Errorf("%s %s came with %q", q.Method, q.URL, got)
				}
				if strings.HasPrefix(c.want, "AWS4") && !strings.Contains(got, "/eu-west-1/es/aws4_request") {
					t.Errorf("it is signed for something else: %q", got)
				}
			}
		})
	}
}

func TestDomain(t *testing.T) {
	r := newRig(t)
	byARN := func(d *types.AmazonopensearchserviceDestinationDescription) {
		d.ClusterEndpoint, d.DomainARN, d.RetryOptions.DurationInSeconds = nil, aws.String(domain), aws.Int32(300)
	}
	s := r.stream("demo", byARN)
	d := s.documents(3, 10)
	got, err := r.destination(func(c *Config) { c.ESEndpoints = map[string]string{domain: r.es.URL()} }).Deliver(t.Context(), s.attempt(d))
	check(t, err)
	s.wantDelivered(d, got)
	_, err = r.destination().Deliver(t.Context(), s.attempt(d))
	wantCode(t, err, codeUnknownDomain)
}

// A cluster behind a certificate of one's own is trusted by --es-ca-file, and else not.
func TestCAFile(t *testing.T) {
	r := newRig(t)
	secure := httptest.NewUnstartedServer(r.es)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	s := r.stream("demo", func(d *types.AmazonopensearchserviceDestinationDescription) { d.ClusterEndpoint = &secure.URL })
	d := s.documents(3, 10)
	_, err := r.destination().Deliver(t.Context(), s.attempt(d))
	wantCode(t, err, codeConnection)
	path := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	got, err := r.destination(func(c *Config) { c.ESCAFile = path }).Deliver(t.Context(), s.attempt(d))
	check(t, err)
	s.wantDelivered(d, got)
}

// What the server says of a request is told with a code of its own.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		status       int
		kind, reason string
		want         string
	}{
		{400, "illegal_argument_exception", "explicit index in bulk is not allowed", codeExplicitIndex},
		{401, "security_exception", "unable to authenticate user", codeAccessDenied},
		{403, "security_exception", "action [indices:data/write/bulk] is unauthorized", codeAccessDenied},
		{403, "cluster_block_exception", "blocked by: [FORBIDDEN/12/index read-only]", codeBlocked},
		{404, "", "", codeRefused},
		{413, "", "", ""},
		{429, "circuit_breaking_exception", "[parent] Data too large", codeThrottled},
		{502, "", "", codeUnavailable},
	} {
		r := &refusal{status: c.status, kind: c.kind, reason: c.reason}
		if code, message := r.guide(); c.want != "" && code != c.want || message == "" {
			t.Errorf("%s is %s, %q", r, code, message)
		}
	}
}

func TestReadError(t *testing.T) {
	for _, c := range []struct{ body, kind, reason string }{
		{`{"error":{"type":"a","reason":"b"},"status":400}`, "a", "b"},
		{`{"error":"IndexMissingException"}`, "", "IndexMissingException"},
		{`{"Message":"User is not authorized"}`, "", "User is not authorized"},
		{`{"message":"Forbidden"}`, "", "Forbidden"},
		{" <html>no</html>\n", "", "<html>no</html>"},
		{"", "", ""},
		{`{"error":7}`, "", ""},
	} {
		kind, reason := readError([]byte(c.body))
		wantEqual(t, "the kind in "+c.body, kind, c.kind)
		wantEqual(t, "the reason in "+c.body, reason, c.reason)
	}
}

// Roles that sign have connections of their own, and not without end.
func TestServersAreBounded(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	servers := r.destination().servers
	for i := range mostServers + 10 {
		doc := *s.doc
		search := *doc.Destination.Search
		search.Description.ClusterEndpoint = aws.String(r.es.URL() + "/" + strings.Repeat("x", i))
		doc.Destination.Search = &search
		_, err := servers.of(&doc)
		check(t, err)
	}
	wantEqual(t, "the servers", len(servers.open), mostServers)
	_, err := (&server{transport: nil, seen: true}).look(context.Background())
	check(t, err)
}
