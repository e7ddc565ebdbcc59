package es

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/record"
	"hydrant/shared/recordlog"
	"hydrant/shared/s3test"
	"hydrant/shared/service"
)

const (
	patience = time.Minute
	domain   = "arn:aws:es:eu-west-1:000000000000:domain/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// rig is NATS, an S3 server and a cluster that can be told to fail, and what a test does with them.
type rig struct {
	t    *testing.T
	nats *natstest.Server
	js   jetstream.JetStream
	s3   *s3test.Server
	es   *fakees.Server
	cfg  Config
	log  *slog.Logger
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server := natstest.Start(t)
	r := &rig{t: t, nats: server, js: server.JetStream(), s3: s3test.Start(t), es: fakees.Start(t), log: testLog(t)}
	r.cfg = Config{
		NATS: broker.Config{NATSURL: server.URL(), Replicas: 1, Retention: 24 * time.Hour},
		Settings: objectstore.Settings{
			S3Endpoint: r.s3.URL(), S3Region: "us-east-1", S3PathStyle: true, S3AccessKeyID: s3test.AccessKey, S3SecretAccessKey: s3test.SecretKey,
			S3Timeout: 10 * time.Second, S3Checksums: "supported", S3SignPayload: "always", S3ACL: "auto", PartSize: 5 << 20, PartMemory: 40 << 20,
		},
		ESTimeout: 10 * time.Second, BulkSize: leastBulkSize, BulkRecords: 1000, BulkInFlight: 3,
		Workers: 4, WorkersPerStream: 2, AckWait: 5 * time.Second, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
	}
	check(t, broker.Prepare(t.Context(), r.js, r.cfg.NATS, testLog(t)))
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %.300s, want %.300s", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

func testLog(t testing.TB) *slog.Logger { return logtest.New(t) }

// destination is what a service delivers with, without the service.
func (r *rig) destination(change ...func(*Config)) *destination {
	r.t.Helper()
	cfg := r.cfg
	for _, c := range change {
		c(&cfg)
	}
	check(r.t, cfg.Validate())
	store, err := openStore(r.t.Context(), cfg, objectstore.NewBuffers(cfg.Settings), r.log)
	check(r.t, err)
	r.t.Cleanup(store.Close)
	servers, err := newServers(cfg, store)
	check(r.t, err)
	r.t.Cleanup(servers.close)
	d := newDestination(cfg, servers, store, recordlog.New(r.js), newBuffers(cfg.requests(), cfg.BulkSize), r.log)
	d.installation, err = broker.InstallationID(r.t.Context(), r.js)
	check(r.t, err)
	r.t.Cleanup(func() { wantEqual(r.t, "the buffers that were not given back", d.buffers.lent(), 0) })
	return d
}

// start runs a service until the returned function is called, or the test ends.
func (r *rig) start() (stop func()) {
	r.t.Helper()
	s, err := New(r.cfg, service.Runtime{Log: r.log, Metrics: prometheus.NewRegistry()})
	check(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			r.t.Errorf("the service ended with %v", err)
		}
		wantEqual(r.t, "the buffers that were not given back", s.buffers.lent(), 0)
	})
	r.t.Cleanup(stop)
	return stop
}

// deliveryStream is a delivery stream that a test puts records into.
type deliveryStream struct {
	*rig
	doc *catalog.DeliveryStream
}

type option func(*types.AmazonopensearchserviceDestinationDescription)

func retryFor(seconds int32) option {
	return func(d *types.AmazonopensearchserviceDestinationDescription) {
		d.RetryOptions.DurationInSeconds = &seconds
	}
}

func withoutIDs(d *types.AmazonopensearchserviceDestinationDescription) {
	d.DocumentIdOptions = &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatNoDocumentId}
}

// stream makes a delivery stream to the index "logs", and to the bucket "data" for what fails.
func (r *rig) stream(name names.Stream, options ...option) *deliveryStream {
	r.t.Helper()
	to := types.AmazonopensearchserviceDestinationDescription{
		ClusterEndpoint: aws.String(r.es.URL()), IndexName: aws.String("logs"), TypeName: aws.String(""),
		RoleARN:                  aws.String("arn:aws:iam::000000000000:role/hydrant"),
		IndexRotationPeriod:      types.AmazonopensearchserviceIndexRotationPeriodNoRotation,
		RetryOptions:             &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(300)},
		BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
		DocumentIdOptions:        &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatFirehoseDefault},
		S3BackupMode:             types.AmazonopensearchserviceS3BackupModeFailedDocumentsOnly,
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
		S3DestinationDescription: &types.S3DestinationDescription{
			BucketARN: aws.String("arn:aws:s3:::data"), RoleARN: aws.String("arn:aws:iam::000000000000:role/hydrant"), Prefix: aws.String("es/"),
			BufferingHints:          &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
			CompressionFormat:       types.CompressionFormatUncompressed,
			EncryptionConfiguration: &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
		},
	}
	for _, o := range options {
		o(&to)
	}
	s := &deliveryStream{rig: r, doc: &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), ARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/" + string(name),
		Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 86400, Version: 1,
		Destination: catalog.Destination{ID: "destinationId-000000000001", Search: &catalog.SearchDestination{API: catalog.ElasticsearchAPI, Description: to}},
	}}
	_, err := r.js.CreateStream(r.t.Context(), broker.LogConfig(s.log(), s.doc.Retention(), 1))
	check(r.t, err)
	c, err := catalog.Open(r.t.Context(), r.js)
	check(r.t, err)
	check(r.t, c.Create(r.t.Context(), s.doc))
	return s
}

func (s *deliveryStream) log() names.Log { return names.Log{Stream: s.doc.Name, ID: s.doc.ID} }

// message is one with the records.
func (s *deliveryStream) message(at time.Time, records ...string) natstest.Message {
	lengths := make([]int, len(records))
	for i, r := range records {
		lengths[i] = len(r)
	}
	return natstest.Message{
		At: at, Subject: s.log().Subject(), Data: []byte(strings.Join(records, "")),
		Header: nats.Header{record.LengthsHeader: {string(record.AppendLengths(nil, lengths))}},
	}
}

// put publishes one message with the records.
func (s *deliveryStream) put(records ...string) {
	s.t.Helper()
	m := s.message(time.Now(), records...) // when it arrives is JetStream's to say
	_, err := s.js.PublishMsg(s.t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	check(s.t, err)
}

// documents puts n of them, ten in a message, of about that size.
func (s *deliveryStream) documents(n, size int) batch.Descriptor {
	s.t.Helper()
	var records []string
	for i := range n {
		records = append(records, fmt.Sprintf(`{"n":%d,"text":%q}`+"\n", i, strings.Repeat("x", size)))
		if len(records) == 10 || i == n-1 {
			s.put(records...)
			records = nil
		}
	}
	return s.batch()
}

// batch is everything in the log, cut.
func (s *deliveryStream) batch() batch.Descriptor {
	s.t.Helper()
	log, err := s.js.Stream(s.t.Context(), s.log().JetStream())
	check(s.t, err)
	state := log.CachedInfo().State
	d := batch.Descriptor{
		Stream: s.doc.Name, StreamID: s.doc.ID, Version: s.doc.Version, Leg: names.LegES, First: state.FirstSeq, Last: state.LastSeq, Reason: batch.ReasonSize,
	}
	for seq := d.First; seq <= d.Last; seq++ {
		m, err := log.GetMsg(s.t.Context(), seq)
		check(s.t, err)
		if d.Messages == 0 {
			d.Oldest = m.Time
		}
		d.Newest = m.Time
		d.Messages++
		d.Records += record.Count(m.Header, len(m.Data))
		d.Bytes += int64(len(m.Data))
	}
	return d
}

// purge removes what is before a sequence from the log, as an expiry does.
func (s *deliveryStream) purge(before uint64) {
	s.t.Helper()
	log, err := s.js.Stream(s.t.Context(), s.log().JetStream())
	check(s.t, err)
	check(s.t, log.Purge(s.t.Context(), jetstream.WithPurgeSequence(before)))
}

// attempt is a first try at a batch, by a worker that has it.
func (s *deliveryStream) attempt(d batch.Descriptor) delivery.Attempt {
	return delivery.Attempt{Batch: d, Stream: s.doc, Number: 1, Held: func() error { return nil }}
}

// wantDelivered checks that all of a batch is in the index, each document written once, and that nothing is set aside.
func (s *deliveryStream) wantDelivered(d batch.Descriptor, got delivery.Result) {
	s.t.Helper()
	wantEqual(s.t, "the outcome", got.Outcome, batch.Delivered)
	wantEqual(s.t, "the records", got.Records, d.Records)
	wantEqual(s.t, "the bytes", got.Bytes, d.Bytes)
	wantEqual(s.t, "the documents set aside", got.FailedRecords, 0)
	wantEqual(s.t, "the expired records", got.ExpiredRecords, 0)
	wantEqual(s.t, "the documents", len(s.es.Documents("logs")), d.Records)
	wantEqual(s.t, "how often one was written", s.es.Writes(), 1)
	wantEqual(s.t, "the files of failed documents", len(s.s3.Keys("data")), 0)
}

// failed reads the only file of failed documents.
func (r *rig) failed() []failedDocument {
	r.t.Helper()
	keys := r.s3.Keys("data")
	if len(keys) != 1 {
		r.t.Fatalf("%d files of failed documents: %q", len(keys), keys)
	}
	wantEqual(r.t, "how often the file was written", r.s3.Writes("data", keys[0]), 1)
	data, _ := r.s3.Content("data", keys[0])
	var lines []failedDocument
	for text := range bytes.Lines(data) {
		var l failedDocument
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		check(r.t, d.Decode(&l))
		lines = append(lines, l)
	}
	return lines
}
