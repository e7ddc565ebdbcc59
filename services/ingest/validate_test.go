package ingest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"hydrant/services/ingest/internal/model"
	"hydrant/shared/record"
)

// apiModel is loaded once: compiling its patterns takes some time.
var apiModel = sync.OnceValues(model.Load)

// parse reads and checks a request as its operation does, without serving it.
func parse(operation, body string) (any, error) {
	constraints, err := apiModel()
	if err != nil {
		return nil, err
	}
	op, known := (&api{model: constraints}).operations()[operation]
	if !known {
		return nil, unknownOperation()
	}
	lease := newMemory(64 << 20).lease()
	defer lease.close()
	buffer, err := lease.buffer(len(body))
	if err != nil {
		return nil, err
	}
	call := &request{name: operation, lease: lease, body: buffer[:copy(buffer, body)]}
	return op.parse(call)
}

func checkRefused(t *testing.T, operation, body, code, message string) {
	t.Helper()
	_, err := parse(operation, body)
	var failure *apiFailure
	if !errors.As(err, &failure) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if failure.code != code || failure.message != message || failure.status != 400 {
		t.Errorf("got  %d %s: %s\nwant %s: %s", failure.status, failure.code, failure.message, code, message)
	}
}

const (
	someBucket = `"BucketARN":"arn:aws:s3:::b"`
	someRole   = `"RoleARN":"arn:aws:iam::000000000000:role/r"`
)

func createWith(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"DeliveryStreamName":"s","ExtendedS3DestinationConfiguration":{` + someBucket + `,` + someRole + members + `}}`
}

func updateWith(shape, members string) string {
	return `{"DeliveryStreamName":"s","CurrentDeliveryStreamVersionId":"1","DestinationId":"d","` + shape + `":{` + members + `}}`
}

func violationsOf(texts ...string) string {
	noun := "errors"
	if len(texts) == 1 {
		noun = "error"
	}
	for i, text := range texts {
		path, constraint, _ := strings.Cut(text, ": ")
		texts[i] = "Value at '" + path + "' failed to satisfy constraint: Member must " + constraint
	}
	return fmt.Sprintf("%d validation %s detected: %s", len(texts), noun, strings.Join(texts, "; "))
}

func TestValidation(t *testing.T) {
	t.Parallel()
	const (
		create  = "CreateDeliveryStream"
		update  = "UpdateDestination"
		pattern = "satisfy regular expression pattern: "
		s3      = "extendedS3DestinationConfiguration."
	)
	for name, test := range map[string]struct {
		operation, body string
		want            []string
	}{
		"nothing at all":     {create, `{}`, []string{"deliveryStreamName: not be null"}},
		"null":               {create, `{"DeliveryStreamName":null}`, []string{"deliveryStreamName: not be null"}},
		"empty name":         {create, `{"DeliveryStreamName":""}`, []string{"deliveryStreamName: have length greater than or equal to 1", "deliveryStreamName: " + pattern + "[a-zA-Z0-9_.-]+"}},
		"long name":          {create, `{"DeliveryStreamName":"` + strings.Repeat("n", 65) + `"}`, []string{"deliveryStreamName: have length less than or equal to 64"}},
		"name pattern":       {create, `{"DeliveryStreamName":"a b"}`, []string{"deliveryStreamName: " + pattern + "[a-zA-Z0-9_.-]+"}},
		"name and line feed": {"DescribeDeliveryStream", `{"DeliveryStreamName":"ab\n"}`, []string{"deliveryStreamName: " + pattern + "[a-zA-Z0-9_.-]+"}},
		"stream type":        {create, `{"DeliveryStreamName":"s","DeliveryStreamType":"X"}`, []string{"deliveryStreamType: satisfy enum value set: [DirectPut, KinesisStreamAsSource, MSKAsSource, DatabaseAsSource]"}},
		"bucket and role missing": {
			create, `{"DeliveryStreamName":"s","S3DestinationConfiguration":{}}`,
			[]string{"s3DestinationConfiguration.roleARN: not be null", "s3DestinationConfiguration.bucketARN: not be null"},
		},
		"bucket and role wrong": {
			create, `{"DeliveryStreamName":"s","ExtendedS3DestinationConfiguration":{"BucketARN":"b","RoleARN":"r"}}`,
			[]string{s3 + "roleARN: " + pattern + `arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+`, s3 + "bucketARN: " + pattern + `arn:.*:s3:::[\w\.\-]{1,255}`},
		},
		"prefix":                  {create, createWith(`"Prefix":"` + strings.Repeat("é", 1025) + `"`), []string{s3 + "prefix: have length less than or equal to 1024"}},
		"hints too small":         {create, createWith(`"BufferingHints":{"SizeInMBs":0,"IntervalInSeconds":-1}`), []string{s3 + "bufferingHints.sizeInMBs: have value greater than or equal to 1", s3 + "bufferingHints.intervalInSeconds: have value greater than or equal to 0"}},
		"hints too large":         {create, createWith(`"BufferingHints":{"SizeInMBs":129,"IntervalInSeconds":901}`), []string{s3 + "bufferingHints.sizeInMBs: have value less than or equal to 128", s3 + "bufferingHints.intervalInSeconds: have value less than or equal to 900"}},
		"compression":             {create, createWith(`"CompressionFormat":"gzip"`), []string{s3 + "compressionFormat: satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]"}},
		"encryption":              {create, createWith(`"EncryptionConfiguration":{"NoEncryptionConfig":"Yes"}`), []string{s3 + "encryptionConfiguration.noEncryptionConfig: satisfy enum value set: [NoEncryption]"}},
		"backup mode":             {create, createWith(`"S3BackupMode":"On"`), []string{s3 + "s3BackupMode: satisfy enum value set: [Disabled, Enabled]"}},
		"log group":               {create, createWith(`"CloudWatchLoggingOptions":{"LogGroupName":"a:b"}`), []string{s3 + "cloudWatchLoggingOptions.logGroupName: " + pattern + `[\.\-_/#A-Za-z0-9]*`}},
		"update without":          {update, `{}`, []string{"deliveryStreamName: not be null", "currentDeliveryStreamVersionId: not be null", "destinationId: not be null"}},
		"update version":          {update, `{"DeliveryStreamName":"s","CurrentDeliveryStreamVersionId":"v1","DestinationId":"d_1"}`, []string{"currentDeliveryStreamVersionId: " + pattern + "[0-9]+", "destinationId: " + pattern + "[a-zA-Z0-9-]+"}},
		"update of a bucket":      {update, updateWith("S3DestinationUpdate", `"BucketARN":"b"`), []string{"s3DestinationUpdate.bucketARN: " + pattern + `arn:.*:s3:::[\w\.\-]{1,255}`}},
		"list":                    {"ListDeliveryStreams", `{"Limit":0,"ExclusiveStartDeliveryStreamName":""}`, []string{"limit: have value greater than or equal to 1", "exclusiveStartDeliveryStreamName: have length greater than or equal to 1", "exclusiveStartDeliveryStreamName: " + pattern + "[a-zA-Z0-9_.-]+"}},
		"list too many":           {"ListDeliveryStreams", `{"Limit":10001}`, []string{"limit: have value less than or equal to 10000"}},
		"describe":                {"DescribeDeliveryStream", `{"DeliveryStreamName":"s","Limit":10001}`, []string{"limit: have value less than or equal to 10000"}},
		"delete":                  {"DeleteDeliveryStream", `{}`, []string{"deliveryStreamName: not be null"}},
		"put nothing":             {"PutRecord", `{}`, []string{"deliveryStreamName: not be null", "record: not be null"}},
		"put null":                {"PutRecord", `{"DeliveryStreamName":"s","Record":null}`, []string{"record: not be null"}},
		"put without data":        {"PutRecord", `{"DeliveryStreamName":"s","Record":{}}`, []string{"record.data: not be null"}},
		"put null data":           {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"QQ==","Data":null}}`, []string{"record.data: not be null"}},
		"put too much":            {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"` + encoded(record.MaxRecordBytes+1) + `"}}`, []string{"record.data: have length less than or equal to 1024000"}},
		"put no records":          {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[]}`, []string{"records: have length greater than or equal to 1"}},
		"put missing records":     {"PutRecordBatch", `{"DeliveryStreamName":"s"}`, []string{"records: not be null"}},
		"put null records":        {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[{}],"Records":null}`, []string{"records: not be null"}},
		"put 501 records":         {"PutRecordBatch", batchOf(501, 0), []string{"records: have length less than or equal to 500"}},
		"put a null among others": {"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[{"Data":""},null,{"Data":null}]}`, []string{"records.2.member: not be null", "records.3.member.data: not be null"}},
		"put a large one of others": {
			"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[{"Data":"QQ=="},{"Data":"` + encoded(record.MaxRecordBytes+1) + `"}]}`,
			[]string{"records.2.member.data: have length less than or equal to 1024000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, test.operation, test.body, "ValidationException", violationsOf(test.want...))
		})
	}
}

// TestMessagesOfAWS has whole messages as the service was seen to answer.
func TestMessagesOfAWS(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ operation, body, message string }{
		"an enum": {
			"CreateDeliveryStream", createWith(`"CompressionFormat":"LZ4"`),
			"1 validation error detected: Value at 'extendedS3DestinationConfiguration.compressionFormat' failed to satisfy constraint: " +
				"Member must satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]",
		},
		"a tag": {
			"TagDeliveryStream", `{"DeliveryStreamName":"s","Tags":[{"Key":"foo!"}]}`,
			`1 validation error detected: Value at 'tags.1.member.key' failed to satisfy constraint: ` +
				`Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$`,
		},
		"several": {
			"UpdateDestination", `{"DeliveryStreamName":"s","DestinationId":"d","S3DestinationUpdate":{"Prefix":"` + strings.Repeat("p", 1025) + `"}}`,
			"2 validation errors detected: Value at 'currentDeliveryStreamVersionId' failed to satisfy constraint: Member must not be null; " +
				"Value at 's3DestinationUpdate.prefix' failed to satisfy constraint: Member must have length less than or equal to 1024",
		},
		"a record too large": {
			"PutRecordBatch", `{"DeliveryStreamName":"s","Records":[` + strings.Repeat(`{"Data":""},`, 96) + `{"Data":"` + encoded(record.MaxRecordBytes+1) + `"}]}`,
			"1 validation error detected: Value at 'records.97.member.data' failed to satisfy constraint: Member must have length less than or equal to 1024000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, test.operation, test.body, "ValidationException", test.message)
		})
	}
}

// TestPutsKeepTheModel compares what puts are checked for by hand with the model.
func TestPutsKeepTheModel(t *testing.T) {
	shapes := must[*model.Model](t)(apiModel()).Shapes
	for name, want := range map[string][3]any{
		"DeliveryStreamName":             {1, mostName, namePattern},
		"Data":                           {0, record.MaxRecordBytes, ""},
		"PutRecordBatchRequestEntryList": {1, record.MaxBatchRecords, ""},
	} {
		s := shapes[name]
		if got := [3]any{int(*s.Min), int(*s.Max), s.Pattern}; got != want {
			t.Errorf("%s: %v, by hand %v", name, got, want)
		}
	}
	for operation, s := range map[string]*model.Shape{"PutRecord": shapes["PutRecordInput"], "PutRecordBatch": shapes["PutRecordBatchInput"]} {
		for _, name := range []string{"", "a", "é", strings.Repeat("n", 64), strings.Repeat("n", 65), strings.Repeat("é", 64), "a b", `a\n`, "A.b_c-9"} {
			body := `{"DeliveryStreamName":"` + name + `","Record":{"Data":"QQ=="},"Records":[{"Data":"QQ=="}]}`
			var want violations
			s.Check([]byte(body), want.add)
			_, err := parse(operation, body)
			if fmt.Sprint(err) != fmt.Sprint(want.err()) {
				t.Errorf("%s of %q: %v, by the model %v", operation, name, err, want.err())
			}
		}
	}
}

func TestManyViolationsAreCounted(t *testing.T) {
	body := `{"DeliveryStreamName":"s","Records":[` + strings.Repeat("{},", 499) + `{}]}`
	_, err := parse("PutRecordBatch", body)
	var failure *apiFailure
	if !errors.As(err, &failure) || !strings.HasPrefix(failure.message, "500 validation errors detected: ") || len(failure.message) > 5000 {
		t.Error(err)
	}
}

func encoded(size int) string { return base64.StdEncoding.EncodeToString(make([]byte, size)) }

// batchOf is the body of a PutRecordBatch of n records.
func batchOf(n, size int) string {
	one := `{"Data":"` + encoded(size) + `"}`
	return `{"DeliveryStreamName":"s","Records":[` + strings.Repeat(one+",", n-1) + one + `]}`
}

func TestSizeOfABatch(t *testing.T) {
	t.Parallel()
	exact := batchOf(5, record.MaxBatchBytes/5)
	exact = strings.Replace(exact, `]}`, `,{"Data":"`+encoded(record.MaxBatchBytes%5)+`"}]}`, 1)
	if _, err := parse("PutRecordBatch", exact); err != nil {
		t.Errorf("4 MiB: %v", err)
	}
	larger := strings.Replace(exact, `]}`, `,{"Data":"QQ=="}]}`, 1)
	checkRefused(t, "PutRecordBatch", larger, "InvalidArgumentException", "Records size exceeds 4 MB limit")
	if _, err := parse("PutRecordBatch", batchOf(500, 1000)); err != nil {
		t.Errorf("500 records: %v", err)
	}
	if _, err := parse("PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":"`+encoded(record.MaxRecordBytes)+`"}}`); err != nil {
		t.Errorf("the largest record: %v", err)
	}
}

// TestNotBuiltYet has what is refused because of its value; TestCompatibilityHolds has what is refused as such.
func TestNotBuiltYet(t *testing.T) {
	const shape = "ExtendedS3DestinationConfiguration: "
	s3 := `"S3DestinationConfiguration":{` + someBucket + `,` + someRole + `}`
	type refused struct{ operation, body, what string }
	tests := map[string]refused{
		"kinesis": {
			"CreateDeliveryStream", `{"DeliveryStreamName":"s",` + s3 + `,"DeliveryStreamType":"KinesisStreamAsSource","KinesisStreamSourceConfiguration":` +
				sampleJSON(t, "KinesisStreamSourceConfiguration") + `}`,
			"DeliveryStreamType KinesisStreamAsSource",
		},
		"an update": {"UpdateDestination", updateWith("ExtendedS3DestinationUpdate", `"ProcessingConfiguration":{"Enabled":true}`), "ExtendedS3DestinationUpdate: ProcessingConfiguration"},
	}
	for members, what := range map[string]string{
		`"DataFormatConversionConfiguration":{}`:                                             "DataFormatConversionConfiguration",
		`"DataFormatConversionConfiguration":{"Enabled":null,"SchemaConfiguration":{}}`:      "DataFormatConversionConfiguration",
		`"ProcessingConfiguration":{"Processors":[{"Type":"Lambda"}]}`:                       "ProcessingConfiguration",
		`"DynamicPartitioningConfiguration":{"Enabled":true,"Enabled":false,"Enabled":true}`: "DynamicPartitioningConfiguration",
	} {
		tests[members] = refused{"CreateDeliveryStream", createWith(members), shape + what}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, test.operation, test.body, "InvalidArgumentException", test.what+" is not built yet")
		})
	}
}

func TestInvalidArguments(t *testing.T) {
	const prefixes = "Ths supplied prefix(es) do not satisfy the following constraint: "
	s3 := `"S3DestinationConfiguration":{` + someBucket + `,` + someRole + `}`
	for name, test := range map[string]struct{ operation, body, message string }{
		"errors without a place":    {"CreateDeliveryStream", createWith(`"Prefix":"!{timestamp:yyyy}/"`), prefixes + "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"},
		"errors of no type":         {"CreateDeliveryStream", createWith(`"ErrorOutputPrefix":"!{timestamp:yyyy}/"`), prefixes + "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}"},
		"a backup's prefix":         {"CreateDeliveryStream", createWith(`"S3BackupMode":"Enabled","S3BackupConfiguration":{` + someBucket + `,` + someRole + `,"Prefix":"!{firehose:error-output-type}","ErrorOutputPrefix":"!{firehose:error-output-type}"}`), prefixes + "Prefix must not contain any occurrence of !{firehose:error-output-type}"},
		"an unknown zone":           {"CreateDeliveryStream", createWith(`"CustomTimeZone":"Europe/Atlantis"`), `CustomTimeZone "Europe/Atlantis" is not a known time zone: give a name of the IANA time zone database, such as Asia/Tokyo or UTC`},
		"no destination":            {"CreateDeliveryStream", `{"DeliveryStreamName":"s"}`, oneDestination},
		"two":                       {"CreateDeliveryStream", `{"DeliveryStreamName":"s",` + s3 + `,"Extended` + s3[1:] + `}`, oneDestination},
		"two, one of them late":     {"CreateDeliveryStream", `{"DeliveryStreamName":"s",` + s3 + `,"RedshiftDestinationConfiguration":` + sampleJSON(t, "RedshiftDestinationConfiguration") + `}`, oneDestination},
		"no update":                 {"UpdateDestination", `{"DeliveryStreamName":"s","CurrentDeliveryStreamVersionId":"1","DestinationId":"d"}`, oneDestination},
		"half a hint":               {"CreateDeliveryStream", createWith(`"BufferingHints":{"SizeInMBs":5}`), "ExtendedS3DestinationConfiguration.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"the other half":            {"UpdateDestination", updateWith("S3DestinationUpdate", `"BufferingHints":{"IntervalInSeconds":5}`), "S3DestinationUpdate.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"two kinds of encryption":   {"CreateDeliveryStream", createWith(`"EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption","KMSEncryptionConfig":` + sampleJSON(t, "KMSEncryptionConfig") + `}`), "ExtendedS3DestinationConfiguration.EncryptionConfiguration: give either NoEncryptionConfig or KMSEncryptionConfig"},
		"a backup without settings": {"CreateDeliveryStream", createWith(`"S3BackupMode":"Enabled"`), "ExtendedS3DestinationConfiguration.S3BackupMode: Enabled needs the settings of the backup"},
		"a backup that is not on":   {"CreateDeliveryStream", createWith(`"S3BackupConfiguration":` + sampleJSON(t, "S3DestinationConfiguration")), "ExtendedS3DestinationConfiguration.S3BackupConfiguration: a backup needs S3BackupMode Enabled"},
		"half a hint of a backup":   {"CreateDeliveryStream", createWith(`"S3BackupMode":"Enabled","S3BackupConfiguration":{` + someBucket + `,` + someRole + `,"BufferingHints":{"SizeInMBs":1}}`), "ExtendedS3DestinationConfiguration.S3BackupConfiguration.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"a tag twice":               {"TagDeliveryStream", `{"DeliveryStreamName":"s","Tags":[{"Key":"k"},{"Key":"l"},{"Key":"k","Value":"v"}]}`, "Tags: a key is given more than once"},
		"a tag twice at creation":   {"CreateDeliveryStream", `{"DeliveryStreamName":"s","Tags":[{"Key":"k"},{"Key":"k"}],` + s3 + `}`, "Tags: a key is given more than once"},
		"to http":                   {"UpdateDestination", updateWith("HttpEndpointDestinationUpdate", ""), "Changing the destination type to or from HttpEndpoint is not supported at this time."},
		"kinesis, direct":           {"CreateDeliveryStream", `{"DeliveryStreamName":"s",` + s3 + `,"KinesisStreamSourceConfiguration":` + sampleJSON(t, "KinesisStreamSourceConfiguration") + `}`, "KinesisSourceStreamConfig is only applicable for KinesisStreamAsSource stream type"},
	} {
		t.Run(name, func(t *testing.T) {
			checkRefused(t, test.operation, test.body, "InvalidArgumentException", test.message)
		})
	}
}

func TestAccepted(t *testing.T) {
	for name, test := range map[string]struct{ operation, body string }{
		"neutral values": {"CreateDeliveryStream", createWith(`"BufferingHints":{},"S3BackupMode":"Disabled","CustomTimeZone":"","FileExtension":"","EncryptionConfiguration":{},` +
			`"DataFormatConversionConfiguration":{"Enabled":false,"SchemaConfiguration":{}},"ProcessingConfiguration":{},"CloudWatchLoggingOptions":{},` +
			`"DynamicPartitioningConfiguration":{"Enabled":false,"RetryOptions":{"DurationInSeconds":300}}`)},
		"unknown members": {"CreateDeliveryStream", createWith(`"New":{"x":[1,null,{}]}`)},
		"2016":            {"CreateDeliveryStream", `{"DeliveryStreamName":"s","S3DestinationConfiguration":{` + someBucket + `,` + someRole + `,"BufferingHints":{"SizeInMBs":5,"IntervalInSeconds":60}}}`},
		"processors, off": {"CreateDeliveryStream", createWith(`"ProcessingConfiguration":{"Enabled":false,"Processors":[{"Type":"Lambda"}]}`)},
		"empty update":    {"UpdateDestination", updateWith("S3DestinationUpdate", "")},
		"extremes":        {"CreateDeliveryStream", createWith(`"BufferingHints":{"SizeInMBs":128,"IntervalInSeconds":0}`)},
		"china":           {"CreateDeliveryStream", `{"DeliveryStreamName":"s","S3DestinationConfiguration":{"BucketARN":"arn:aws-cn:s3:::b","RoleARN":"arn:aws-cn:iam::123456789012:role/path/r"}}`},
		"longest name":    {"DescribeDeliveryStream", `{"DeliveryStreamName":"` + strings.Repeat("n", 64) + `"}`},
		"an empty record": {"PutRecord", `{"DeliveryStreamName":"s","Record":{"Data":""}}`},
		"escapes":         {"PutRecord", `{"Delivery\u0053treamName":"s","Record":{"Data":"\u0051Q\u003d="}}`},
		"strangers":       {"PutRecordBatch", `{"x":{"Data":1},"Records":[{"y":[],"Data":"QQ=="}],"DeliveryStreamName":"s"}`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(test.operation, test.body); err != nil {
				t.Error(err)
			}
		})
	}
}
