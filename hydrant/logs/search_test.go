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

// search makes a delivery stream to OpenSearch that is backed up.
func (in *installation) search(name names.Stream, api catalog.SearchAPI, to, backup *types.CloudWatchLoggingOptions) {
	in.t.Helper()
	c, err := catalog.Open(in.t.Context(), in.js)
	in.must(err)
	hints := &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)}
	in.must(c.Create(in.t.Context(), &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 3600, Version: 3,
		Destination: catalog.Destination{ID: "destinationId-000000000001", Search: &catalog.SearchDestination{
			API: api, Description: types.AmazonopensearchserviceDestinationDescription{
				BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: hints.SizeInMBs, IntervalInSeconds: hints.IntervalInSeconds},
				CloudWatchLoggingOptions: to, S3BackupMode: types.AmazonopensearchserviceS3BackupModeAllDocuments,
				S3DestinationDescription: &types.S3DestinationDescription{BufferingHints: hints, CloudWatchLoggingOptions: backup},
			},
		}},
	}))
}

// The entries of a search destination are shown with where they came from, and its logging is turned on in its own shape.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name       string
		api        catalog.SearchAPI
		to, backup *types.CloudWatchLoggingOptions
		want       []string
	}{
		{"on", catalog.OpenSearchAPI, on(), on(), nil},
		{"off", catalog.OpenSearchAPI, nil, on(), []string{
			"Error logging of demo, leg es, is off", "--amazonopensearchservice-destination-update",
			`'{"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"/aws/kinesisfirehose/demo","LogStreamName":"ElasticsearchDelivery"}}'`,
		}},
		{"off for the backup", catalog.ElasticsearchAPI, on(), nil, []string{
			"Error logging of demo, leg backup, is off", "--elasticsearch-destination-update",
			`'{"S3Update":{"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"/aws/kinesisfirehose/demo","LogStreamName":"BackupDelivery"}}}'`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newInstallation(t)
			in.search("demo", c.api, c.to, c.backup)
			e := example(1)
			e.ErrorCode, e.Destination, e.Bucket, e.LogStream = "ES.ServiceException", "https://search.example.com:9200", "", "ElasticsearchDelivery"
			in.entry("ElasticsearchDelivery", e)
			got := in.output(in.command())
			for _, want := range append(c.want, "ES.ServiceException", "destination https://search.example.com:9200", "log stream ElasticsearchDelivery") {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			if n := strings.Count(got, "is off"); n != min(len(c.want), 1) {
				t.Errorf("%d legs are off in\n%s", n, got)
			}
		})
	}
}
