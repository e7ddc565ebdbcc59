package s3sink

import (
	"bytes"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

// deliveryStream is a delivery stream that a test puts records into.
type deliveryStream struct {
	*rig
	doc *catalog.DeliveryStream
}

type option func(*catalog.DeliveryStream)

func compressed(d *catalog.DeliveryStream) { inFormat(formatGzip)(d) }

func inFormat(f format) option {
	return func(d *catalog.DeliveryStream) { d.Destination.S3.CompressionFormat = types.CompressionFormat(f) }
}

func prefixed(prefix string) option {
	return func(d *catalog.DeliveryStream) { d.Destination.S3.Prefix = &prefix }
}

// backedUpTo switches the source-record backup on, uncompressed and with logging of its own.
func backedUpTo(bucket, prefix string) option {
	return func(d *catalog.DeliveryStream) {
		to := s3Destination(bucket)
		d.Destination.S3.S3BackupMode, d.Destination.BackupSince = types.S3BackupModeEnabled, d.Created
		d.Destination.S3.S3BackupDescription = &types.S3DestinationDescription{
			BucketARN: to.BucketARN, RoleARN: to.RoleARN, Prefix: &prefix, BufferingHints: to.BufferingHints,
			CompressionFormat: to.CompressionFormat, EncryptionConfiguration: to.EncryptionConfiguration,
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{
				Enabled: aws.Bool(true), LogGroupName: aws.String("copies"), LogStreamName: aws.String("BackupDelivery"),
			},
		}
	}
}

func toBucket(name string) option {
	return func(d *catalog.DeliveryStream) { d.Destination.S3 = s3Destination(name) }
}

func retained(seconds int64) option {
	return func(d *catalog.DeliveryStream) { d.RetentionSeconds = seconds }
}

func s3Destination(bucket string) *types.ExtendedS3DestinationDescription {
	return &types.ExtendedS3DestinationDescription{
		BucketARN: aws.String("arn:aws:s3:::" + bucket), RoleARN: aws.String("arn:aws:iam::000000000000:role/hydrant"), Prefix: aws.String(""),
		BufferingHints:          &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
		CompressionFormat:       types.CompressionFormatUncompressed,
		EncryptionConfiguration: &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},

		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
	}
}

func (r *rig) documents() *catalog.Catalog {
	r.t.Helper()
	c, err := catalog.Open(r.t.Context(), r.js)
	check(r.t, err)
	return c
}

// stream makes a delivery stream to the bucket "data".
func (r *rig) stream(name names.Stream, options ...option) *deliveryStream {
	r.t.Helper()
	doc := &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), ARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/" + string(name),
		Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 86400, Version: 1,
		Destination: catalog.Destination{ID: "destinationId-000000000001", S3: s3Destination("data")},
	}
	for _, o := range options {
		o(doc)
	}
	s := &deliveryStream{rig: r, doc: doc}
	_, err := r.js.CreateStream(r.t.Context(), broker.LogConfig(s.log(), doc.Retention(), 1))
	check(r.t, err)
	check(r.t, r.documents().Create(r.t.Context(), doc))
	return s
}

// format is what its objects are to be in.
func (s *deliveryStream) format() format {
	f, err := formatOf(s.doc.Destination.S3.CompressionFormat)
	check(s.t, err)
	return f
}

func (s *deliveryStream) log() names.Log { return names.Log{Stream: s.doc.Name, ID: s.doc.ID} }

// update changes the destination as UpdateDestination does.
func (s *deliveryStream) update(change option) {
	s.t.Helper()
	doc, err := s.documents().Update(s.t.Context(), s.doc.Name, func(d *catalog.DeliveryStream) error {
		next := *d.Destination.S3
		changed := &catalog.DeliveryStream{Destination: catalog.Destination{ID: d.Destination.ID, S3: &next}}
		change(changed)
		d.Replace(changed.Destination, time.Now().UTC())
		return nil
	})
	check(s.t, err)
	s.doc = doc
}

// replace makes the destination another one, as UpdateDestination does.
func (s *deliveryStream) replace(with option) {
	s.t.Helper()
	doc, err := s.documents().Update(s.t.Context(), s.doc.Name, func(d *catalog.DeliveryStream) error {
		changed := &catalog.DeliveryStream{Destination: d.Destination}
		with(changed)
		d.Replace(changed.Destination, time.Now().UTC())
		return nil
	})
	check(s.t, err)
	s.doc = doc
}

// put publishes one message with the records, and returns its sequence.
func (s *deliveryStream) put(records ...[]byte) uint64 {
	s.t.Helper()
	lengths := make([]int, len(records))
	for i, r := range records {
		lengths[i] = len(r)
	}
	m := nats.NewMsg(s.log().Subject())
	m.Data = bytes.Join(records, nil)
	m.Header.Set(record.LengthsHeader, string(record.AppendLengths(nil, lengths)))
	ack, err := s.js.PublishMsg(s.t.Context(), m)
	check(s.t, err)
	return ack.Sequence
}

// fill publishes about size bytes in messages of two records, and returns them.
func (s *deliveryStream) fill(size int) []byte {
	s.t.Helper()
	var all []byte
	for i := 0; len(all) < size; i++ {
		n := min(500_000, max(50_000, size/20), (size-len(all)+1)/2)
		a := noise(n, i)
		s.put(a, a)
		all = append(append(all, a...), a...)
	}
	return all
}

// noise is bytes that are different everywhere and cannot be compressed.
func noise(n, seed int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(out) // documented never to fail
	return out
}

// describe makes the descriptor of a range that is in the log.
func (s *deliveryStream) describe(first, last uint64) batch.Descriptor {
	s.t.Helper()
	log, err := s.js.Stream(s.t.Context(), s.log().JetStream())
	check(s.t, err)
	d := batch.Descriptor{
		Stream: s.doc.Name, StreamID: s.doc.ID, Version: s.doc.Version, Leg: names.LegS3, First: first, Last: last, Reason: batch.ReasonSize,
	}
	for seq := first; seq <= last; seq++ {
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

// batch is everything in the log, cut.
func (s *deliveryStream) batch() batch.Descriptor {
	s.t.Helper()
	log, err := s.js.Stream(s.t.Context(), s.log().JetStream())
	check(s.t, err)
	state := log.CachedInfo().State
	return s.describe(state.FirstSeq, state.LastSeq)
}

// hand gives a batch to the sinks.
func (s *deliveryStream) hand(d batch.Descriptor) batch.Descriptor {
	s.t.Helper()
	data, err := d.Encode()
	check(s.t, err)
	_, err = s.js.Publish(s.t.Context(), names.BatchesSubject(d.Leg, d.Stream, d.Shard), data)
	check(s.t, err)
	return d
}

// purge removes what is before a sequence from the log, as an expiry does.
func (s *deliveryStream) purge(before uint64) {
	s.t.Helper()
	log, err := s.js.Stream(s.t.Context(), s.log().JetStream())
	check(s.t, err)
	check(s.t, log.Purge(s.t.Context(), jetstream.WithPurgeSequence(before)))
}

// delivered waits for the outcome of a batch, and until it is acknowledged.
func (s *deliveryStream) delivered(d batch.Descriptor) batch.Delivery {
	s.t.Helper()
	var found batch.Delivery
	natstest.WaitFor(s.t, "an outcome of "+string(d.ID()), func() bool {
		for _, e := range s.deliveries() {
			if e.Batch == d.ID() {
				found = e
			}
		}
		return found.Batch != ""
	})
	natstest.WaitFor(s.t, "everything is acknowledged", func() bool {
		stream, err := s.js.Stream(s.t.Context(), names.BatchesStream)
		check(s.t, err)
		c, err := stream.Consumer(s.t.Context(), names.SinkConsumer(d.Leg, s.doc.Name, s.doc.ID))
		check(s.t, err)
		return c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0
	})
	return found
}

// attempt is a first try at a batch, by a worker that has it.
func (s *deliveryStream) attempt(d batch.Descriptor) delivery.Attempt {
	return delivery.Attempt{Batch: d, Stream: s.doc, Number: 1, Held: func() error { return nil }}
}
