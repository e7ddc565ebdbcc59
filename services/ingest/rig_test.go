package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/service"
)

// TestMain looks for goroutines when all tests have ended: several run at once, and a goroutine does not tell whose it is.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// site is an installation: a NATS server and what is in it.
type site struct {
	t    testing.TB
	nats *natstest.Server
	js   jetstream.JetStream
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, nats: natstest.Start(t)}
	s.js = s.nats.JetStream()
	return s
}

// replica is a service that runs, and the SDK's client of it.
type replica struct {
	*Service
	t        testing.TB
	client   *firehose.Client
	registry *prometheus.Registry
	logged   *logBuffer
	stop     func() // and wait; may be called again
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func testConfig(url string) Config {
	return Config{
		NATS:          broker.Config{NATSURL: url, Replicas: 1, Retention: time.Hour, AllowUnsynced: true},
		Gate:          GateConfig{StoreRefusePercent: 85, StreamSharePercent: 50},
		Listen:        "127.0.0.1:0",
		Region:        "us-east-1",
		AccountID:     "000000000000",
		Shards:        1,
		MaxStreams:    5000,
		RequestMemory: 64 << 20,
	}
}

// start runs a replica until the test ends, and returns when it is ready.
func (s *site) start(changes ...func(*Service)) *replica {
	s.t.Helper()
	r := launch(s.t, testConfig(s.nats.URL()), changes...)
	eventually(s.t, "the replica is ready", func() error { return r.Ready() })
	return r
}

// launch runs a replica that need not come to be ready.
func launch(t testing.TB, cfg Config, changes ...func(*Service)) *replica {
	t.Helper()
	r := &replica{t: t, registry: prometheus.NewRegistry(), logged: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(r.logged, nil))
	var err error
	r.Service, err = New(cfg, service.Runtime{Log: log, Metrics: r.registry})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes {
		change(r.Service)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	r.client = firehose.New(firehose.Options{
		Region:       cfg.Region,
		BaseEndpoint: aws.String("http://" + r.Addr()),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDTEST", "secret", ""),
		HTTPClient:   &http.Client{Transport: transport},
		Retryer:      aws.NopRetryer{},
	})
	return r
}

// eventually polls until what holds, which it does when check returns nil.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// must returns a function that ends the test on an error, and passes on what came with it.
func must[T any](t testing.TB) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// plainS3 is the least that an S3 destination needs.
func plainS3() *types.ExtendedS3DestinationConfiguration {
	return &types.ExtendedS3DestinationConfiguration{
		BucketARN: aws.String("arn:aws:s3:::bucket"),
		RoleARN:   aws.String("arn:aws:iam::000000000000:role/r"),
	}
}

func (r *replica) create(name string) {
	r.t.Helper()
	_, err := r.client.CreateDeliveryStream(r.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName:                 &name,
		ExtendedS3DestinationConfiguration: plainS3(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) describe(name string) (*types.DeliveryStreamDescription, error) {
	out, err := r.client.DescribeDeliveryStream(r.t.Context(), &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &name})
	if err != nil {
		return nil, err
	}
	return out.DeliveryStreamDescription, nil
}

func (r *replica) delete(name string) {
	r.t.Helper()
	_, err := r.client.DeleteDeliveryStream(r.t.Context(), &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: &name})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) put(name, data string) (string, error) {
	out, err := r.client.PutRecord(r.t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: &name,
		Record:             &types.Record{Data: []byte(data)},
	})
	if err != nil {
		return "", err
	}
	return *out.RecordId, nil
}

// gone waits until the catalog has no such delivery stream.
func (r *replica) gone(name string) {
	r.t.Helper()
	eventually(r.t, name+" is gone", func() error {
		_, err := r.describe(name)
		if isCode(err, "ResourceNotFoundException") {
			return nil
		}
		return fmt.Errorf("describe: %w", errors.Join(err, errors.New("still there")))
	})
}

func isCode(err error, code string) bool {
	var failure smithy.APIError
	return errors.As(err, &failure) && failure.ErrorCode() == code
}

// wantError checks an error of the SDK: its code, and its whole message.
func wantError(t testing.TB, err error, code, message string) {
	t.Helper()
	var failure smithy.APIError
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if failure.ErrorCode() != code || failure.ErrorMessage() != message {
		t.Fatalf("got %s: %s\nwant %s: %s", failure.ErrorCode(), failure.ErrorMessage(), code, message)
	}
}

func (s *site) catalog() *catalog.Catalog {
	s.t.Helper()
	return must[*catalog.Catalog](s.t)(catalog.Open(s.t.Context(), s.js))
}

// logs are the names of the JetStream streams that hold records.
func (s *site) logs() []string {
	s.t.Helper()
	var logs []string
	lister := s.js.StreamNames(s.t.Context())
	for name := range lister.Name() {
		if _, ok := names.ParseLog(name); ok {
			logs = append(logs, name)
		}
	}
	if lister.Err() != nil {
		s.t.Fatal(lister.Err())
	}
	return logs
}

// rawAnswer is an answer as it is on the wire.
type rawAnswer struct {
	Status  int
	Header  http.Header
	Body    string
	Type    string
	Message string
	Text    bool // there is a message
	Close   bool
}

func readAnswerOf(t testing.TB, response *http.Response) rawAnswer {
	t.Helper()
	body := must[[]byte](t)(io.ReadAll(response.Body))
	_ = response.Body.Close()
	answer := rawAnswer{Status: response.StatusCode, Header: response.Header, Body: string(body), Close: response.Close}
	var parsed map[string]json.RawMessage
	if err := json.Unmarshal(body, &parsed); err != nil {
		t.Fatalf("the answer is not JSON: %q", body)
	}
	_ = json.Unmarshal(parsed["__type"], &answer.Type)
	_, answer.Text = parsed["message"]
	_ = json.Unmarshal(parsed["message"], &answer.Message)
	if answer.Header.Get("Content-Type") != "application/x-amz-json-1.1" || answer.Header.Get("x-amzn-RequestId") == "" {
		t.Fatalf("headers of an answer: %v", answer.Header)
	}
	return answer
}

// raw sends a body as it is.
func (r *replica) raw(operation, body string) rawAnswer {
	r.t.Helper()
	request := must[*http.Request](r.t)(http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+r.Addr()+"/", strings.NewReader(body)))
	request.Header.Set("X-Amz-Target", "Firehose_20150804."+operation)
	return r.do(request)
}

func (r *replica) do(request *http.Request) rawAnswer {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return readAnswerOf(r.t, must[*http.Response](r.t)(client.Do(request)))
}

// slowRequest is a request whose body is sent in pieces, by hand.
type slowRequest struct {
	t    testing.TB
	conn net.Conn
}

func (r *replica) slow(operation string, header ...string) *slowRequest {
	r.t.Helper()
	conn := must[net.Conn](r.t)(net.Dial("tcp", r.Addr()))
	r.t.Cleanup(func() { _ = conn.Close() })
	s := &slowRequest{r.t, conn}
	head := "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Firehose_20150804." + operation + "\r\n"
	if len(header) == 0 {
		header = []string{"Transfer-Encoding: chunked"}
	}
	s.send(head + strings.Join(header, "\r\n") + "\r\n\r\n")
	return s
}

func (s *slowRequest) send(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, text); err != nil {
		s.t.Fatal(err)
	}
}

func (s *slowRequest) chunk(text string) { s.send(fmt.Sprintf("%x\r\n%s\r\n", len(text), text)) }

// endless sends until the connection fails.
func (s *slowRequest) endless() error {
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 64<<10, strings.Repeat(" ", 64<<10))
	for {
		if _, err := io.WriteString(s.conn, chunk); err != nil {
			return err
		}
	}
}

func (s *slowRequest) answer() rawAnswer {
	s.t.Helper()
	_ = s.conn.SetReadDeadline(time.Now().Add(patience))
	return readAnswerOf(s.t, must[*http.Response](s.t)(http.ReadResponse(bufio.NewReader(s.conn), nil)))
}

type streamDocument = catalog.DeliveryStream

// publishBatches stands in for the buffer service.
func (s *site) publishBatches(stream names.Stream, n int) {
	s.t.Helper()
	for range n {
		must[*jetstream.PubAck](s.t)(s.js.Publish(s.t.Context(), names.BatchesSubject(names.LegS3, stream, 0), []byte("{}")))
	}
}

// batches counts the descriptors of a delivery stream.
func (s *site) batches(stream names.Stream) int {
	s.t.Helper()
	batches := must[jetstream.Stream](s.t)(s.js.Stream(s.t.Context(), names.BatchesStream))
	info := must[*jetstream.StreamInfo](s.t)(batches.Info(s.t.Context(), jetstream.WithSubjectFilter(names.StreamBatches(stream))))
	total := 0
	for _, n := range info.State.Subjects {
		total += int(n)
	}
	return total
}

// consumer stands in for a sink.
func (s *site) consumer(leg names.Leg, stream names.Stream, id names.StreamID) {
	s.t.Helper()
	must[jetstream.Consumer](s.t)(s.js.CreateConsumer(s.t.Context(), names.BatchesStream, jetstream.ConsumerConfig{
		Durable: names.SinkConsumer(leg, stream, id), FilterSubject: names.LegBatches(leg, stream), AckPolicy: jetstream.AckExplicitPolicy,
	}))
}

func (s *site) consumers() []string {
	s.t.Helper()
	batches := must[jetstream.Stream](s.t)(s.js.Stream(s.t.Context(), names.BatchesStream))
	var consumers []string
	for name := range batches.ConsumerNames(s.t.Context()).Name() {
		consumers = append(consumers, name)
	}
	return consumers
}

// announce stands in for the S3 sink, which stages objects for Redshift.
func (s *site) announce(stream names.Stream, n int) {
	s.t.Helper()
	for range n {
		must[*jetstream.PubAck](s.t)(s.js.Publish(s.t.Context(), names.StagingSubject(stream), []byte("{}")))
	}
}

// staged counts the objects of a delivery stream that wait to be loaded.
func (s *site) staged(stream names.Stream) int {
	s.t.Helper()
	staging := must[jetstream.Stream](s.t)(s.js.Stream(s.t.Context(), names.StagingStream))
	info := must[*jetstream.StreamInfo](s.t)(staging.Info(s.t.Context(), jetstream.WithSubjectFilter(names.StagingSubject(stream))))
	return int(info.State.Subjects[names.StagingSubject(stream)])
}

// loader stands in for the service that loads them.
func (s *site) loader(stream names.Stream, id names.StreamID) {
	s.t.Helper()
	must[jetstream.Consumer](s.t)(s.js.CreateConsumer(s.t.Context(), names.StagingStream, jetstream.ConsumerConfig{
		Durable: names.SinkConsumer(names.LegRedshift, stream, id), FilterSubject: names.StagingSubject(stream), AckPolicy: jetstream.AckExplicitPolicy,
	}))
}

func (s *site) loaders() (consumers []string) {
	s.t.Helper()
	staging := must[jetstream.Stream](s.t)(s.js.Stream(s.t.Context(), names.StagingStream))
	for name := range staging.ConsumerNames(s.t.Context()).Name() {
		consumers = append(consumers, name)
	}
	return consumers
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// run runs f until the test ends, or until the function that it returns is called, which waits for it.
func (s *site) run(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	s.t.Cleanup(stop)
	return stop
}
