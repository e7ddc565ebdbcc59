package ingest

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

func (r *replica) update(name, version string, s3 *types.ExtendedS3DestinationUpdate) error {
	_, err := r.client.UpdateDestination(r.t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: &version,
		DestinationId: aws.String(onlyDestination), ExtendedS3DestinationUpdate: s3,
	})
	return err
}

// described is what Describe shows of a delivery stream's destination, in both forms.
func (r *replica) described(name string) (extended, plain string) {
	r.t.Helper()
	var answer struct {
		DeliveryStreamDescription struct {
			Destinations []struct {
				ExtendedS3DestinationDescription, S3DestinationDescription json.RawMessage
			}
		}
	}
	body := r.raw("DescribeDeliveryStream", `{"DeliveryStreamName":"`+name+`"}`).Body
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.DeliveryStreamDescription.Destinations) != 1 {
		r.t.Fatal(body)
	}
	d := answer.DeliveryStreamDescription.Destinations[0]
	return string(d.ExtendedS3DestinationDescription), string(d.S3DestinationDescription)
}

const (
	shownBucket   = `"BucketARN":"arn:aws:s3:::b"`
	shownDefaults = `"BufferingHints":{"IntervalInSeconds":300,"SizeInMBs":5},"CompressionFormat":"UNCOMPRESSED",` +
		`"EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"}`
	shownKMS    = `"EncryptionConfiguration":{"KMSEncryptionConfig":{"AWSKMSKeyARN":"arn:aws:kms:us-east-1:000000000000:key/k"}}`
	shownNoLogs = `"CloudWatchLoggingOptions":{"Enabled":false}`
)

// TestDescribed has what is shown of a destination that was made with certain members, beside bucket and role.
func TestDescribed(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	for name, test := range map[string]struct{ members, extended, plain string }{
		"nothing": {
			"",
			`{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":"","S3BackupMode":"Disabled"}`,
			`{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":""}`,
		},
		"empty members": {
			`"BufferingHints":{},"EncryptionConfiguration":{},"CloudWatchLoggingOptions":{},"ErrorOutputPrefix":"","FileExtension":"","CustomTimeZone":""`,
			`{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":"","S3BackupMode":"Disabled"}`,
			`{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":""}`,
		},
		"what is off": {
			`"ProcessingConfiguration":{},"DataFormatConversionConfiguration":{"Enabled":false},"DynamicPartitioningConfiguration":{}`,
			`{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"DataFormatConversionConfiguration":{"Enabled":false},` +
				`"DynamicPartitioningConfiguration":{"Enabled":false},"Prefix":"","ProcessingConfiguration":{"Enabled":false},"S3BackupMode":"Disabled"}`,
			`{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":""}`,
		},
		"all": {
			`"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":0},"CompressionFormat":"HADOOP_SNAPPY",` + shownKMS + `,"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},` +
				`"Prefix":"p/","ErrorOutputPrefix":"e/","FileExtension":".x","CustomTimeZone":"Asia/Tokyo","S3BackupMode":"Enabled","S3BackupConfiguration":{` + someBucket + `,` + someRole + `,"Prefix":"copy/"}`,
			`{` + shownBucket + `,"BufferingHints":{"IntervalInSeconds":0,"SizeInMBs":1},"CompressionFormat":"HADOOP_SNAPPY",` + shownKMS + `,` + someRole + `,` +
				`"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},"CustomTimeZone":"Asia/Tokyo","ErrorOutputPrefix":"e/","FileExtension":".x","Prefix":"p/",` +
				`"S3BackupDescription":{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":"copy/"},"S3BackupMode":"Enabled"}`,
			`{` + shownBucket + `,"BufferingHints":{"IntervalInSeconds":0,"SizeInMBs":1},"CompressionFormat":"HADOOP_SNAPPY",` + shownKMS + `,` + someRole + `,` +
				`"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},"ErrorOutputPrefix":"e/","Prefix":"p/"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			stream := strings.ReplaceAll(name, " ", "-")
			if answer := r.raw("CreateDeliveryStream", strings.Replace(createWith(test.members), `"s"`, `"`+stream+`"`, 1)); answer.Status != 200 {
				t.Fatal(answer.Body)
			}
			extended, plain := r.described(stream)
			if extended != test.extended || plain != test.plain {
				t.Errorf("extended %s\nwant     %s\nplain    %s\nwant     %s", extended, test.extended, plain, test.plain)
			}
		})
	}
}

// TestUpdatesMerge has updates, one after the other, and what is shown after each.
func TestUpdatesMerge(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	const full = `"BufferingHints":{"SizeInMBs":7,"IntervalInSeconds":60},"CompressionFormat":"GZIP",` + shownKMS + `,"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},` +
		`"Prefix":"p/","ErrorOutputPrefix":"e/","FileExtension":".x","CustomTimeZone":"Asia/Tokyo","ProcessingConfiguration":{"Enabled":false,"Processors":[{"Type":"Lambda"}]}`
	if answer := r.raw("CreateDeliveryStream", createWith(full)); answer.Status != 200 {
		t.Fatal(answer.Body)
	}
	shown := map[string]any{}
	wantShown := func(version string) {
		t.Helper()
		extended, plain := r.described("s")
		var got map[string]any
		if err := json.Unmarshal([]byte(extended), &got); err != nil {
			t.Fatal(err)
		}
		if gotText, want := must[[]byte](t)(json.Marshal(got)), must[[]byte](t)(json.Marshal(shown)); string(gotText) != string(want) {
			t.Errorf("version %s: %s\nwant %s", version, gotText, want)
		}
		var inPlain map[string]any
		if err := json.Unmarshal([]byte(plain), &inPlain); err != nil || !contains(got, inPlain) || len(inPlain) < 7 {
			t.Errorf("version %s: %s", version, plain)
		}
		if d := must[*types.DeliveryStreamDescription](t)(r.describe("s")); *d.VersionId != version {
			t.Errorf("version %s, want %s", *d.VersionId, version)
		}
	}
	set := func(text string) {
		if err := json.Unmarshal([]byte(text), &shown); err != nil {
			t.Fatal(err)
		}
	}
	set(`{` + shownBucket + `,` + someRole + `,"S3BackupMode":"Disabled",` + full + `}`)
	wantShown("1")
	for i, step := range []struct{ shape, members, shown string }{
		{"S3DestinationUpdate", ``, `{}`},
		{"ExtendedS3DestinationUpdate", `"Prefix":null,"CompressionFormat":"ZIP"`, `{"CompressionFormat":"ZIP"}`},
		{"S3DestinationUpdate", `"BucketARN":"arn:aws:s3:::other","BufferingHints":{}`, `{"BucketARN":"arn:aws:s3:::other"}`},
		{"S3DestinationUpdate", `"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":0},"Prefix":""`, `{"Prefix":"","BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":0}}`},
		{"S3DestinationUpdate", `"EncryptionConfiguration":{}`, `{}`},
		{"ExtendedS3DestinationUpdate", `"EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"}`, `{"EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"}}`},
		{"S3DestinationUpdate", `"CloudWatchLoggingOptions":{"LogGroupName":"h"}`, `{"CloudWatchLoggingOptions":{"Enabled":false,"LogGroupName":"h"}}`},
		{"ExtendedS3DestinationUpdate", `"FileExtension":".y","CustomTimeZone":"UTC"`, `{"FileExtension":".y","CustomTimeZone":"UTC"}`},
		{"ExtendedS3DestinationUpdate", `"ProcessingConfiguration":{"Enabled":false}`, `{"ProcessingConfiguration":{"Enabled":false}}`},
	} {
		version := strconv.Itoa(i + 1)
		body := strings.NewReplacer(`Id":"1"`, `Id":"`+version+`"`, `Id":"d"`, `Id":"`+onlyDestination+`"`).Replace(updateWith(step.shape, step.members))
		if answer := r.raw("UpdateDestination", body); answer.Body != "{}" {
			t.Fatalf("%s: %s", body, answer.Body)
		}
		for member := range shown { // a structure is replaced, not merged, by the text
			if strings.Contains(step.shown, `"`+member+`"`) {
				delete(shown, member)
			}
		}
		set(step.shown)
		wantShown(strconv.Itoa(i + 2))
	}
	wantNil(t, r.update("s", "10", &types.ExtendedS3DestinationUpdate{ErrorOutputPrefix: aws.String(""), FileExtension: aws.String(""), CustomTimeZone: aws.String("")}))
	delete(shown, "ErrorOutputPrefix")
	delete(shown, "FileExtension")
	delete(shown, "CustomTimeZone")
	wantShown("11")
}

// TestUpdatedPrefixes has updates that are right or wrong together with what is kept.
func TestUpdatedPrefixes(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.create("s")
	const message = "Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"
	wantError(t, r.update("s", "1", &types.ExtendedS3DestinationUpdate{Prefix: aws.String("!{timestamp:yyyy}/")}), "InvalidArgumentException", message)
	wantNil(t, r.update("s", "1", &types.ExtendedS3DestinationUpdate{ErrorOutputPrefix: aws.String("!{firehose:error-output-type}/")}))
	wantNil(t, r.update("s", "2", &types.ExtendedS3DestinationUpdate{Prefix: aws.String("!{timestamp:yyyy}/")}))
	wantError(t, r.update("s", "3", &types.ExtendedS3DestinationUpdate{ErrorOutputPrefix: aws.String("")}), "InvalidArgumentException", message)
	wantNil(t, r.update("s", "3", &types.ExtendedS3DestinationUpdate{ErrorOutputPrefix: aws.String(""), Prefix: aws.String("")}))
}

func backupUpdate(members types.S3DestinationUpdate) *types.ExtendedS3DestinationUpdate {
	return &types.ExtendedS3DestinationUpdate{S3BackupMode: types.S3BackupModeEnabled, S3BackupUpdate: &members}
}

func TestBackupFromTheStart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	s3 := plainS3()
	s3.S3BackupMode = types.S3BackupModeEnabled
	s3.S3BackupConfiguration = &types.S3DestinationConfiguration{
		BucketARN: aws.String("arn:aws:s3:::copies"), RoleARN: s3.RoleARN, CompressionFormat: types.CompressionFormatSnappy,
	}
	_, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("b"), ExtendedS3DestinationConfiguration: s3,
	})
	wantNil(t, err)
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "b"))
	if !d.Destination.BackupSince.Equal(d.Created) || len(d.Legs()) != 2 || d.Legs()[1].Leg != names.LegBackup || !d.Legs()[1].Since.Equal(d.Created) {
		t.Errorf("created %v, backed up since %v, legs %+v", d.Created, d.Destination.BackupSince, d.Legs())
	}
	wantNil(t, r.update("b", "1", backupUpdate(types.S3DestinationUpdate{Prefix: aws.String("p/"), BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(2), IntervalInSeconds: aws.Int32(3)}})))
	wantNil(t, r.update("b", "2", &types.ExtendedS3DestinationUpdate{S3BackupUpdate: &types.S3DestinationUpdate{CompressionFormat: types.CompressionFormatGzip}}))
	wantNil(t, r.update("b", "3", &types.ExtendedS3DestinationUpdate{S3BackupMode: types.S3BackupModeEnabled}))
	now := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "b"))
	backup := now.Destination.S3Of(names.LegBackup)
	if *backup.BucketARN != "arn:aws:s3:::copies" || *backup.Prefix != "p/" || backup.CompressionFormat != types.CompressionFormatGzip || *backup.BufferingHints.SizeInMBs != 2 {
		t.Errorf("backup %+v", backup)
	}
	if !now.Destination.BackupSince.Equal(d.Created) || len(now.Previous) != 3 || *now.Previous[0].Destination.S3.S3BackupDescription.Prefix != "" {
		t.Errorf("backed up since %v, before: %+v", now.Destination.BackupSince, now.Previous)
	}
	err = r.update("b", "4", &types.ExtendedS3DestinationUpdate{S3BackupMode: types.S3BackupModeDisabled})
	wantError(t, err, "InvalidArgumentException", "ExtendedS3DestinationUpdate.S3BackupMode: a backup that is Enabled cannot be Disabled")
}

func TestBackupLaterOn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("b")
	whole := types.S3DestinationUpdate{BucketARN: aws.String("arn:aws:s3:::copies"), RoleARN: plainS3().RoleARN}
	for name, test := range map[string]struct {
		s3      *types.ExtendedS3DestinationUpdate
		message string
	}{
		"without settings": {&types.ExtendedS3DestinationUpdate{S3BackupMode: types.S3BackupModeEnabled}, "ExtendedS3DestinationUpdate.S3BackupMode: Enabled needs the settings of the backup"},
		"without a bucket": {backupUpdate(types.S3DestinationUpdate{RoleARN: whole.RoleARN}), "ExtendedS3DestinationUpdate.S3BackupUpdate: a backup needs BucketARN and RoleARN"},
		"without a role":   {backupUpdate(types.S3DestinationUpdate{BucketARN: whole.BucketARN}), "ExtendedS3DestinationUpdate.S3BackupUpdate: a backup needs BucketARN and RoleARN"},
		"without the mode": {&types.ExtendedS3DestinationUpdate{S3BackupUpdate: &whole}, "ExtendedS3DestinationUpdate.S3BackupUpdate: a backup needs S3BackupMode Enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, r.update("b", "1", test.s3), "InvalidArgumentException", test.message)
		})
	}
	wantNil(t, r.update("b", "1", &types.ExtendedS3DestinationUpdate{S3BackupMode: types.S3BackupModeDisabled}))
	before := time.Now()
	wantNil(t, r.update("b", "2", backupUpdate(whole)))
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "b"))
	since := d.Destination.BackupSince
	if since.Before(before) || since.After(time.Now()) || !since.Equal(d.Updated) || !d.Previous[1].Destination.BackupSince.IsZero() {
		t.Errorf("backed up since %v, updated %v", since, d.Updated)
	}
	wantNil(t, r.update("b", "3", &types.ExtendedS3DestinationUpdate{Prefix: aws.String("p/")}))
	wantNil(t, r.update("b", "4", backupUpdate(types.S3DestinationUpdate{Prefix: aws.String("q/")})))
	d = must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "b"))
	if !d.Destination.BackupSince.Equal(since) || *d.Destination.S3.S3BackupDescription.Prefix != "q/" || *d.Destination.S3.S3BackupDescription.BufferingHints.SizeInMBs != 5 {
		t.Errorf("backed up since %v: %+v", d.Destination.BackupSince, d.Destination.S3.S3BackupDescription)
	}
}

// TestChangeOfOneMadeAgain has a delivery stream deleted and made again while it is changed: the new one was not meant.
func TestChangeOfOneMadeAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.start(), s.start()
	one.create("c")
	meant := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "c"))
	one.delete("c")
	two.gone("c")
	two.create("c")
	stale := &api{cfg: testConfig(""), catalog: s.catalog()}
	err := stale.changeOf(t.Context(), meant, func(*catalog.DeliveryStream) error { t.Error("it is changed"); return nil })
	if err == nil || !strings.HasPrefix(err.Error(), "ResourceNotFoundException") {
		t.Error(err)
	}
}
