package s3sink

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
)

// toSearch makes the destination Elasticsearch, with its S3 settings in a bucket, and an error log of each in a place of its own.
func toSearch(mode types.AmazonopensearchserviceS3BackupMode, bucket, prefix string) option {
	return func(d *catalog.DeliveryStream) {
		to := s3Destination(bucket)
		d.Destination = catalog.Destination{ID: d.Destination.ID, Search: &catalog.SearchDestination{
			API: catalog.OpenSearchAPI, Description: types.AmazonopensearchserviceDestinationDescription{
				ClusterEndpoint: aws.String("https://search.example.com"), IndexName: aws.String("logs"), RoleARN: to.RoleARN,
				BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
				CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true), LogStreamName: aws.String("search")},
				S3BackupMode:             mode,
				S3DestinationDescription: &types.S3DestinationDescription{
					BucketARN: to.BucketARN, RoleARN: to.RoleARN, Prefix: &prefix, BufferingHints: to.BufferingHints,
					CompressionFormat: types.CompressionFormatGzip, EncryptionConfiguration: to.EncryptionConfiguration,
					CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true), LogStreamName: aws.String("copies")},
				},
			},
		}}
	}
}

func inLeg(d batch.Descriptor, leg names.Leg) batch.Descriptor {
	d.Leg = leg
	return d
}

// TestBackupOfSearch copies all documents as the destination's S3 settings say, and leaves the indexing to others.
func TestBackupOfSearch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.s3.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("copies")})
	check(t, err)
	r.start()
	s := r.stream("demo", toSearch(types.AmazonopensearchserviceS3BackupModeAllDocuments, "copies", "source/"))
	want := s.fill(10_000)
	s.hand(inLeg(s.batch(), names.LegES))
	d := s.hand(inLeg(s.batch(), names.LegBackup))
	got := s.delivered(d)

	wantEqual(t, "the outcome", got.Outcome, batch.Delivered)
	if !strings.HasPrefix(got.Location, "s3://copies/source/"+d.Oldest.UTC().Format("2006/01/02/15/")+"demo-1-") || !strings.HasSuffix(got.Location, ".gz") {
		t.Errorf("the backup is at %s", got.Location)
	}
	data, object := r.content(got.Location)
	wantContent(t, formatGzip, data, want)
	wantEqual(t, "hydrant-batch", object.Metadata["hydrant-batch"], string(d.ID()))
	r.wantOne("copies")
	wantEqual(t, "the objects elsewhere", len(r.keys("data")), 0)
	wantEqual(t, "the outcomes", len(r.deliveries()), 1)
}

// TestBackupOfSearchThatFails has it told in the error log of the S3 settings, and goes on when they are corrected.
func TestBackupOfSearchThatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	s := r.stream("demo", toSearch(types.AmazonopensearchserviceS3BackupModeAllDocuments, "missing", ""))
	s.fill(1000)
	d := s.hand(inLeg(s.batch(), names.LegBackup))
	var entry delivery.LogEntry
	natstest.WaitFor(t, "the failure is in the error log", func() bool {
		m, err := r.errorLog(names.ErrorsSubject("demo", "copies"))
		if err == nil {
			entry = decodeEntry(t, m.Data)
		}
		return err == nil
	})
	wantEqual(t, "the code", entry.ErrorCode, objectstore.CodeNoSuchBucket)
	wantEqual(t, "the destination", entry.Destination, "arn:aws:s3:::missing")
	wantEqual(t, "the batch", entry.Batch, d.ID())
	s.replace(toSearch(types.AmazonopensearchserviceS3BackupModeAllDocuments, "data", ""))
	got := s.delivered(d)
	if got.Outcome != batch.Delivered || !strings.Contains(got.Location, "/demo-2-") {
		t.Errorf("the outcome is %+v", got)
	}
	r.wantOne("data")
}

// TestFailedDocumentsOnly has no backup to deliver: what there is of one, from whatever else, is left alone.
func TestFailedDocumentsOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	only := r.stream("only", toSearch(types.AmazonopensearchserviceS3BackupModeFailedDocumentsOnly, "data", ""))
	only.fill(1000)
	only.hand(inLeg(only.batch(), names.LegBackup))
	all := r.stream("all", toSearch(types.AmazonopensearchserviceS3BackupModeAllDocuments, "data", ""))
	all.fill(1000)
	all.delivered(all.hand(inLeg(all.batch(), names.LegBackup))) // later than the other would have been
	r.wantOne("data")
	if _, err := r.js.Consumer(t.Context(), names.BatchesStream, names.SinkConsumer(names.LegBackup, only.doc.Name, only.doc.ID)); err == nil {
		t.Error("there is a consumer of what is no leg")
	}
}
