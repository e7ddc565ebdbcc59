package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/shared/batch"
	"hydrant/shared/record"
)

func makeBucket(t *testing.T, d *deploy.Deployment, bucket string) {
	t.Helper()
	if d.Kind == deploy.OneProcess {
		return // made on demand
	}
	_, err := d.S3Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
	var owned *s3types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &owned) {
		t.Fatal(err)
	}
}

// body waits until the objects of a bucket hold size bytes of records, and returns them one after the other, in the order
// of their batches: the names of two objects of one second are in no order.
func body(t *testing.T, d *deploy.Deployment, bucket, prefix string, size int) string {
	t.Helper()
	var all string
	deploy.Eventually(t, fmt.Sprintf("%d bytes in s3://%s/%s", size, bucket, prefix), func() bool {
		var b strings.Builder
		objects := d.Objects(bucket, prefix)
		slices.SortStableFunc(objects, func(a, b deploy.Object) int { return cmp.Compare(first(t, a), first(t, b)) })
		for _, o := range objects {
			b.Write(plain(t, o))
		}
		all = b.String()
		return len(all) >= size
	})
	return all
}

// first is the sequence that the object's batch begins with.
func first(t *testing.T, o deploy.Object) uint64 {
	t.Helper()
	b, err := checker.ParseBatch(o.Metadata[checker.MetadataBatch])
	if err != nil {
		t.Fatalf("%s: %v", o.Key, err)
	}
	return b.First
}

func plain(t *testing.T, o deploy.Object) []byte {
	t.Helper()
	decoded, err := checker.Decode(o.Encoding, bytes.NewReader(o.Body))
	if err != nil {
		t.Fatalf("%s: %v", o.Key, err)
	}
	data, err := io.ReadAll(decoded)
	if err != nil {
		t.Fatalf("%s: %v", o.Key, err)
	}
	return data
}

func TestRecordsReachS3(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "plain", destination("bucket", "in/", 1))
		want := "first\n"
		id := put(t, d, "plain", want)
		if _, err := record.ParseID(id); err != nil {
			t.Errorf("RecordId: %v", err)
		}
		records := []types.Record{{Data: []byte("second")}, {Data: []byte{}}, {Data: []byte("\x00third\xff\n")}}
		out, err := d.Firehose().PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{DeliveryStreamName: aws.String("plain"), Records: records})
		if err != nil || *out.FailedPutCount != 0 || len(out.RequestResponses) != len(records) {
			t.Fatalf("put a batch: %v %+v", err, out)
		}
		want += "second\x00third\xff\n"

		if got := body(t, d, "bucket", "in/", len(want)); got != want {
			t.Fatalf("delivered %q, want %q", got, want)
		}
		name := regexp.MustCompile(`^in/\d{4}/\d\d/\d\d/\d\d/plain-1-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
		for _, o := range d.Objects("bucket", "in/") {
			if !name.MatchString(o.Key) {
				t.Errorf("object %q is not named as documented", o.Key)
			}
			if o.Type != "application/octet-stream" || o.Metadata["hydrant-batch"] == "" {
				t.Errorf("object %q has type %q and metadata %v", o.Key, o.Type, o.Metadata)
			}
		}
	})
}

func TestGzipAndLargeBatch(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		to := destination("packed", "", 2)
		to.CompressionFormat = types.CompressionFormatGzip
		to.BufferingHints.SizeInMBs = aws.Int32(24)
		create(t, d, "packed.stream-1", to)
		plainTo := destination("unpacked", "", 2)
		plainTo.BufferingHints.SizeInMBs = aws.Int32(24)
		create(t, d, "unpacked", plainTo)

		var want strings.Builder
		for call := range 8 { // 8 calls of 4 records of 900,000 bytes: 28.8 MB, several parts of an upload
			var records []types.Record
			for n := range 4 {
				data := bytes.Repeat(fmt.Appendf(nil, "%02d-%d ", call, n), 900_000/5)
				records = append(records, types.Record{Data: data})
				want.Write(data)
			}
			for _, stream := range []string{"packed.stream-1", "unpacked"} {
				putBatch(t, d, stream, records)
			}
		}
		for _, bucket := range []string{"packed", "unpacked"} {
			if got := body(t, d, bucket, "", want.Len()); got != want.String() {
				t.Errorf("%s: %d bytes delivered are not the %d that were put", bucket, len(got), want.Len())
			}
		}
		for _, o := range d.Objects("packed", "") {
			if o.Encoding != "gzip" || !strings.HasSuffix(o.Key, ".gz") {
				t.Errorf("object %q has Content-Encoding %q", o.Key, o.Encoding)
			}
		}
	})
}

func TestNewConfigurationUnderNewVersion(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "changing", destination("changing", "old/", 1))
		put(t, d, "changing", "one\n")
		body(t, d, "changing", "old/", 4)
		_, err := d.Firehose().UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
			DeliveryStreamName: aws.String("changing"), CurrentDeliveryStreamVersionId: aws.String("1"), DestinationId: aws.String("destinationId-000000000001"),
			ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{Prefix: aws.String("new/")},
		})
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, "changing", "two\n")
		if got := body(t, d, "changing", "new/", 4); got != "two\n" {
			t.Errorf("delivered under the new prefix: %q", got)
		}
		if key := d.Objects("changing", "new/")[0].Key; !strings.Contains(key, "/changing-2-") {
			t.Errorf("object %q does not carry version 2", key)
		}
		if got := body(t, d, "changing", "old/", 4); got != "one\n" {
			t.Errorf("delivered under the old prefix: %q", got)
		}
	})
}

func TestTwoStreamsOneBucketAndPrefix(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "same", destination("common", "p/", 0))
		create(t, d, "same.", destination("common", "p/", 0))
		for n := range 20 {
			put(t, d, "same", fmt.Sprintf("a%02d\n", n))
			put(t, d, "same.", fmt.Sprintf("b%02d\n", n))
		}
		all := body(t, d, "common", "p/", 40*4)
		for n := range 20 {
			for _, line := range []string{fmt.Sprintf("a%02d\n", n), fmt.Sprintf("b%02d\n", n)} {
				if strings.Count(all, line) != 1 {
					t.Errorf("%q delivered %d times", line, strings.Count(all, line))
				}
			}
		}
	})
}

func TestRestartGoesOn(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "kept", destination("kept", "", 1))
		put(t, d, "kept", "delivered before\n")
		body(t, d, "kept", "", 17)
		slow := destination("slow", "", 3)
		create(t, d, "slow", slow)
		put(t, d, "slow", "on its way\n")
		d.Restart()

		list, err := d.Firehose().ListDeliveryStreams(t.Context(), &firehose.ListDeliveryStreamsInput{})
		if err != nil || strings.Join(list.DeliveryStreamNames, " ") != "kept slow" {
			t.Fatalf("after the restart: %v %v", list, err)
		}
		if got := body(t, d, "slow", "", 11); got != "on its way\n" {
			t.Errorf("the record on its way became %q", got)
		}
		put(t, d, "kept", "put after\n")
		if got := body(t, d, "kept", "", 27); !strings.Contains(got, "delivered before\n") || !strings.Contains(got, "put after\n") {
			t.Errorf("after the restart the bucket holds %q", got)
		}
	})
}

func TestNATSMessageIsARecord(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "demo", destination("demo", "", 0))
		if _, err := d.JetStream().Publish(t.Context(), "records.demo.0", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got := body(t, d, "demo", "", 5); got != "hello" {
			t.Errorf("delivered %q", got)
		}
		ds := deliveries(t, d, "deliveries.s3.demo", 1)
		if ds[0].Records != 1 || ds[0].Outcome != batch.Delivered || !strings.HasPrefix(ds[0].Location, "s3://demo/") {
			t.Errorf("the delivery is noted as %+v", ds[0])
		}
	})
}

// deliveries waits for n entries on a subject of DELIVERIES.
func deliveries(t *testing.T, d *deploy.Deployment, subject string, n int) []batch.Delivery {
	t.Helper()
	var found []batch.Delivery
	for _, data := range messages(t, d, "DELIVERIES", subject, n) {
		entry, err := batch.DecodeDelivery(data)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, entry)
	}
	return found
}

// messages waits for n messages on a subject of a JetStream stream.
func messages(t *testing.T, d *deploy.Deployment, stream, subject string, n int) [][]byte {
	t.Helper()
	consumer, err := d.JetStream().OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		t.Fatal(err)
	}
	var found [][]byte
	for len(found) < n {
		m, err := consumer.Next(jetstream.FetchMaxWait(time.Minute))
		if err != nil {
			t.Fatalf("message %d of %d on %s: %v", len(found)+1, n, subject, err)
		}
		found = append(found, m.Data())
	}
	return found
}
