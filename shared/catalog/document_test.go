package catalog

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/go-json-experiment/json/jsontext"

	"hydrant/shared/format"
	"hydrant/shared/names"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func ptr[T any](v T) *T { return &v }

func destination(bucket string) Destination {
	return Destination{ID: "destinationId-000000000001", S3: &types.ExtendedS3DestinationDescription{
		BucketARN:                ptr("arn:aws:s3:::" + bucket),
		RoleARN:                  ptr("arn:aws:iam::000000000000:role/firehose"),
		Prefix:                   ptr("raw/"),
		BufferingHints:           &types.BufferingHints{SizeInMBs: ptr(int32(5)), IntervalInSeconds: ptr(int32(300))},
		CompressionFormat:        types.CompressionFormatGzip,
		EncryptionConfiguration:  &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: ptr(false)},
		S3BackupMode:             types.S3BackupModeDisabled,
	}}
}

func document(name names.Stream) *DeliveryStream {
	return &DeliveryStream{
		Format: 2, Name: name, ID: "abcdefghij234567", ARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/" + string(name),
		Status: types.DeliveryStreamStatusActive, Created: time.Date(2026, 2, 25, 13, 4, 5, 678_000_000, time.UTC),
		Shards: 1, RetentionSeconds: 86_400, Version: 1, Destination: destination("bucket"),
	}
}

// backedUp is a document with everything that format 2 added.
func backedUp(name names.Stream) *DeliveryStream {
	d := document(name)
	d.Tags = []types.Tag{{Key: ptr("team"), Value: ptr("data")}, {Key: ptr("flag")}}
	d.Destination.BackupSince = d.Created.Add(time.Hour)
	d.Destination.S3.Prefix = ptr("!{timestamp:yyyy}/")
	d.Destination.S3.ErrorOutputPrefix = ptr("errors/!{firehose:error-output-type}/")
	d.Destination.S3.FileExtension = ptr(".json")
	d.Destination.S3.CustomTimeZone = ptr("Europe/Berlin")
	d.Destination.S3.S3BackupMode = types.S3BackupModeEnabled
	d.Destination.S3.S3BackupDescription = &types.S3DestinationDescription{
		BucketARN:                ptr("arn:aws:s3:::copies"),
		RoleARN:                  ptr("arn:aws:iam::000000000000:role/copies"),
		Prefix:                   ptr("source/"),
		ErrorOutputPrefix:        ptr("wrong/"),
		BufferingHints:           &types.BufferingHints{SizeInMBs: ptr(int32(64)), IntervalInSeconds: ptr(int32(900))},
		CompressionFormat:        types.CompressionFormatSnappy,
		EncryptionConfiguration:  &types.EncryptionConfiguration{KMSEncryptionConfig: &types.KMSEncryptionConfig{AWSKMSKeyARN: ptr("arn:aws:kms:us-east-1:000000000000:key/k")}},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: ptr(true), LogGroupName: ptr("g"), LogStreamName: ptr("s")},
	}
	return d
}

// searching is a document of a search destination that is backed up.
func searching(name names.Stream) *DeliveryStream {
	d := document(name)
	d.Format = 3
	d.Destination = Destination{ID: d.Destination.ID, Search: &SearchDestination{
		API: ElasticsearchAPI,
		Description: types.AmazonopensearchserviceDestinationDescription{
			BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: ptr(int32(7)), IntervalInSeconds: ptr(int32(60))},
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: ptr(true), LogStreamName: ptr("search")},
			ClusterEndpoint:          ptr("https://search.example.com:9200"),
			DocumentIdOptions:        &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatFirehoseDefault},
			IndexName:                ptr("logs"),
			IndexRotationPeriod:      types.AmazonopensearchserviceIndexRotationPeriodOneDay,
			RetryOptions:             &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: ptr(int32(0))},
			RoleARN:                  ptr("arn:aws:iam::000000000000:role/search"),
			S3BackupMode:             types.AmazonopensearchserviceS3BackupModeAllDocuments,
			S3DestinationDescription: backedUp(name).Destination.S3.S3BackupDescription,
			TypeName:                 ptr("line"),
		},
	}}
	return d
}

// loading is a document of a Redshift destination that is backed up.
func loading(name names.Stream) *DeliveryStream {
	d := document(name)
	d.Format = 4
	d.Destination = Destination{
		ID: d.Destination.ID, BackupSince: d.Created.Add(time.Hour),
		Redshift: &RedshiftDestination{Password: NewPassword("secret-Pa55"), Description: types.RedshiftDestinationDescription{
			ClusterJDBCURL: ptr("jdbc:redshift://cluster.example.com:5439/dev"),
			CopyCommand: &types.CopyCommand{
				DataTableName: ptr("public.clicks"), DataTableColumns: ptr("a,b"), CopyOptions: ptr("JSON 'auto' GZIP"),
			},
			RoleARN:  ptr("arn:aws:iam::000000000000:role/load"),
			Username: ptr("loader"),
			S3DestinationDescription: &types.S3DestinationDescription{
				BucketARN:                ptr("arn:aws:s3:::staging"),
				RoleARN:                  ptr("arn:aws:iam::000000000000:role/staging"),
				Prefix:                   ptr("staged/"),
				BufferingHints:           &types.BufferingHints{SizeInMBs: ptr(int32(3)), IntervalInSeconds: ptr(int32(60))},
				CompressionFormat:        types.CompressionFormatGzip,
				EncryptionConfiguration:  &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
				CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: ptr(true), LogStreamName: ptr("staging")},
			},
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: ptr(true), LogStreamName: ptr("load")},
			RetryOptions:             &types.RedshiftRetryOptions{DurationInSeconds: ptr(int32(3600))},
			S3BackupMode:             types.RedshiftS3BackupModeEnabled,
			S3BackupDescription:      backedUp(name).Destination.S3.S3BackupDescription,
		}},
	}
	return d
}

func TestDocumentGolden(t *testing.T) {
	changed := document("web.clicks")
	changed.Replace(destination("other"), time.Date(2026, 2, 26, 0, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		file string
		d    *DeliveryStream
	}{
		{"document.json", document("web.clicks")},
		{"document_updated.json", changed},
		{"document_backup.json", backedUp("web.clicks")},
		{"document_search.json", searching("web.clicks")},
		{"document_redshift.json", loading("web.clicks")},
	} {
		t.Run(c.file, func(t *testing.T) {
			data, err := encode(c.d)
			if err != nil {
				t.Fatal(err)
			}
			pretty := jsontext.Value(bytes.Clone(data))
			if err := pretty.Indent(jsontext.WithIndent("  ")); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", c.file)
			if *update {
				if err := os.WriteFile(path, append(pretty, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(append(pretty, '\n'), want) {
				t.Errorf("the stored form is\n%s\nwant\n%s", pretty, want)
			}
			back, err := decode(want)
			if err != nil || !reflect.DeepEqual(back, c.d) {
				t.Errorf("read back as %+v, %v", back, err)
			}
		})
	}
}

func TestEncodeLeavesTheDocumentAlone(t *testing.T) {
	d := document("a")
	d.Format = 0
	if _, err := encode(d); err != nil || d.Format != 0 {
		t.Errorf("format is %d, %v", d.Format, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, data string
		newer      bool
	}{
		{"the next format", `{"format":5,"name":"a"}`, true},
		{"a later form that looks different", `{"format":9,"name":{"x":1},"status":5}`, true},
		{"no JSON", `hello`, false},
		{"nothing", ``, false},
		{"a wrong type", `{"format":1,"name":5}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := decode([]byte(c.data))
			if d != nil || err == nil || errors.Is(err, format.ErrNewer) != c.newer {
				t.Errorf("read as %+v, %v", d, err)
			}
		})
	}
}

func TestReplaceKeepsWhatBatchesMayNeed(t *testing.T) {
	d := document("a") // retention 24 hours
	at := d.Created
	for _, c := range []struct {
		name  string
		after time.Duration // since the one before
		want  []int         // versions of Previous
	}{
		{"the first", time.Hour, []int{1}},
		{"soon after", time.Hour, []int{1, 2}},
		{"just before the oldest may go", 24*time.Hour - time.Second, []int{1, 2, 3}},
		{"when the oldest may go", time.Second, []int{2, 3, 4}},
		{"long after", 48 * time.Hour, []int{5}},
	} {
		at = at.Add(c.after)
		from := d.Version
		d.Replace(destination(c.name), at)
		var got []int
		for _, p := range d.Previous {
			got = append(got, p.Version)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: previous are %v, want %v", c.name, got, c.want)
		}
		if d.Version != from+1 || !d.Updated.Equal(at) || *d.Destination.S3.BucketARN != "arn:aws:s3:::"+c.name {
			t.Errorf("%s: version %d, updated %s, destination %s", c.name, d.Version, d.Updated, *d.Destination.S3.BucketARN)
		}
	}
}

// A document may be in use while a copy of it is changed.
func TestReplaceLeavesOlderCopiesAlone(t *testing.T) {
	d := document("a")
	d.Replace(destination("second"), d.Created.Add(time.Hour))
	before := *d
	d.Replace(destination("third"), d.Created.Add(2*time.Hour))
	d.Replace(destination("fourth"), d.Created.Add(72*time.Hour))
	if len(before.Previous) != 1 || before.Previous[0].Version != 1 || *before.Previous[0].Destination.S3.BucketARN != "arn:aws:s3:::bucket" {
		t.Errorf("the copy's previous are %+v", before.Previous)
	}
}

func TestDestinationsSince(t *testing.T) {
	d := document("a")
	for i := range 3 {
		d.Replace(destination("x"), d.Created.Add(time.Duration(i+1)*time.Minute))
	}
	for _, c := range []struct {
		name    string
		version int
		want    []int
	}{
		{"before all", 0, []int{1, 2, 3}},
		{"the first", 1, []int{1, 2, 3}},
		{"one in between", 2, []int{2, 3}},
		{"the last before the present", 3, []int{3}},
		{"the present", 4, nil},
		{"a later one", 5, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int
			for _, p := range d.DestinationsSince(c.version) {
				got = append(got, p.Version)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestLegs(t *testing.T) {
	d := document("a")
	want := []LegHints{{Leg: names.LegS3, Bytes: 5 << 20, Interval: 300 * time.Second, Since: d.Created}}
	if got := d.Legs(); !reflect.DeepEqual(got, want) {
		t.Errorf("legs are %+v, want %+v", got, want)
	}
	d = backedUp("a")
	want = append(want, LegHints{Leg: names.LegBackup, Bytes: 64 << 20, Interval: 900 * time.Second, Since: d.Created.Add(time.Hour)})
	if got := d.Legs(); !reflect.DeepEqual(got, want) {
		t.Errorf("with a backup the legs are %+v, want %+v", got, want)
	}
	d.Destination.S3 = nil
	if got := d.Legs(); got != nil {
		t.Errorf("without a destination the legs are %+v", got)
	}
}

func TestLegsOfSearch(t *testing.T) {
	d := searching("a")
	es := LegHints{Leg: names.LegES, Bytes: 7 << 20, Interval: 60 * time.Second, Since: d.Created}
	backup := LegHints{Leg: names.LegBackup, Bytes: 64 << 20, Interval: 900 * time.Second, Since: d.Created}
	if got, want := d.Legs(), []LegHints{es, backup}; !reflect.DeepEqual(got, want) {
		t.Errorf("with AllDocuments the legs are %+v, want %+v", got, want)
	}
	d.Destination.Search.Description.S3BackupMode = types.AmazonopensearchserviceS3BackupModeFailedDocumentsOnly
	if got, want := d.Legs(), []LegHints{es}; !reflect.DeepEqual(got, want) {
		t.Errorf("with FailedDocumentsOnly the legs are %+v, want %+v", got, want)
	}
}

func TestS3OfSearch(t *testing.T) {
	d := searching("a").Destination
	want := backedUp("a").Destination.S3Of(names.LegBackup) // of the same settings
	if got := d.S3Of(names.LegBackup); !reflect.DeepEqual(got, want) {
		t.Errorf("the backup is %+v, want %+v", got, want)
	}
	d.Search.Description.S3BackupMode = types.AmazonopensearchserviceS3BackupModeFailedDocumentsOnly
	for _, leg := range []names.Leg{names.LegS3, names.LegES, names.LegBackup} {
		if got := d.S3Of(leg); got != nil {
			t.Errorf("%s writes objects to %+v", leg, got)
		}
	}
	if got := d.ErrorsS3(); !reflect.DeepEqual(got, want) {
		t.Errorf("what fails is set aside in %+v, want %+v", got, want)
	}
	if got := backedUp("a").Destination.ErrorsS3(); got != nil {
		t.Errorf("what fails of an S3 destination is set aside in %+v", got)
	}
}

func TestLogging(t *testing.T) {
	s3, search := backedUp("a").Destination, searching("a").Destination
	only := searching("a").Destination
	only.Search.Description.S3BackupMode = types.AmazonopensearchserviceS3BackupModeFailedDocumentsOnly
	for _, c := range []struct {
		name        string
		destination Destination
		leg         names.Leg
		want        *types.CloudWatchLoggingOptions
	}{
		{"S3", s3, names.LegS3, s3.S3.CloudWatchLoggingOptions},
		{"backup of S3", s3, names.LegBackup, s3.S3.S3BackupDescription.CloudWatchLoggingOptions},
		{"es of S3", s3, names.LegES, nil},
		{"es", search, names.LegES, search.Search.Description.CloudWatchLoggingOptions},
		{"backup of es", search, names.LegBackup, search.Search.Description.S3DestinationDescription.CloudWatchLoggingOptions},
		{"S3 of es", search, names.LegS3, nil},
		{"no backup of es", only, names.LegBackup, nil},
		{"no destination", Destination{}, names.LegES, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.destination.Logging(c.leg); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestS3Of(t *testing.T) {
	d := backedUp("a").Destination
	if got := d.S3Of(names.LegS3); got != d.S3 {
		t.Errorf("the destination's own is %+v", got)
	}
	from, got := d.S3.S3BackupDescription, d.S3Of(names.LegBackup)
	want := &types.ExtendedS3DestinationDescription{
		BucketARN: from.BucketARN, RoleARN: from.RoleARN, Prefix: from.Prefix, ErrorOutputPrefix: from.ErrorOutputPrefix,
		BufferingHints: from.BufferingHints, CompressionFormat: from.CompressionFormat,
		EncryptionConfiguration: from.EncryptionConfiguration, CloudWatchLoggingOptions: from.CloudWatchLoggingOptions,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the backup is %+v, want %+v", got, want)
	}
	if got := d.S3Of(names.LegES); got != nil {
		t.Errorf("Elasticsearch has S3 settings: %+v", got)
	}
	d.S3.S3BackupMode = types.S3BackupModeDisabled
	if got := d.S3Of(names.LegBackup); got != nil {
		t.Errorf("a backup that is off has settings: %+v", got)
	}
}

// A document of version 1 is read as it always was.
func TestReadsTheFirstFormat(t *testing.T) {
	d, err := decode([]byte(`{"format":1,"name":"a","id":"b","version":3,"destination":{"id":"x","s3":{"BucketARN":"arn:aws:s3:::old","S3BackupMode":"Disabled"}}}`))
	if err != nil || d.Version != 3 || *d.Destination.S3.BucketARN != "arn:aws:s3:::old" || d.Tags != nil {
		t.Errorf("read as %+v, %v", d, err)
	}
}

func TestBucket(t *testing.T) {
	for arn, want := range map[string]string{"arn:aws:s3:::my.bucket-1": "my.bucket-1", "arn:aws-cn:s3:::x": "x", "plain": "plain", "": ""} {
		if got := Bucket(arn); got != want {
			t.Errorf("%q has bucket %q, want %q", arn, got, want)
		}
	}
}

// A document of any earlier version is read whole, or nobody could change it after an upgrade.
func TestNothingOfEarlierDocumentsIsUnknown(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeWhole(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
