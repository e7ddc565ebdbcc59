package s3sink

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

func goldenBatch() batch.Descriptor {
	return batch.Descriptor{
		Stream: "web.clicks", StreamID: "abcdefgh234567ab", Version: 3, Leg: names.LegS3, Shard: 2, First: 101, Last: 250,
		Messages: 150, Records: 150, Bytes: 1000,
		Oldest: time.Date(2026, 3, 9, 23, 5, 7, 123456789, time.FixedZone("", -3600)), Newest: time.Date(2026, 3, 10, 1, 0, 0, 0, time.UTC),
	}
}

// TestNames is golden: a change of a name makes batches that were delivered before the change be delivered again. The
// hashes were computed by another program.
func TestNames(t *testing.T) {
	const whole, rest = "f85cb5ba-7384-8d0e-a620-533e07d35f63", "574f66eb-0493-8e89-9d2a-ed114f1a6490"
	tests := []struct {
		name    string
		version int
		change  func(*types.ExtendedS3DestinationDescription)
		variant variant
		want    string
	}{
		{"no prefix", 3, nil, wholeBatch, "2026/03/10/00/web.clicks-3-2026-03-10-00-05-07-" + whole},
		{"a later version", 12, nil, wholeBatch, "2026/03/10/00/web.clicks-12-2026-03-10-00-05-07-" + whole},
		{
			"a folder", 3, func(d *types.ExtendedS3DestinationDescription) { d.Prefix = aws.String("myApp/") }, wholeBatch,
			"myApp/2026/03/10/00/web.clicks-3-2026-03-10-00-05-07-" + whole,
		},
		{
			"a prefix is put before it as it is", 3,
			func(d *types.ExtendedS3DestinationDescription) { d.Prefix = aws.String("legacy %s") }, wholeBatch,
			"legacy %s2026/03/10/00/web.clicks-3-2026-03-10-00-05-07-" + whole,
		},
		{
			"gzip", 3, func(d *types.ExtendedS3DestinationDescription) { d.CompressionFormat = types.CompressionFormatGzip }, wholeBatch,
			"2026/03/10/00/web.clicks-3-2026-03-10-00-05-07-" + whole + ".gz",
		},
		{"what survived", 3, nil, survivors, "2026/03/10/00/web.clicks-3-2026-03-10-00-05-07-" + rest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			to := s3Destination("data")
			if tt.change != nil {
				tt.change(to)
			}
			got, err := newTarget("inst", goldenBatch(), tt.version, to, tt.variant)
			check(t, err)
			wantEqual(t, "the bucket", got.Bucket, "data")
			wantEqual(t, "the key", got.Key, tt.want)
		})
	}
}

// TestNamesOfSettings is golden too: whole keys as the settings about names make them.
func TestNamesOfSettings(t *testing.T) {
	file, err := os.ReadFile("testdata/objectkeys.tsv")
	check(t, err)
	rows := 0
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		rows++
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		wantEqual(t, "the columns", len(columns), 6)
		to := s3Destination("data")
		to.Prefix, to.CustomTimeZone, to.FileExtension = &columns[0], &columns[1], &columns[2]
		to.CompressionFormat = types.CompressionFormat(columns[3])
		for range 2 {
			got, err := newTarget("inst", goldenBatch(), 3, to, variant(columns[4]))
			check(t, err)
			wantEqual(t, "the key of "+columns[0], got.Key, columns[5])
		}
	}
	wantEqual(t, "the rows", rows, 12)
}

// TestUnsupported makes sure that what this build cannot write is refused and not written otherwise.
func TestUnsupported(t *testing.T) {
	tests := []struct {
		name string
		to   func(*types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription
	}{
		{"no S3 destination", func(*types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription { return nil }},
		{"compression", func(d *types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription {
			d.CompressionFormat = "BROTLI"
			return d
		}},
		{"prefix", func(d *types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription {
			d.Prefix = aws.String("!{partitionKeyFromQuery:id}/")
			return d
		}},
		{"time zone", func(d *types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription {
			d.CustomTimeZone = aws.String("Mars/Olympus")
			return d
		}},
		{"encryption without a key", func(d *types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription {
			d.EncryptionConfiguration = &types.EncryptionConfiguration{KMSEncryptionConfig: &types.KMSEncryptionConfig{}}
			return d
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := newTarget("inst", goldenBatch(), 1, tt.to(s3Destination("data")), wholeBatch); err == nil {
				t.Errorf("accepted as %s", got)
			}
		})
	}
}
