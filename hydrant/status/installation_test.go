package status

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// installation is Hydrant's state in NATS, written by hand: no service runs.
type installation struct {
	t    testing.TB
	nats *natstest.Server
	js   jetstream.JetStream
	cfg  broker.Config
}

func newInstallation(t testing.TB) *installation {
	t.Helper()
	server := natstest.Start(t)
	in := &installation{t: t, nats: server, js: server.JetStream(), cfg: broker.Config{
		NATSURL: server.URL(), NATSMonitorURL: server.MonitorURL(), Replicas: 1, Retention: 24 * time.Hour,
	}}
	in.prepare()
	return in
}

func (in *installation) prepare() {
	in.t.Helper()
	in.must(broker.Prepare(in.t.Context(), in.js, in.cfg, slog.New(slog.DiscardHandler)))
}

func (in *installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

// stream makes a delivery stream with its logs.
func (in *installation) stream(name names.Stream, id names.StreamID, shards int) *catalog.DeliveryStream {
	in.t.Helper()
	mb, seconds := int32(5), int32(300)
	return in.streamTo(name, id, shards, catalog.Destination{ID: "destinationId-000000000001", S3: &types.ExtendedS3DestinationDescription{
		BufferingHints: &types.BufferingHints{SizeInMBs: &mb, IntervalInSeconds: &seconds},
	}})
}

func (in *installation) streamTo(name names.Stream, id names.StreamID, shards int, to catalog.Destination) *catalog.DeliveryStream {
	in.t.Helper()
	d := &catalog.DeliveryStream{
		Name: name, ID: id, Status: types.DeliveryStreamStatusActive, Created: time.Now().Add(-time.Minute).UTC(),
		Shards: shards, RetentionSeconds: 86400, Version: 1, Destination: to,
	}
	in.create(d)
	for shard := range names.Shard(shards) {
		log := names.Log{Stream: name, Shard: shard, ID: id}
		_, err := in.js.CreateStream(in.t.Context(), broker.LogConfig(log, in.cfg.Retention, 1))
		in.must(err)
	}
	return d
}

func (in *installation) create(d *catalog.DeliveryStream) {
	in.t.Helper()
	c, err := catalog.Open(in.t.Context(), in.js)
	in.must(err)
	in.must(c.Create(in.t.Context(), d))
}

// put stores one message of records of 100 bytes.
func (in *installation) put(d *catalog.DeliveryStream, shard names.Shard, records int) {
	in.t.Helper()
	m := nats.NewMsg(names.RecordsSubject(d.Name, shard))
	lengths := make([]int, records)
	for i := range lengths {
		lengths[i] = 100
	}
	m.Header.Set(record.LengthsHeader, string(record.AppendLengths(nil, lengths)))
	m.Data = []byte(strings.Repeat("x", 100*records))
	_, err := in.js.PublishMsg(in.t.Context(), m)
	in.must(err)
}

// cut stores a descriptor of 10 records of 100 bytes in each message, of the leg s3.
func (in *installation) cut(d *catalog.DeliveryStream, shard names.Shard, first, last uint64, oldest time.Time) batch.Descriptor {
	in.t.Helper()
	return in.cutOf(names.LegS3, d, shard, first, last, oldest)
}

func (in *installation) cutOf(leg names.Leg, d *catalog.DeliveryStream, shard names.Shard, first, last uint64, oldest time.Time) batch.Descriptor {
	in.t.Helper()
	messages := int(last - first + 1)
	b := batch.Descriptor{
		Stream: d.Name, StreamID: d.ID, Version: 1, Leg: leg, Shard: shard, First: first, Last: last,
		Messages: messages, Records: 10 * messages, Bytes: int64(1000 * messages), Oldest: oldest, Newest: oldest,
		Reason: batch.ReasonSize,
	}
	data, err := b.Encode()
	in.must(err)
	in.publish(names.BatchesSubject(b.Leg, b.Stream, b.Shard), data)
	return b
}

// settle stores an outcome of everything in the batch; change may make it another.
func (in *installation) settle(b batch.Descriptor, kind batch.Outcome, change func(*batch.Delivery)) {
	in.t.Helper()
	entry := batch.Delivery{
		Batch: b.ID(), Stream: b.Stream, StreamID: b.StreamID, Leg: b.Leg, Shard: b.Shard, First: b.First, Last: b.Last,
		Outcome: kind, Records: b.Records, Bytes: b.Bytes, Attempts: 1, Oldest: b.Oldest, Time: b.Oldest,
	}
	if change != nil {
		change(&entry)
	}
	data, err := entry.Encode()
	in.must(err)
	in.publish(names.DeliveriesSubject(b.Leg, b.Stream), data)
}

func (in *installation) publish(subject string, data []byte) {
	in.t.Helper()
	_, err := in.js.Publish(in.t.Context(), subject, data)
	in.must(err)
}

// failed stores an entry of the error log.
func (in *installation) failed(b batch.Descriptor, code string, at time.Time) {
	in.t.Helper()
	in.failedIn(names.LogStream(b.Leg), b, code, at)
}

func (in *installation) failedIn(log string, b batch.Descriptor, code string, at time.Time) {
	in.t.Helper()
	data, err := json.Marshal(delivery.LogEntry{
		Format: 1, ErrorCode: code, Batch: b.ID(), Attempt: 2, Time: at,
		Message: "The specified S3 bucket does not exist. Create the bucket or use a different bucket that does exist.",
	})
	in.must(err)
	in.publish(names.ErrorsSubject(b.Stream, log), data)
}

// sink fetches n batches as a sink does, and acknowledges those whose sequence ack accepts.
func (in *installation) sink(d *catalog.DeliveryStream, n int, ack func(first uint64) bool) {
	in.t.Helper()
	consumer, err := in.js.CreateOrUpdateConsumer(in.t.Context(), names.BatchesStream, jetstream.ConsumerConfig{
		Durable:       names.SinkConsumer(names.LegS3, d.Name, d.ID),
		FilterSubject: names.LegBatches(names.LegS3, d.Name),
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       time.Hour,
		MaxDeliver:    -1,
	})
	in.must(err)
	for range n {
		m, err := consumer.Next()
		in.must(err)
		b, err := batch.Decode(m.Data())
		in.must(err)
		if ack(b.First) {
			in.must(m.DoubleAck(in.t.Context()))
		} else {
			in.must(m.Nak())
		}
	}
}

// arrived is when the first message left in a log was stored.
func (in *installation) arrived(d *catalog.DeliveryStream, shard names.Shard, sequence uint64) time.Time {
	in.t.Helper()
	log, err := in.js.Stream(in.t.Context(), names.Log{Stream: d.Name, Shard: shard, ID: d.ID}.JetStream())
	in.must(err)
	m, err := log.GetMsg(in.t.Context(), sequence)
	in.must(err)
	return m.Time
}

// consumers returns the names of the consumers on a stream.
func (in *installation) consumers(stream string) []string {
	in.t.Helper()
	s, err := in.js.Stream(in.t.Context(), stream)
	in.must(err)
	var all []string
	list := s.ConsumerNames(in.t.Context())
	for name := range list.Name() {
		all = append(all, name)
	}
	in.must(list.Err())
	return all
}

func id(c string) names.StreamID { return names.StreamID(strings.Repeat(c, 16)) }

func asJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n", data)
}
