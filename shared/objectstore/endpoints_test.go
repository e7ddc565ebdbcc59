package objectstore

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rclone/gofakes3"

	"hydrant/shared/delivery"
	"hydrant/shared/s3test"
)

// TestEndpointStyles reaches a server in each way that S3 servers are reached, for all operations of a first attempt and of
// a second one.
func TestEndpointStyles(t *testing.T) {
	tests := []struct {
		name       string
		host       string // in place of the server's address
		path       string // behind it
		size       int
		pathStyle  bool
		virtual    bool // the server takes the bucket from the host's name
		wantHost   string
		wantPrefix string // of the path
	}{
		{"path style", "", "", several, true, false, "", "/data/"},
		{"path style, slash behind", "", "/", 1000, true, false, "", "/data/"},
		{"path style, by name", "s3.localhost", "", 1000, true, false, "s3.localhost", "/data/"},
		{"an address has no virtual hosts", "", "", 1000, false, false, "", "/data/"},
		{"virtual hosts", "s3.localhost", "", several, false, true, "data.s3.localhost", "/2"},
		{"virtual hosts, slash behind", "s3.localhost", "/", 1000, false, true, "data.s3.localhost", "/2"},
		{"beneath a path", "", "/s3", several, true, false, "", "/s3/data/"},
		{"beneath a path, slash behind", "", "/s3/", 1000, true, false, "", "/s3/data/"},
		{"virtual hosts beneath a path", "s3.localhost", "/s3", 1000, false, true, "data.s3.localhost", "/s3/2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			server := newStyledServer(t, r, tt.virtual, strings.TrimSuffix(tt.path, "/"))
			address := server.server.Listener.Addr().String()
			host, port, err := net.SplitHostPort(address)
			check(t, err)
			if tt.host != "" {
				host = tt.host
			}
			store := r.store(func(c *Settings) {
				c.S3Endpoint, c.S3PathStyle = "http://"+net.JoinHostPort(host, port)+tt.path, tt.pathStyle
			})
			store.clients.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address) // in place of a name server
			}
			for number := range 2 {
				_, err := attempt(t.Context(), store, writing(tt.size, func(w *Write) { w.Again = number > 0 }))
				check(t, err)
			}
			r.wantObject(tt.size)
			if tt.wantHost == "" {
				tt.wantHost = host
			}
			seen := server.objects()
			wantEqual(t, "whether requests were seen", len(seen) >= 2, true)
			for _, seen := range seen {
				if !strings.HasPrefix(seen, tt.wantHost+":"+port+tt.wantPrefix) {
					t.Errorf("a request went to %s, want %s:%s%s…", seen, tt.wantHost, port, tt.wantPrefix)
				}
			}
		})
	}
}

// styledServer is an S3 server that is reached in a certain way, and notes how it was.
type styledServer struct {
	server *httptest.Server
	mu     sync.Mutex
	seen   []string // host and path of requests for objects
}

// newStyledServer serves what the rig's server has. Beneath a path it does not check signatures, which the path is part of.
func newStyledServer(t *testing.T, r *rig, virtual bool, path string) *styledServer {
	options := []gofakes3.Option{gofakes3.WithHostBucket(virtual)}
	if path == "" {
		options = append(options, gofakes3.WithV4Auth(map[string]string{s3test.AccessKey: s3test.SecretKey}))
	}
	s := &styledServer{}
	store := http.StripPrefix(path, gofakes3.New(r.s3.Backend, options...).Server())
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.Contains(q.URL.Path, "demo-1-") {
			s.mu.Lock()
			s.seen = append(s.seen, q.Host+q.URL.Path)
			s.mu.Unlock()
		}
		store.ServeHTTP(w, q)
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *styledServer) objects() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// TestPrivateCA reaches S3 and STS over https with certificates of an authority that AWS_CA_BUNDLE names.
func TestPrivateCA(t *testing.T) {
	r := newRig(t)
	sts := s3test.StartSTS(r.s3, trusting)
	secureS3, secureSTS := httptest.NewTLSServer(r.s3), httptest.NewTLSServer(sts)
	t.Cleanup(secureS3.Close)
	t.Cleanup(secureSTS.Close)
	secure := func(c *Settings) { c.S3Endpoint, c.STSEndpoint = secureS3.URL, secureSTS.URL }
	w := writing(several, by(accountA, roleA))

	_, err := r.store(secure, func(c *Settings) { c.STSEndpoint = "" }).Create(t.Context(), w)
	wantError(t, err, delivery.Retryable, CodeInternal, "certificate")

	bundle := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secureS3.Certificate().Raw}), 0o600))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	_, err = r.store(secure).Create(t.Context(), w)
	check(t, err)
	r.wantObject(several)
	wantEqual(t, "who wrote", r.s3.SignedBy("CompleteMultipartUpload")[0], s3test.TemporaryKey(roleA, 1))
}

// TestChecksums sends checksums in the header over http and behind the body over https, and none where that is set.
func TestChecksums(t *testing.T) {
	names := []string{"X-Amz-Trailer", "X-Amz-Checksum-Crc32", "X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Checksum-Algorithm"}
	r := newRig(t)
	secure := httptest.NewTLSServer(r.s3)
	t.Cleanup(secure.Close)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	check(t, os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600))
	t.Setenv("AWS_CA_BUNDLE", bundle)
	var mu sync.Mutex
	seen := map[string]bool{}
	r.s3.Fail("any", -1, func(store httpHandler, w httpWriter, q *httpRequest) {
		mu.Lock()
		for _, name := range names {
			if q.Header.Get(name) != "" {
				seen[s3test.OperationOf(q)+" "+name] = true
			}
		}
		mu.Unlock()
		store.ServeHTTP(w, q)
	})
	tests := []struct{ name, endpoint, setting, put, part string }{
		{"http", r.s3.URL(), "supported", "PutObject X-Amz-Checksum-Crc32", "UploadPart X-Amz-Checksum-Crc32"},
		{"https", secure.URL, "supported", "PutObject X-Amz-Trailer", "UploadPart X-Amz-Trailer"},
		{"http, required", r.s3.URL(), checksumsRequired, "", ""},
		{"https, required", secure.URL, checksumsRequired, "", ""},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clear(seen)
			store := r.store(func(c *Settings) { c.S3Endpoint, c.S3Checksums = tt.endpoint, tt.setting })
			for _, size := range []int{1000, several} {
				_, err := store.Create(t.Context(), writing(size, func(w *Write) { w.Object.Key += fmt.Sprintf("-%d-%d", i, size) }))
				check(t, err)
			}
			if tt.put == "" && len(seen) != 0 {
				t.Errorf("checksums were sent: %v", seen)
			}
			if tt.put != "" && (!seen[tt.put] || !seen[tt.part]) {
				t.Errorf("sent were %v, want %s and %s", seen, tt.put, tt.part)
			}
		})
	}
}

// TestAnswersExplained has servers answer as they do to a service that is set up wrongly for them: the message names the
// setting.
func TestAnswersExplained(t *testing.T) {
	inRegion := func(status int, code string) action {
		return func(store http.Handler, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-amz-bucket-region", "eu-central-1")
			w.Header().Set("Location", "http://data.s3.eu-central-1.example.com/")
			s3test.Answer(status, code)(store, w, r)
		}
	}
	tests := []struct {
		name  string
		do    action
		class delivery.Class
		says  []string
	}{
		{"301", inRegion(http.StatusMovedPermanently, "PermanentRedirect"), delivery.Permanent, []string{"--s3-region", "eu-central-1"}},
		{"301 without a region", s3test.Answer(http.StatusMovedPermanently, "PermanentRedirect"), delivery.Permanent, []string{"--s3-region"}},
		{"307", inRegion(http.StatusTemporaryRedirect, "TemporaryRedirect"), delivery.Retryable, []string{"--s3-region", "eu-central-1"}},
		{"400", s3test.AnswerWith(http.StatusBadRequest, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-central-1'"), delivery.Permanent, []string{"--s3-region", "eu-central-1"}},
		{"checksums by header", s3test.AnswerWith(http.StatusNotImplemented, "NotImplemented", "Header 'x-amz-checksum-crc32' with value '8FJbTw==' not implemented"), delivery.Permanent, []string{"--s3-checksums"}},
		{"checksums by encoding", s3test.AnswerWith(http.StatusBadRequest, "InvalidArgument", "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value"), delivery.Permanent, []string{"--s3-checksums"}},
		{"checksums as older Ceph", s3test.Answer(http.StatusBadRequest, "XAmzContentSHA256Mismatch"), delivery.Retryable, []string{"--s3-checksums"}},
		{"checksums as Google", s3test.Answer(http.StatusBadRequest, "ExcessHeaderValues"), delivery.Permanent, []string{"--s3-checksums"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.s3.Fail("PutObject", -1, tt.do)
			store := r.store()
			_, err := store.Create(t.Context(), writing(9))
			wantError(t, err, tt.class, CodeInternal, tt.says...)
			wantEqual(t, "whether conditions are taken for refused", store.conditions.refusedBy("data"), false)
		})
	}
}

// TestAWSAddresses looks where requests go if no address is set: to AWS in the region, buckets as virtual hosts.
func TestAWSAddresses(t *testing.T) {
	r := newRig(t)
	w := writing(9, by(accountA, roleA))
	tests := []struct{ sts, want string }{
		{"", "data.s3.eu-west-1.amazonaws.com:443"},
		{stsOfAWS, "sts.eu-west-1.amazonaws.com:443"}, // and no further, since nobody answers
	}
	for _, tt := range tests {
		store := r.store(func(c *Settings) {
			c.S3Endpoint, c.S3Region, c.S3PathStyle, c.STSEndpoint = "", "eu-west-1", false, tt.sts
		})
		var mu sync.Mutex
		var dialled []string
		store.clients.transport.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dialled = append(dialled, address)
			return nil, errors.New("there is no way out of a test")
		}
		_, err := store.Create(t.Context(), w)
		wantError(t, err, delivery.Retryable, CodeInternal, "no way out")
		dialled = slices.Compact(dialled)
		if !slices.Equal(dialled, []string{tt.want}) {
			t.Errorf("with --sts-endpoint %q the requests went to %q, want %s", tt.sts, dialled, tt.want)
		}
	}
}
