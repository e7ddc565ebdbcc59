package status

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// TestCollectSearch has a search destination with a backup, whose legs are apart: one fails, and the other delivers.
func TestCollectSearch(t *testing.T) {
	in := newInstallation(t)
	mb, seconds, enabled := int32(5), int32(300), true
	d := in.streamTo("demo", id("d"), 1, catalog.Destination{ID: "destinationId-000000000001", Search: &catalog.SearchDestination{
		API: catalog.ElasticsearchAPI, Description: types.AmazonopensearchserviceDestinationDescription{
			BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: &mb, IntervalInSeconds: &seconds},
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: &enabled},
			S3BackupMode:             types.AmazonopensearchserviceS3BackupModeAllDocuments,
			S3DestinationDescription: &types.S3DestinationDescription{BufferingHints: &types.BufferingHints{SizeInMBs: &mb, IntervalInSeconds: &seconds}},
		},
	}})
	in.put(d, 0, 10)
	in.put(d, 0, 10)
	in.failed(in.cutOf(names.LegES, d, 0, 1, 2, time.Now()), "ES.ServiceException", time.Now())
	in.settle(in.cutOf(names.LegBackup, d, 0, 1, 1, time.Now()), batch.Delivered, nil)
	legs, err := Collect(t.Context(), in.js, Options{})
	in.must(err)
	if len(legs) != 2 {
		t.Fatalf("legs are %s", asJSON(t, legs))
	}
	es, backup := legs[0], legs[1]
	if es.Leg != names.LegES || es.Pending != (Pending{Batches: 1, Records: 20, Bytes: 2000}) || es.Failing.LastErrorCode != "ES.ServiceException" || es.Failing.LoggingOff {
		t.Errorf("es is %s", asJSON(t, es))
	}
	if backup.Leg != names.LegBackup || backup.Delivered.Records != 10 || backup.Buffered.Records != 10 || backup.Failing != (Failing{}) {
		t.Errorf("backup is %s", asJSON(t, backup))
	}
}
