package s3sink

import (
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// toRedshift makes the destination Redshift, staged in the bucket "data".
func toRedshift(format types.CompressionFormat) option {
	return func(d *catalog.DeliveryStream) {
		to := s3Destination("data")
		d.Destination = catalog.Destination{ID: d.Destination.ID, Redshift: &catalog.RedshiftDestination{
			Description: types.RedshiftDestinationDescription{
				ClusterJDBCURL: aws.String("jdbc:redshift://cluster:5439/db"), CopyCommand: &types.CopyCommand{DataTableName: aws.String("t")},
				RoleARN: to.RoleARN, Username: aws.String("u"), S3BackupMode: types.RedshiftS3BackupModeDisabled,
				S3DestinationDescription: &types.S3DestinationDescription{
					BucketARN: to.BucketARN, RoleARN: to.RoleARN, Prefix: aws.String("staging/"), BufferingHints: to.BufferingHints,
					CompressionFormat: format, EncryptionConfiguration: to.EncryptionConfiguration, CloudWatchLoggingOptions: to.CloudWatchLoggingOptions,
				},
			},
			Password: catalog.NewPassword("secret"),
		}}
	}
}

// withCopies backs the source records of a Redshift destination up.
func withCopies(d *catalog.DeliveryStream) {
	to := s3Destination("copies")
	redshift := &d.Destination.Redshift.Description
	redshift.S3BackupMode, d.Destination.BackupSince = types.RedshiftS3BackupModeEnabled, d.Created
	redshift.S3BackupDescription = &types.S3DestinationDescription{
		BucketARN: to.BucketARN, RoleARN: to.RoleARN, Prefix: to.Prefix, BufferingHints: to.BufferingHints,
		CompressionFormat: to.CompressionFormat, EncryptionConfiguration: to.EncryptionConfiguration,
	}
}

// staged returns what is announced in STAGING.
func (r *rig) staged() (out []batch.Delivery) {
	r.t.Helper()
	for _, data := range r.messages(names.StagingStream) {
		d, err := batch.DecodeDelivery(data)
		check(r.t, err)
		out = append(out, d)
	}
	return out
}

// wantStagedObjects checks that every object in the bucket is announced, once or under the same batch id again, that nothing else
// is, and returns how many announcements there are.
func (r *rig) wantStagedObjects(bucket string) int {
	r.t.Helper()
	announced := map[string]batch.ID{}
	staged := r.staged()
	for _, d := range staged {
		if id, again := announced[d.Location]; again && id != d.Batch {
			r.t.Errorf("%s is announced as %s and as %s", d.Location, id, d.Batch)
		}
		announced[d.Location] = d.Batch
	}
	objects := map[string]batch.ID{}
	for _, key := range r.keys(bucket) {
		_, object := r.s3.Content(bucket, key)
		objects["s3://"+bucket+"/"+key] = batch.ID(object.Metadata["hydrant-batch"])
	}
	if !reflect.DeepEqual(announced, objects) {
		r.t.Errorf("announced are %v, there are %v", announced, objects)
	}
	return len(staged)
}

// TestStaging announces each object to the service that loads it, and what is told is what there is.
func TestStaging(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	for _, c := range []struct {
		name   names.Stream
		format format
	}{{"plain", uncompressed}, {"packed.up", formatGzip}} {
		t.Run(string(c.name), func(t *testing.T) {
			s := r.stream(c.name, toRedshift(types.CompressionFormat(c.format)))
			want := s.fill(10_000)
			d := s.hand(s.batch())
			got := s.delivered(d)
			stream, err := r.js.Stream(t.Context(), names.StagingStream)
			check(t, err)
			m, err := stream.GetLastMsgForSubject(t.Context(), names.StagingSubject(c.name))
			check(t, err)
			told, err := batch.DecodeDelivery(m.Data)
			check(t, err)
			wantEqual(t, "what is announced", told, got)
			wantEqual(t, "the batch", told.Batch, d.ID())
			wantEqual(t, "the delivery stream's id", told.StreamID, s.doc.ID)
			wantEqual(t, "the records", told.Records, d.Records)
			wantEqual(t, "the bytes", told.Bytes, int64(len(want)))
			wantEqual(t, "the oldest record", told.Oldest.Equal(d.Oldest), true)
			if !strings.HasPrefix(told.Location, "s3://data/staging/") {
				t.Errorf("the object is at %s", told.Location)
			}
			data, _ := r.content(told.Location)
			wantContent(t, c.format, data, want)
		})
	}
	wantEqual(t, "the announcements", r.wantStagedObjects("data"), 2)
}

// TestNothingStaged has outcomes that leave nothing to load, and objects that are nobody's staging.
func TestNothingStaged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.s3.Client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("copies")})
	check(t, err)
	r.start()
	plain := r.stream("plain")
	plain.fill(1000)
	plain.delivered(plain.hand(plain.batch()))

	expired := r.stream("expired", toRedshift(types.CompressionFormatUncompressed))
	expired.fill(1000)
	gone := expired.batch()
	expired.purge(gone.Last + 1)
	wantEqual(t, "the outcome", expired.delivered(expired.hand(gone)).Outcome, batch.Expired)

	copied := r.stream("copied", toRedshift(types.CompressionFormatUncompressed), withCopies)
	copied.fill(1000)
	copied.delivered(copied.hand(inLeg(copied.batch(), names.LegBackup)))
	r.wantOne("copies")
	wantEqual(t, "the announcements", len(r.staged()), 0)
}

// TestStagedSurvivors announces what is left of a batch, with its own counts.
func TestStagedSurvivors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	s := r.stream("demo", toRedshift(types.CompressionFormatUncompressed))
	s.put([]byte("gone"))
	s.put([]byte("left\n"))
	d := s.batch()
	s.purge(d.Last)
	got := s.delivered(s.hand(d))
	wantEqual(t, "the announcements", r.wantStagedObjects("data"), 1)
	told := r.staged()[0]
	wantEqual(t, "what is announced", told, got)
	wantEqual(t, "the records", told.Records, 1)
	wantEqual(t, "the bytes", told.Bytes, 5)
	wantEqual(t, "the expired records", told.ExpiredRecords, 1)
}

// TestStagingFull keeps the batches of objects that cannot be announced, and announces them when there is room.
func TestStagingFull(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo", toRedshift(types.CompressionFormatUncompressed))
	r.limitStaging(1)
	r.start()
	s.put([]byte("a"))
	first := s.hand(s.batch())
	s.delivered(first)
	second := s.put([]byte("b"))
	d := s.hand(s.describe(second, second))
	consumer := func() (waiting, again int) {
		c, err := r.js.Consumer(t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, s.doc.Name, s.doc.ID))
		check(t, err)
		return c.CachedInfo().NumAckPending, c.CachedInfo().NumRedelivered
	}
	natstest.WaitFor(t, "the second batch is tried again", func() bool { _, again := consumer(); return again > 0 })
	if waiting, _ := consumer(); waiting != 1 {
		t.Errorf("%d batches wait, want the one that is not announced", waiting)
	}
	wantEqual(t, "the outcomes", len(r.deliveries()), 1)
	wantEqual(t, "the objects", len(r.keys("data")), 2)
	r.limitStaging(-1)
	s.delivered(d)
	wantEqual(t, "the announcements", r.wantStagedObjects("data"), 2)
}

// limitStaging makes STAGING refuse more than so many messages.
func (r *rig) limitStaging(messages int64) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), names.StagingStream)
	check(r.t, err)
	config := stream.CachedInfo().Config
	config.MaxMsgs = messages
	_, err = r.js.UpdateStream(r.t.Context(), config)
	check(r.t, err)
}
