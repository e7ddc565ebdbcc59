package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/names"
)

func TestCreateAndDescribe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	before := time.Now().Add(-time.Second)
	out, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("My.stream-1_x"),
		S3DestinationConfiguration: &types.S3DestinationConfiguration{ //nolint:staticcheck // deprecated, and served
			BucketARN: aws.String("arn:aws:s3:::bucket"),
			RoleARN:   aws.String("arn:aws:iam::000000000000:role/r"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:firehose:us-east-1:000000000000:deliverystream/My.stream-1_x"
	if *out.DeliveryStreamARN != arn {
		t.Errorf("ARN %s", *out.DeliveryStreamARN)
	}
	d := must[*types.DeliveryStreamDescription](t)(r.describe("My.stream-1_x"))
	if d.CreateTimestamp.Before(before) || d.CreateTimestamp.After(time.Now()) {
		t.Errorf("created %v", d.CreateTimestamp)
	}
	const s3 = `"BucketARN":"arn:aws:s3:::bucket","BufferingHints":{"IntervalInSeconds":300,"SizeInMBs":5},` +
		`"CompressionFormat":"UNCOMPRESSED","EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"},` +
		`"RoleARN":"arn:aws:iam::000000000000:role/r","CloudWatchLoggingOptions":{"Enabled":false},"Prefix":""`
	want := `{"DeliveryStreamDescription":{"DeliveryStreamARN":"` + arn + `","DeliveryStreamName":"My.stream-1_x",` +
		`"DeliveryStreamStatus":"ACTIVE","DeliveryStreamType":"DirectPut","Destinations":[{` +
		`"DestinationId":"destinationId-000000000001",` +
		`"ExtendedS3DestinationDescription":{` + s3 + `,"S3BackupMode":"Disabled"},` +
		`"S3DestinationDescription":{` + s3 + `}}],` +
		`"HasMoreDestinations":false,"VersionId":"1","CreateTimestamp":TIME,` +
		`"DeliveryStreamEncryptionConfiguration":{"Status":"DISABLED"}}}`
	answer := r.raw("DescribeDeliveryStream", `{"DeliveryStreamName":"My.stream-1_x"}`)
	at := strings.Index(answer.Body, `"CreateTimestamp":`) + len(`"CreateTimestamp":`)
	number, _, _ := strings.Cut(answer.Body[at:], ",")
	if got := strings.Replace(answer.Body, number, "TIME", 1); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	logs := s.logs()
	if len(logs) != 1 || !strings.HasPrefix(logs[0], "RECORDS_My~stream-1_x_0_") {
		t.Errorf("logs %v", logs)
	}
}

func TestCreateKeepsWhatIsGiven(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	_, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("full"),
		DeliveryStreamType: types.DeliveryStreamTypeDirectPut,
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			BucketARN:                         aws.String("arn:aws:s3:::bucket"),
			RoleARN:                           aws.String("arn:aws:iam::000000000000:role/r"),
			Prefix:                            aws.String("logs/"),
			BufferingHints:                    &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(0)},
			CompressionFormat:                 types.CompressionFormatGzip,
			EncryptionConfiguration:           &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
			CloudWatchLoggingOptions:          &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true), LogGroupName: aws.String("g"), LogStreamName: aws.String("s")},
			S3BackupMode:                      types.S3BackupModeDisabled,
			CustomTimeZone:                    aws.String("UTC"),
			DataFormatConversionConfiguration: &types.DataFormatConversionConfiguration{Enabled: aws.Bool(false)},
			ProcessingConfiguration:           &types.ProcessingConfiguration{Enabled: aws.Bool(false), Processors: []types.Processor{}},
			DynamicPartitioningConfiguration:  &types.DynamicPartitioningConfiguration{Enabled: aws.Bool(false)},
			ErrorOutputPrefix:                 aws.String(""),
			FileExtension:                     aws.String(""),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := must[*types.DeliveryStreamDescription](t)(r.describe("full"))
	got, _ := json.Marshal(d.Destinations[0].ExtendedS3DestinationDescription)
	var members map[string]any
	_ = json.Unmarshal(got, &members)
	for name, want := range map[string]string{
		"Prefix":                            `"logs/"`,
		"BufferingHints":                    `{"IntervalInSeconds":0,"SizeInMBs":1}`,
		"CompressionFormat":                 `"GZIP"`,
		"CloudWatchLoggingOptions":          `{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"}`,
		"CustomTimeZone":                    `"UTC"`,
		"S3BackupMode":                      `"Disabled"`,
		"DataFormatConversionConfiguration": `{"Enabled":false,"InputFormatConfiguration":null,"OutputFormatConfiguration":null,"SchemaConfiguration":null}`,
		"ErrorOutputPrefix":                 `null`,
	} {
		if value, _ := json.Marshal(members[name]); string(value) != want {
			t.Errorf("%s is %s, want %s", name, value, want)
		}
	}
}

func TestResourceErrors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(func(s *Service) { s.cfg.MaxStreams = 2 })
	r.create("one")
	for name, test := range map[string]struct{ operation, body, code, message string }{
		"describe": {"DescribeDeliveryStream", `{"DeliveryStreamName":"no"}`, "ResourceNotFoundException", "Firehose no under account 000000000000 not found."},
		"delete":   {"DeleteDeliveryStream", `{"DeliveryStreamName":"no"}`, "ResourceNotFoundException", "Firehose no under account 000000000000 not found."},
		"update": {
			"UpdateDestination", `{"DeliveryStreamName":"no","CurrentDeliveryStreamVersionId":"1","DestinationId":"d","S3DestinationUpdate":{}}`,
			"ResourceNotFoundException", "Firehose no under accountId 000000000000 not found.",
		},
		"put":       {"PutRecord", `{"DeliveryStreamName":"no","Record":{"Data":"QQ=="}}`, "ResourceNotFoundException", "Firehose no not found under account 000000000000."},
		"put batch": {"PutRecordBatch", `{"DeliveryStreamName":"no","Records":[{"Data":"QQ=="}]}`, "ResourceNotFoundException", "Firehose no not found under account 000000000000."},
		"create": {
			"CreateDeliveryStream", `{"DeliveryStreamName":"one","S3DestinationConfiguration":{"BucketARN":"arn:aws:s3:::b","RoleARN":"arn:aws:iam::000000000000:role/r"}}`,
			"ResourceInUseException", "Firehose one under accountId 000000000000 already exists",
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := r.raw(test.operation, test.body)
			if answer.Status != 400 || answer.Type != test.code || answer.Message != test.message {
				t.Errorf("%d %s", answer.Status, answer.Body)
			}
		})
	}
	r.create("two")
	_, err := r.client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("three"), ExtendedS3DestinationConfiguration: plainS3(),
	})
	wantError(t, err, "LimitExceededException", "You have already consumed your firehose quota of 2 hoses. Firehose names: [one, two]")
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	var all []string
	for i := range 12 {
		all = append(all, fmt.Sprintf("s%02d", i))
	}
	all = append(all, "S.upper")
	for _, name := range all {
		r.create(name)
	}
	slices.Sort(all)
	for name, test := range map[string]struct {
		in   firehose.ListDeliveryStreamsInput
		want []string
		more bool
	}{
		"default limit":          {firehose.ListDeliveryStreamsInput{}, all[:10], true},
		"all":                    {firehose.ListDeliveryStreamsInput{Limit: aws.Int32(10000)}, all, false},
		"exactly all":            {firehose.ListDeliveryStreamsInput{Limit: aws.Int32(13)}, all, false},
		"after one that is":      {firehose.ListDeliveryStreamsInput{Limit: aws.Int32(2), ExclusiveStartDeliveryStreamName: aws.String("s01")}, []string{"s02", "s03"}, true},
		"after one that is not":  {firehose.ListDeliveryStreamsInput{ExclusiveStartDeliveryStreamName: aws.String("s09x")}, []string{"s10", "s11"}, false},
		"after the last":         {firehose.ListDeliveryStreamsInput{ExclusiveStartDeliveryStreamName: aws.String("s11")}, nil, false},
		"of direct puts":         {firehose.ListDeliveryStreamsInput{Limit: aws.Int32(1), DeliveryStreamType: types.DeliveryStreamTypeDirectPut}, all[:1], true},
		"of a type there is not": {firehose.ListDeliveryStreamsInput{DeliveryStreamType: types.DeliveryStreamTypeMSKAsSource}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			out := must[*firehose.ListDeliveryStreamsOutput](t)(r.client.ListDeliveryStreams(t.Context(), &test.in))
			if !slices.Equal(out.DeliveryStreamNames, test.want) || *out.HasMoreDeliveryStreams != test.more {
				t.Errorf("%v, more %v", out.DeliveryStreamNames, *out.HasMoreDeliveryStreams)
			}
		})
	}
	answer := r.raw("ListDeliveryStreams", `{"ExclusiveStartDeliveryStreamName":"z"}`)
	if answer.Body != `{"DeliveryStreamNames":[],"HasMoreDeliveryStreams":false}` {
		t.Error(answer.Body)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("u")
	update := func(version string, s3 *types.ExtendedS3DestinationUpdate) error {
		_, err := r.client.UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
			DeliveryStreamName: aws.String("u"), CurrentDeliveryStreamVersionId: &version,
			DestinationId: aws.String("destinationId-000000000001"), ExtendedS3DestinationUpdate: s3,
		})
		return err
	}
	for version, s3 := range []types.ExtendedS3DestinationUpdate{
		{Prefix: aws.String("p/"), CompressionFormat: types.CompressionFormatGzip},
		{BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(7), IntervalInSeconds: aws.Int32(60)}},
		{BucketARN: aws.String("arn:aws:s3:::other"), Prefix: aws.String("")},
	} {
		if err := update(fmt.Sprint(version+1), &s3); err != nil {
			t.Fatal(err)
		}
	}
	d := must[*types.DeliveryStreamDescription](t)(r.describe("u"))
	s3 := d.Destinations[0].ExtendedS3DestinationDescription
	if *d.VersionId != "4" || d.LastUpdateTimestamp == nil || *s3.BucketARN != "arn:aws:s3:::other" || *s3.Prefix != "" ||
		s3.CompressionFormat != types.CompressionFormatGzip || *s3.BufferingHints.SizeInMBs != 7 ||
		*s3.RoleARN != "arn:aws:iam::000000000000:role/r" {
		text, _ := json.Marshal(d)
		t.Errorf("%s", text)
	}
	stored, err := s.catalog().Read(t.Context(), "u")
	if err != nil || len(stored.Previous) != 3 || *stored.Previous[1].Destination.S3.Prefix != "p/" {
		t.Errorf("previous destinations %+v, %v", stored, err)
	}

	wantError(t, update("1", &types.ExtendedS3DestinationUpdate{}), "ConcurrentModificationException",
		"Cannot update firehose: u since the current version id: 4 and specified version id: 1 do not match")
	answer := r.raw("UpdateDestination", `{"DeliveryStreamName":"u","CurrentDeliveryStreamVersionId":"4","DestinationId":"other","S3DestinationUpdate":{}}`)
	if answer.Type != "InvalidArgumentException" || answer.Message != "Destination Id other not found" {
		t.Error(answer.Body)
	}
	answer = r.raw("UpdateDestination", `{"DeliveryStreamName":"u","CurrentDeliveryStreamVersionId":"4","DestinationId":"destinationId-000000000001","S3DestinationUpdate":{"Prefix":"q"}}`)
	if answer.Body != "{}" {
		t.Error(answer.Body)
	}
}

func TestDeleteRemovesEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(func(s *Service) { s.cfg.Shards = 3 })
	r.create("d.x")
	r.create("other")
	if n := len(s.logs()); n != 6 {
		t.Fatalf("%d logs", n)
	}
	d := must[*streamDocument](t)(s.catalog().Read(t.Context(), "d.x"))
	s.publishBatches("d.x", 3)
	s.publishBatches("other", 2)
	s.consumer(names.LegS3, "d.x", d.ID)
	s.announce("d.x", 3)
	s.announce("other", 2)
	s.loader("d.x", d.ID)

	answer := r.raw("DeleteDeliveryStream", `{"DeliveryStreamName":"d.x","AllowForceDelete":true}`)
	if answer.Status != 200 || answer.Body != "{}" {
		t.Fatal(answer.Body)
	}
	r.gone("d.x")
	if logs := s.logs(); len(logs) != 3 || !strings.HasPrefix(logs[0], "RECORDS_other_") {
		t.Errorf("logs left: %v", logs)
	}
	if left := s.batches("d.x"); left != 0 {
		t.Errorf("%d batches left", left)
	}
	if left := s.batches("other"); left != 2 {
		t.Errorf("%d batches of another delivery stream left", left)
	}
	if consumers := s.consumers(); len(consumers) != 0 {
		t.Errorf("consumers left: %v", consumers)
	}
	if loaders := s.loaders(); len(loaders) != 0 || s.staged("d.x") != 0 || s.staged("other") != 2 {
		t.Errorf("left: consumers %v, %d staged objects; %d of another delivery stream", loaders, s.staged("d.x"), s.staged("other"))
	}
	if _, err := r.put("d.x", "late"); !isCode(err, "ResourceNotFoundException") {
		t.Errorf("put after deletion: %v", err)
	}
	r.create("d.x")
	if _, err := r.put("d.x", "new"); err != nil {
		t.Error(err)
	}
	again := must[*streamDocument](t)(s.catalog().Read(t.Context(), "d.x"))
	s.loader("d.x", again.ID) // a work queue has one consumer for a subject
}
