package ingest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/go-json-experiment/json/jsontext"

	"hydrant/shared/catalog"
	"hydrant/shared/jdbcurl"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// TestUnreadable has bodies that cannot be read. The word SECRET stands for what a record may hold.
func TestUnreadable(t *testing.T) {
	for name, test := range map[string]struct{ operation, body string }{
		"nothing":                    {"PutRecord", ""},
		"not JSON":                   {"PutRecord", "SECRET"},
		"not an object":              {"PutRecord", `["SECRET"]`},
		"a string":                   {"PutRecordBatch", `"SECRET"`},
		"cut off":                    {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"SECRET`},
		"something after":            {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"QQ=="}} SECRET`},
		"two objects":                {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"QQ=="}}{"SECRET":1}`},
		"broken UTF-8":               {"PutRecord", "{\"DeliveryStreamName\":\"\xffSECRET\"}"},
		"data not base64":            {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"SECRET!!"}}`},
		"data without padding":       {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"QQ"}}`},
		"data of the URL's alphabet": {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"-_-_"}}`},
		"data with a line break":     {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"QQ\n=="}}`},
		"data after the padding":     {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"QQ==QQ=="}}`},
		"data a number":              {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":5}}`},
		"data an object":             {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[{"Data":{"SECRET":1}}]}`},
		"name a number":              {"PutRecord", `{"DeliveryStreamName":5,"Record":{"Data":"QQ=="}}`},
		"record a string":            {"PutRecord", `{"DeliveryStreamName":"s","Record":"SECRET"}`},
		"records an object":          {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":{"Data":"SECRET"}}`},
		"one of records a number":    {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[{"Data":"QQ=="},5]}`},
		"records cut off":            {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[{"Data":"QQ=="},`},
		"member name a number":       {"PutRecordBatch", `{5:1}`},
		"control: not JSON":          {"CreateDeliveryStream", `{"DeliveryStreamName":SECRET}`},
		"control: wrong type":        {"CreateDeliveryStream", `{"DeliveryStreamName":{"SECRET":1}}`},
		"control: number as text":    {"ListDeliveryStreams", `{"Limit":"SECRET"}`},
		"control: a fraction":        {"ListDeliveryStreams", `{"Limit":1.5}`},
		"control: out of range":      {"ListDeliveryStreams", `{"Limit":99999999999}`},
		"control: a list":            {"ListDeliveryStreams", `[]`},
		"control: time as text":      {"CreateDeliveryStream", `{"MSKSourceConfiguration":{"ReadFromTimestamp":"SECRET"}}`},
		"control: cut off":           {"CreateDeliveryStream", `{"DeliveryStreamName":"SECRET`},
		"control: nothing":           {"DeleteDeliveryStream", ""},
		"control: an enum a number":  {"ListDeliveryStreams", `{"DeliveryStreamType":5}`},
		"control: text for a list":   {"UntagDeliveryStream", `{"TagKeys":"SECRET"}`},
		"control: a number in one":   {"UntagDeliveryStream", `{"TagKeys":["SECRET",5]}`},
		"control: text for yes":      {"DeleteDeliveryStream", `{"AllowForceDelete":"SECRET"}`},
		"control: null":              {"DescribeDeliveryStream", " null "},
		"control: twice and cut off": {"DeleteDeliveryStream", `{"x":1,"x":"SECRET`},
		"control: twice and wrong":   {"DeleteDeliveryStream", `{"DeliveryStreamName":"s","DeliveryStreamName":["SECRET"]}`},
		"control: half a character":  {"DeleteDeliveryStream", `{"DeliveryStreamName":"\ud800SECRET"}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(test.operation, test.body)
			var failure *apiFailure
			if !errors.As(err, &failure) || failure.code != "SerializationException" || failure.status != 400 || failure.message == "" {
				t.Fatalf("got %v", err)
			}
			if strings.Contains(failure.message, "SECRET") {
				t.Errorf("the message shows contents: %s", failure.message)
			}
		})
	}
}

func TestNamesAreCaseSensitive(t *testing.T) {
	checkRefused(t, "PutRecord", `{"deliveryStreamName":"s","Record":{"data":"QQ=="}}`, "ValidationException",
		violationsOf("deliveryStreamName: not be null", "record.data: not be null"))
	checkRefused(t, "DescribeDeliveryStream", `{"deliverystreamname":"s"}`, "ValidationException",
		violationsOf("deliveryStreamName: not be null"))
}

func TestLastOfDuplicateMembersCounts(t *testing.T) {
	in := must[any](t)(parse("PutRecordBatch", `{"DeliveryStreamName":"a","Records":[{"Data":"QQ=="},{"Data":"QUI="}],`+
		`"Records":[{"Data":"QQ==","Data":"QUJD"}],"DeliveryStreamName":"b"}`)).(putInput)
	if *in.Stream != "b" || !slices.Equal(in.Lengths, []int{3}) || in.Count != 1 || string(in.Bytes) != "ABC" {
		t.Errorf("%+v", in)
	}
}

// TestLastOfDuplicateMembersCountsWhole has members given twice of which both say something: nothing may stay of the first,
// neither unchecked nor mixed with the last.
func TestLastOfDuplicateMembersCountsWhole(t *testing.T) {
	first := `"ExtendedS3DestinationConfiguration":{"BucketARN":"none","Prefix":"first/","FileExtension":".first"}`
	in := must[any](t)(parse("CreateDeliveryStream", strings.Replace(createWith(`"Prefix":"a","Prefix":"last/"`), `"Ext`, first+`,"Ext`, 1)))
	s3 := in.(*firehose.CreateDeliveryStreamInput).ExtendedS3DestinationConfiguration
	if *s3.Prefix != "last/" || s3.FileExtension != nil || *s3.BucketARN != "arn:aws:s3:::b" {
		t.Errorf("%+v", s3)
	}
	_, err := parse("CreateDeliveryStream", strings.Replace(createWith(""), `}}`, `},`+first+`}`, 1))
	if err == nil || !strings.Contains(err.Error(), "2 validation errors detected: ") {
		t.Errorf("got %v", err)
	}
}

func TestTimesAreSeconds(t *testing.T) {
	for want, at := range map[string]time.Time{
		`{"CreateTimestamp":1700000000}`:     time.Unix(1700000000, 999),
		`{"CreateTimestamp":1700000000.007}`: time.UnixMilli(1700000000007),
	} {
		got, err := encodeJSON(&types.DeliveryStreamDescription{CreateTimestamp: &at})
		if err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

// TestRecordsBeyondTheLimitAreNotKept checks that a hostile list costs no more memory than its text.
func TestRecordsBeyondTheLimitAreNotKept(t *testing.T) {
	t.Parallel()
	body := []byte(`{"DeliveryStreamName":"s","Records":[` + strings.Repeat("{},", 100_000) + `{}]}`)
	in, err := readPut(body, make([]byte, len(body)), make([]int, record.MaxBatchRecords), true)
	if err != nil || in.Count != 100_001 || len(in.Lengths) != 500 || cap(in.Lengths) > 1000 {
		t.Errorf("%d records, %d kept in %d, %v", in.Count, len(in.Lengths), cap(in.Lengths), err)
	}
}

// FuzzRequest reads and checks any body for any operation: it is taken, or refused with an error of the API that says where
// and not what; and what is taken is what was checked.
func FuzzRequest(f *testing.F) {
	names := []string{
		"PutRecord", "PutRecordBatch", "CreateDeliveryStream", "DescribeDeliveryStream", "ListDeliveryStreams", "UpdateDestination", "DeleteDeliveryStream",
		"TagDeliveryStream", "UntagDeliveryStream", "ListTagsForDeliveryStream", "StartDeliveryStreamEncryption", "StopDeliveryStreamEncryption",
	}
	for i, body := range []string{
		`{"DeliveryStreamName":"s","Record":{"Data":"QUJD"}}`,
		`{"DeliveryStreamName":"s","Records":[{"Data":"QUJD"},{"Data":""},null,{"Data":"\u0051Q=="}]}`,
		createWith(`"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":60},"Prefix":"a"`),
		`{"DeliveryStreamName":"s","Limit":1}`,
		`{"Limit":10}`,
		updateWith("ExtendedS3DestinationUpdate", `"CompressionFormat":"GZIP"`),
		`{"DeliveryStreamName":"s"}`,
		`{"DeliveryStreamName":"s","Tags":[{"Key":"k","Value":"SECRET"},{"Key":"SECRET","Key":null}]}`,
		`{"DeliveryStreamName":"s","TagKeys":["a",null,"SECRET!"]}`,
		`{"DeliveryStreamName":"s","ExclusiveStartTagKey":"aws:SECRET","Limit":51}`,
		`{"DeliveryStreamName":"s","DeliveryStreamEncryptionConfigurationInput":{"KeyType":"SECRET"}}`,
	} {
		f.Add(byte(i), body)
	}
	for _, members := range []string{
		`"S3BackupMode":"Enabled","S3BackupUpdate":{"BucketARN":"arn:aws:s3:::b","RoleARN":"arn:aws:iam::000000000000:role/r"}`,
		`"S3BackupUpdate":{"Prefix":"p","BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":0}}`,
	} {
		f.Add(byte(5), updateWith("ExtendedS3DestinationUpdate", members))
		f.Add(byte(2), createWith(strings.ReplaceAll(members, "Update", "Configuration")))
	}
	f.Add(byte(2), createRedshiftWith(`"S3BackupMode":"Enabled","S3BackupConfiguration":{`+someBucket+`,`+someRole+`}`))
	f.Add(byte(2), createRedshiftWith(`"ClusterJDBCURL":"jdbc:postgresql://SECRET:1/SECRET?password=SECRET","CopyCommand":{"DataTableName":"SECRET;"}`))
	f.Add(byte(5), updateWith("RedshiftDestinationUpdate", `"Password":"SECRET","CopyCommand":{"DataTableName":"t","CopyOptions":"GZIP"},"S3Update":{"CompressionFormat":"GZIP"}`))
	for _, end := range []string{
		`"RedshiftDestinationConfiguration":{"RoleARN":"SECRET","ClusterJDBCURL":"jdbc:SECRET","Username":"SECRET","Password":"SECRET\n"}`,
		`"HttpEndpointDestinationConfiguration":{"EndpointConfiguration":{"Url":"http://SECRET","AccessKey":"SECRET\n"}}`,
		`"SplunkDestinationConfiguration":{"HECEndpointType":"SECRET","HECToken":"SECRET\n"}`,
		`"ExtendedS3DestinationConfiguration":{"DataFormatConversionConfiguration":{"InputFormatConfiguration":{"Deserializer":{"OpenXJsonSerDe":{"ColumnToJsonKeyMappings":{"SECRET ":"SECRET","SECRET":null}}}}}}`,
		`"DatabaseSourceConfiguration":{"Endpoint":" ","Databases":{"Include":["SECRET\u0000"]}},"MSKSourceConfiguration":{"ReadFromTimestamp":1e9}`,
	} {
		f.Add(byte(2), `{"DeliveryStreamName":"s",`+end+`}`)
		f.Add(byte(2), `{"SECRET":[{"SECRET":0}],`+end+`,`+end+`}`)
	}
	f.Fuzz(func(t *testing.T, which byte, body string) {
		operation := names[int(which)%len(names)]
		in, err := parse(operation, body)
		if err != nil {
			checkFailure(t, err)
			return
		}
		if put, isPut := in.(putInput); isPut {
			checkPutInput(t, put, len(body))
			return
		}
		checkDestination(t, in)
		again := must[[]byte](t)(encodeJSON(in))
		if _, err := parse(operation, string(again)); err != nil {
			t.Fatalf("taken as %s, which is refused: %v", again, err)
		}
	})
}

func checkFailure(t *testing.T, err error) {
	t.Helper()
	var failure *apiFailure
	if !errors.As(err, &failure) || failure.status != 400 || failure.code == "" {
		t.Fatalf("not an error of the API: %v", err)
	}
	body := encodeError(failure)
	if !utf8.Valid(body) || !jsontext.Value(body).IsValid() {
		t.Fatalf("error %s", body)
	}
	// What is said about prefixes and time zones quotes them; nothing else is quoted.
	if bytes.Contains(body, []byte("SECRET")) && failure.code != codeInvalidArgument {
		t.Fatalf("error %s", body)
	}
}

// checkDestination checks that what is taken makes a destination that the other services can work with, from nothing or from
// one that is there.
func checkDestination(t *testing.T, in any) {
	t.Helper()
	now := time.Unix(1480000000, 0)
	plain := must[catalog.Destination](t)(settingsOf(plainS3(), "", nil).destination(now))
	backup := plain.S3.S3BackupMode
	var made []catalog.Destination
	switch in := in.(type) {
	case *firehose.CreateDeliveryStreamInput:
		made = append(made, must[catalog.Destination](t)(settingsOfCreate(in).destination(now)))
	case *firehose.UpdateDestinationInput:
		for _, before := range []catalog.Destination{plain, backedUp(t, now), searchable(t, now), loaded(t, now)} {
			to, err := settingsOfUpdate(in).applied(before, now)
			if err != nil {
				checkFailure(t, err)
				continue
			}
			made = append(made, to)
		}
	}
	for _, to := range made {
		checkLegs(t, &catalog.DeliveryStream{Created: now, Destination: to})
	}
	if plain.S3.S3BackupMode != backup || *plain.S3.Prefix != "" {
		t.Fatal("the destination that was there is changed")
	}
}

func checkLegs(t *testing.T, d *catalog.DeliveryStream) {
	t.Helper()
	to := d.Destination
	var backedUp bool
	switch {
	case to.Redshift != nil:
		backedUp = to.Redshift.Description.S3BackupMode == types.RedshiftS3BackupModeEnabled
		checkRedshift(t, to.Redshift)
	case to.Search != nil:
		backedUp = to.Search.Description.S3BackupMode == types.AmazonopensearchserviceS3BackupModeAllDocuments
	default:
		backedUp = to.S3.S3BackupMode == types.S3BackupModeEnabled
	}
	if legs := len(d.Legs()); (legs == 2) != backedUp || legs == 0 {
		t.Fatalf("%d legs, backup: %t", legs, backedUp)
	}
	for _, leg := range d.Legs() {
		s3 := to.S3Of(leg.Leg)
		if leg.Leg == names.LegES {
			s3 = to.ErrorsS3()
		}
		if *s3.BucketARN == "" || *s3.RoleARN == "" || s3.CompressionFormat == "" || leg.Bytes == 0 || leg.Since.IsZero() || s3.Prefix == nil {
			t.Fatalf("leg %s: %+v", leg.Leg, s3)
		}
	}
}

func checkRedshift(t *testing.T, to *catalog.RedshiftDestination) {
	t.Helper()
	d, format := to.Description, to.Description.S3DestinationDescription.CompressionFormat
	if format != types.CompressionFormatUncompressed && format != types.CompressionFormatGzip {
		t.Fatalf("staged as %s", format)
	}
	if _, err := jdbcurl.Parse(*d.ClusterJDBCURL); err != nil {
		t.Fatal(err)
	}
	if *d.Username == "" || len(to.Password.Plain()) < 6 || *d.CopyCommand.DataTableName == "" || *d.RetryOptions.DurationInSeconds > 7200 || d.CloudWatchLoggingOptions == nil {
		t.Fatalf("%+v", d)
	}
}

// searchable and loaded are destinations of the other types.
func searchable(t *testing.T, now time.Time) catalog.Destination {
	t.Helper()
	in := &firehose.CreateDeliveryStreamInput{AmazonopensearchserviceDestinationConfiguration: opensearch()}
	return must[catalog.Destination](t)(settingsOfCreate(in).destination(now))
}

func loaded(t *testing.T, now time.Time) catalog.Destination {
	t.Helper()
	in := &firehose.CreateDeliveryStreamInput{RedshiftDestinationConfiguration: redshift()}
	return must[catalog.Destination](t)(settingsOfCreate(in).destination(now))
}

// backedUp is the least that an S3 destination with a backup needs.
func backedUp(t *testing.T, now time.Time) catalog.Destination {
	t.Helper()
	s3 := plainS3()
	s3.S3BackupMode = types.S3BackupModeEnabled
	return must[catalog.Destination](t)(settingsOf(s3, "", settingsOf(plainS3(), "", nil)).destination(now))
}

func checkPutInput(t *testing.T, put putInput, size int) {
	t.Helper()
	total := 0
	for _, length := range put.Lengths {
		total += length
	}
	if !plainName(*put.Stream) || put.Count != len(put.Lengths) || put.Count > 500 || total > size || total != len(put.Bytes) {
		t.Fatalf("accepted: %+v", put)
	}
}
