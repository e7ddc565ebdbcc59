package catalog

import (
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/names"
)

func TestLegsOfRedshift(t *testing.T) {
	d := loading("a")
	staging := LegHints{Leg: names.LegS3, Bytes: 3 << 20, Interval: 60 * time.Second, Since: d.Created}
	backup := LegHints{Leg: names.LegBackup, Bytes: 64 << 20, Interval: 900 * time.Second, Since: d.Created.Add(time.Hour)}
	if got, want := d.Legs(), []LegHints{staging, backup}; !reflect.DeepEqual(got, want) {
		t.Errorf("with a backup the legs are %+v, want %+v", got, want)
	}
	d.Destination.Redshift.Description.S3BackupMode = types.RedshiftS3BackupModeDisabled
	if got, want := d.Legs(), []LegHints{staging}; !reflect.DeepEqual(got, want) {
		t.Errorf("without a backup the legs are %+v, want %+v", got, want)
	}
}

func TestS3OfRedshift(t *testing.T) {
	d := loading("a").Destination
	from := d.Redshift.Description.S3DestinationDescription
	staging := &types.ExtendedS3DestinationDescription{
		BucketARN: from.BucketARN, RoleARN: from.RoleARN, Prefix: from.Prefix, BufferingHints: from.BufferingHints,
		CompressionFormat: from.CompressionFormat, EncryptionConfiguration: from.EncryptionConfiguration,
		CloudWatchLoggingOptions: from.CloudWatchLoggingOptions,
	}
	if got := d.S3Of(names.LegS3); !reflect.DeepEqual(got, staging) {
		t.Errorf("the staging is %+v, want %+v", got, staging)
	}
	backup := backedUp("a").Destination.S3Of(names.LegBackup) // of the same settings
	if got := d.S3Of(names.LegBackup); !reflect.DeepEqual(got, backup) {
		t.Errorf("the backup is %+v, want %+v", got, backup)
	}
	d.Redshift.Description.S3BackupMode = types.RedshiftS3BackupModeDisabled
	for _, leg := range []names.Leg{names.LegES, names.LegBackup, names.LegRedshift} {
		if got := d.S3Of(leg); got != nil {
			t.Errorf("%s writes objects to %+v", leg, got)
		}
	}
	if got := d.ErrorsS3(); got != nil {
		t.Errorf("documents are set aside in %+v", got)
	}
}

func TestLoggingOfRedshift(t *testing.T) {
	d := loading("a").Destination
	for leg, want := range map[names.Leg]*types.CloudWatchLoggingOptions{
		names.LegRedshift: d.Redshift.Description.CloudWatchLoggingOptions,
		names.LegS3:       d.Redshift.Description.S3DestinationDescription.CloudWatchLoggingOptions,
		names.LegBackup:   d.Redshift.Description.S3BackupDescription.CloudWatchLoggingOptions,
		names.LegES:       nil,
	} {
		if got := d.Logging(leg); got != want {
			t.Errorf("that of %s is %+v, want %+v", leg, got, want)
		}
	}
	if got := destination("x").Logging(names.LegRedshift); got != nil {
		t.Errorf("that of S3 for Redshift is %+v", got)
	}
}

// A service that does not know Redshift has to keep off as long as a batch may have been tried under such a destination.
func TestFormatIsThatOfTheDestinations(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, next Destination
		want        int
	}{
		{"S3", destination("a"), destination("b"), 2},
		{"search", searching("a").Destination, searching("a").Destination, 3},
		{"Redshift", loading("a").Destination, loading("a").Destination, 4},
		{"Redshift in the past", loading("a").Destination, destination("b"), 4},
		{"Redshift at last", destination("a"), loading("a").Destination, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := document("a")
			d.Destination = c.first
			d.Replace(c.next, d.Created.Add(time.Hour))
			data, err := encode(d)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := decode(data); err != nil || back.Format != c.want {
				t.Errorf("read back as %+v, %v, want format %d", back, err, c.want)
			}
		})
	}
}
