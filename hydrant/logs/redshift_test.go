package logs

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// redshift makes a delivery stream to Redshift that is backed up.
func (in *installation) redshift(name names.Stream, to, staging, backup *types.CloudWatchLoggingOptions) {
	in.t.Helper()
	c, err := catalog.Open(in.t.Context(), in.js)
	in.must(err)
	s3 := func(logging *types.CloudWatchLoggingOptions) *types.S3DestinationDescription {
		hints := &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)}
		return &types.S3DestinationDescription{BufferingHints: hints, CloudWatchLoggingOptions: logging}
	}
	created := time.Now().UTC()
	in.must(c.Create(in.t.Context(), &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Created: created, Shards: 1, RetentionSeconds: 3600, Version: 3,
		Destination: catalog.Destination{ID: "destinationId-000000000001", BackupSince: created, Redshift: &catalog.RedshiftDestination{
			Password: catalog.NewPassword("SECRET-Pa55word"),
			Description: types.RedshiftDestinationDescription{
				CloudWatchLoggingOptions: to, S3DestinationDescription: s3(staging),
				S3BackupMode: types.RedshiftS3BackupModeEnabled, S3BackupDescription: s3(backup),
			},
		}},
	}))
}

// The entries of the way into the table are shown beside those of the staging, and each logging is turned on in its place.
func TestRedshift(t *testing.T) {
	const group = `"LogGroupName":"/aws/kinesisfirehose/demo","LogStreamName":`
	for _, c := range []struct {
		name                string
		to, staging, backup *types.CloudWatchLoggingOptions
		want                []string
	}{
		{"on", on(), on(), on(), nil},
		{"off", nil, on(), on(), []string{"leg redshift, is off", `'{"CloudWatchLoggingOptions":{"Enabled":true,` + group + `"RedshiftDelivery"}}'`}},
		{"off for the staging", on(), nil, on(), []string{"leg s3, is off", `'{"S3Update":{"CloudWatchLoggingOptions":{"Enabled":true,` + group + `"S3Delivery"}}}'`}},
		{"off for the backup", on(), on(), nil, []string{"leg backup, is off", `'{"S3BackupUpdate":{"CloudWatchLoggingOptions":{"Enabled":true,` + group + `"BackupDelivery"}}}'`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newInstallation(t)
			in.redshift("demo", c.to, c.staging, c.backup)
			e := example(1)
			e.ErrorCode, e.Destination, e.Bucket, e.LogStream = "Redshift.TableNotFound", "cluster.example.com/dev/clicks", "", "RedshiftDelivery"
			in.entry("RedshiftDelivery", e)
			got := in.output(in.command())
			if len(c.want) > 0 {
				c.want = append(c.want, "--redshift-destination-update")
			}
			for _, want := range append(c.want, "Redshift.TableNotFound", "destination cluster.example.com/dev/clicks", "log stream RedshiftDelivery") {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			if n := strings.Count(got, "is off"); n != min(len(c.want), 1) || strings.Contains(got, "SECRET") {
				t.Errorf("%d legs are off in\n%s", n, got)
			}
		})
	}
}
