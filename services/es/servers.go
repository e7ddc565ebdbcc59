package es

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"hydrant/shared/catalog"
	"hydrant/shared/objectstore"
)

// mostServers bounds how many are kept ready.
const mostServers = 1024

// serverKey is what makes a server one of its own: where it is, and who asks it. Without signatures all ask as the same.
type serverKey struct {
	address string
	role    string
	stream  string // whose session of the role it is
}

// servers gives out the servers that batches go to.
//
// The requests are go-elasticsearch's, over Elastic's transport. Its client is not there: it refuses a server that is not
// Elasticsearch after the request was carried out, so that every repeat indexes twice what has no id. Nor is its
// esutil.BulkIndexer: it keeps what it is given in memory while it repeats it, takes a request that failed for its documents'
// end, wants a callback for each document, and cannot ask whether the batch is still ours before each request. What it has
// beyond that, cutting requests and reading answers, is bulk.go and answer.go.
type servers struct {
	cfg       Config
	transport *http.Transport
	store     *objectstore.Store // whose roles sign
	now       func() time.Time

	mu   sync.Mutex
	open map[serverKey]*kept
	uses uint64
}

type kept struct {
	*server
	used uint64
}

func newServers(cfg Config, store *objectstore.Store) (*servers, error) {
	transport, err := newTransport(cfg)
	if err != nil {
		return nil, err
	}
	return &servers{cfg: cfg, transport: transport, store: store, now: time.Now, open: map[serverKey]*kept{}}, nil
}

// newTransport has a connection ready for each request that may be on its way.
func newTransport(cfg Config) (*http.Transport, error) {
	standard, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport was replaced by something else")
	}
	t := standard.Clone()
	t.ResponseHeaderTimeout = cfg.ESTimeout
	t.MaxIdleConnsPerHost = cfg.BulkInFlight
	t.MaxIdleConns = 4 * cfg.Workers * cfg.BulkInFlight
	t.WriteBufferSize = 64 << 10
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.ESCAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(cfg.ESCAFile)
	if err != nil {
		return nil, fmt.Errorf("--es-ca-file (HYDRANT_ES_CA_FILE): %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--es-ca-file (HYDRANT_ES_CA_FILE): %q has no certificate in PEM", cfg.ESCAFile)
	}
	return t, nil
}

// close gives back the connections. Nobody may be using a server any more.
func (s *servers) close() { s.transport.CloseIdleConnections() }

// address is where a delivery stream's cluster is: its ClusterEndpoint as it is, or what the operator says of its DomainARN.
func (s *servers) address(to *types.AmazonopensearchserviceDestinationDescription) (string, error) {
	if endpoint := aws.ToString(to.ClusterEndpoint); endpoint != "" {
		return endpoint, nil
	}
	arn := aws.ToString(to.DomainARN)
	if address := s.cfg.ESEndpoints[arn]; address != "" {
		return address, nil
	}
	return "", &unknownDomainError{arn}
}

// unknownDomainError says that a delivery stream's domain has no address.
type unknownDomainError struct{ arn string }

func (e *unknownDomainError) Error() string {
	return fmt.Sprintf("no address is known for the domain %s", e.arn)
}

// of returns the server of a delivery stream.
func (s *servers) of(d *catalog.DeliveryStream) (*server, error) {
	to := &d.Destination.Search.Description
	address, err := s.address(to)
	if err != nil {
		return nil, err
	}
	key := serverKey{address: address}
	if s.cfg.ESSigV4 {
		key.role, key.stream = aws.ToString(to.RoleARN), string(d.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.open[key]
	if have == nil {
		made, err := s.connect(key, d)
		if err != nil {
			return nil, err
		}
		if len(s.open) >= mostServers {
			s.forgetOne()
		}
		have = &kept{server: made}
		s.open[key] = have
	}
	s.uses++
	have.used = s.uses
	return have.server, nil
}

// forgetOne drops the server that was not asked for the longest. Who has it may go on with it. It needs s.mu.
func (s *servers) forgetOne() {
	var oldest serverKey
	first := s.uses + 1
	for key, have := range s.open {
		if have.used < first {
			oldest, first = key, have.used
		}
	}
	delete(s.open, oldest)
}

func (s *servers) connect(key serverKey, d *catalog.DeliveryStream) (*server, error) {
	address, err := url.Parse(key.address)
	if err != nil || address.Host == "" || address.User != nil {
		return nil, errors.New("the cluster's address is not one that can be used: use https:// with a host, and no user")
	}
	options := []elastictransport.Option{
		elastictransport.WithURLs(address), elastictransport.WithDisableRetry(),
		elastictransport.WithUserAgent("hydrant"), elastictransport.WithTransport(measured{s.transport}),
	}
	switch {
	case s.cfg.ESSigV4:
		options = append(options, elastictransport.WithTransport(s.signed(key, d)))
	case !s.cfg.knows(address): // it gets no secret
	case s.cfg.ESAPIKey != "":
		options = append(options, elastictransport.WithAPIKey(s.cfg.ESAPIKey))
	case s.cfg.ESUsername != "":
		options = append(options, elastictransport.WithBasicAuth(s.cfg.ESUsername, s.cfg.ESPassword))
	}
	transport, err := elastictransport.NewClient(options...)
	if err != nil {
		return nil, err
	}
	return &server{transport: transport, pace: newPace(s.cfg.BulkInFlight, s.cfg.BulkSize)}, nil
}

// signed is the transport that signs for the role of a delivery stream.
func (s *servers) signed(key serverKey, d *catalog.DeliveryStream) http.RoundTripper {
	return measured{&signing{
		next: s.transport, signer: v4.NewSigner(), now: s.now, region: s.region(&d.Destination.Search.Description),
		credentials: s.store.Credentials(objectstore.Object{Role: key.role, Stream: d.Name, ARN: d.ARN}),
	}}
}

// region is what is set, or the domain's own.
func (s *servers) region(to *types.AmazonopensearchserviceDestinationDescription) string {
	if s.cfg.ESRegion != "" {
		return s.cfg.ESRegion
	}
	if parts := strings.SplitN(aws.ToString(to.DomainARN), ":", 6); len(parts) == 6 && parts[3] != "" {
		return parts[3]
	}
	return s.cfg.S3Region
}

// send sends a bulk request, and returns the answer for each document in it, or a refusal. What it writes at the server:
//
//   - A lost answer: documents may be indexed that nobody knows of. They are sent again and answered with 409.
//   - A repeat: the same.
//   - A process that wakes after a minute and sends what another has delivered: the same.
//
// Without document ids each of the three indexes twice.
func (s *server) send(ctx context.Context, r *sending, body *body) ([]itemAnswer, error) {
	answer, err := r.bulk(body).Do(ctx, s.transport)
	if err != nil {
		return nil, &refusal{err: err}
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, mostInfo)) // what there is of it
		return nil, newRefusal(answer.StatusCode, answer.Header, body)
	}
	answers, err := readAnswer(answer.Body, r.request, r.answers)
	if err != nil {
		return nil, &refusal{err: err}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, mostInfo)) // so that the connection can be used again
	return answers, nil
}
