package allinone

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/hydrant/internal/s3server"
	"hydrant/services/es"
)

// patience is how long what has to happen may take.
const patience = 2 * time.Minute

// TestMain lets the test's program be the S3 server that is started as a child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == s3server.ChildArg {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := s3server.Serve(ctx, s3server.ChildConfig(os.Getenv, os.Stdin))
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1) //nolint:forbidigo // TestMain is the main of this process.
		}
		return
	}
	m.Run()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	defer func() { check(t, l.Close()) }()
	return l.Addr().String()
}

func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		DataDir: t.TempDir(), Listen: freeAddr(t), S3Listen: freeAddr(t), NATSListen: freeAddr(t), NATSMon: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		S3AccessKey: "local", S3SecretKey: "localsecret",
	}
}

// run runs everything until the test ends.
func run(t *testing.T, cfg Config) {
	t.Helper()
	ready := make(chan struct{})
	cfg.Ready = ready
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, slog.New(slog.NewTextHandler(t.Output(), nil))) }()
	t.Cleanup(func() {
		stop()
		check(t, <-ended)
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("it ended: %v", err)
	case <-time.After(patience):
		t.Fatal("it is not ready")
	}
}

// bulk is a bulk request as a cluster sees it.
type bulk struct{ user, password, body string }

// cluster is a server that takes the one document of each bulk request, and tells of it.
func cluster(t *testing.T) (url string, bulks <-chan bulk) {
	t.Helper()
	seen := make(chan bulk, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_bulk" {
			_, _ = io.WriteString(w, `{"version":{"number":"9.0.0"}}`)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		seen <- bulk{user, password, string(body)}
		_, rest, _ := strings.Cut(string(body), `"_id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		_, _ = io.WriteString(w, `{"errors":false,"items":[{"create":{"_id":"`+id+`","status":201}}]}`)
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}

func client(addr string) *firehose.Client {
	return firehose.New(firehose.Options{
		BaseEndpoint: aws.String("http://" + addr), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
	})
}

// The settings of the Elasticsearch sink that the program has reach it: a domain's address, and who asks.
func TestSearch(t *testing.T) {
	const domain = "arn:aws:es:us-east-1:000000000000:domain/main"
	url, bulks := cluster(t)
	cfg := testConfig(t)
	cfg.Clusters = es.Clusters{ESEndpoints: map[string]string{domain: url}, ESUsername: "elastic", ESPassword: "changeme"}
	run(t, cfg)
	api, role := client(cfg.Listen), aws.String("arn:aws:iam::000000000000:role/local")
	_, err := api.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("people"),
		ElasticsearchDestinationConfiguration: &types.ElasticsearchDestinationConfiguration{
			RoleARN: role, DomainARN: aws.String(domain), IndexName: aws.String("people"), IndexRotationPeriod: types.ElasticsearchIndexRotationPeriodNoRotation,
			BufferingHints:  &types.ElasticsearchBufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(0)},
			S3Configuration: &types.S3DestinationConfiguration{RoleARN: role, BucketARN: aws.String("arn:aws:s3:::demo")},
		},
	})
	check(t, err)
	_, err = api.PutRecord(t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: aws.String("people"), Record: &types.Record{Data: []byte(`{"name":"Ada"}`)},
	})
	check(t, err)
	select {
	case got := <-bulks:
		if got.user != "elastic" || got.password != "changeme" || !strings.Contains(got.body, `"_index":"people"`) || !strings.HasSuffix(got.body, "{\"name\":\"Ada\"}\n") {
			t.Errorf("the cluster got %+v", got)
		}
	case <-time.After(patience):
		t.Fatal("the document did not come")
	}
}

// What cannot work is said, and which setting it is.
func TestSettings(t *testing.T) {
	cfg := testConfig(t)
	cfg.Clusters.ESUsername = "elastic"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "HYDRANT_ES_PASSWORD") {
		t.Errorf("a user without a password: %v", err)
	}
	t.Setenv("HYDRANT_ES_SIGV4", "true")
	if err := Run(t.Context(), testConfig(t), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "HYDRANT_ES_SIGV4") {
		t.Errorf("signatures: %v", err)
	}
}
