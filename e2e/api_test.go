package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hydrant/e2e/internal/clients"
	"hydrant/e2e/internal/deploy"
)

// call is one call of the API, and what is to come of it. NAME stands for the client's own delivery stream.
type call struct {
	name      string
	operation string
	input     string
	// want is JSON that the answer contains: objects may have more members, lists have these elements, and the string
	// "…" stands for anything that is there.
	want string
	// code is the error that is to come instead, and message what it says; "" stands for no message.
	code, message string
}

// wholeAPI is every operation of the API, in an order that a delivery stream's life has.
func wholeAPI() []call {
	return slices.Concat(creating(), describing(), putting(), tagging(), updating(), searching(), deleting())
}

func creating() []call {
	return []call{{
		name: "create with every setting of S3", operation: "CreateDeliveryStream",
		input: `{"DeliveryStreamName":"NAME","DeliveryStreamType":"DirectPut","Tags":[{"Key":"team","Value":"data"},{"Key":"flag"}],
			"ExtendedS3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::bucket-NAME",
			"Prefix":"in/!{timestamp:yyyy}/","ErrorOutputPrefix":"wrong/!{firehose:error-output-type}/","FileExtension":".txt.gz","CustomTimeZone":"Europe/Berlin",
			"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":1},"CompressionFormat":"GZIP","EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"},
			"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},
			"S3BackupMode":"Enabled","S3BackupConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::bucket-NAME","Prefix":"copy/",
			"BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":1}}}}`,
		want: `{"DeliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/NAME"}`,
	}, {
		name: "create in the shape of 2016", operation: "CreateDeliveryStream",
		input: `{"DeliveryStreamName":"NAME.old","S3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::bucket-NAME"}}`,
		want:  `{"DeliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/NAME.old"}`,
	}, {
		name: "create what exists", operation: "CreateDeliveryStream",
		input: `{"DeliveryStreamName":"NAME","S3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::b"}}`,
		code:  "ResourceInUseException", message: "Firehose NAME under accountId 000000000000 already exists",
	}, {
		name: "create with several mistakes", operation: "CreateDeliveryStream",
		input: `{"DeliveryStreamName":"no spaces","ExtendedS3DestinationConfiguration":{"RoleARN":"role","BucketARN":"arn:aws:s3:::b","CompressionFormat":"LZ4"}}`,
		code:  "ValidationException",
		message: "3 validation errors detected: Value at 'deliveryStreamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; " +
			`Value at 'extendedS3DestinationConfiguration.roleARN' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:.*:iam::\d{12}:role/[a-zA-Z_0-9+=,.@\-_/]+; ` +
			"Value at 'extendedS3DestinationConfiguration.compressionFormat' failed to satisfy constraint: Member must satisfy enum value set: [ZIP, HADOOP_SNAPPY, Snappy, GZIP, UNCOMPRESSED]",
	}, {
		name: "create without a destination", operation: "CreateDeliveryStream",
		input: `{"DeliveryStreamName":"NAME.none"}`,
		code:  "InvalidArgumentException", message: "Exactly one destination configuration is supported for a Firehose",
	}, {
		name: "create with a prefix whose errors have no place", operation: "CreateDeliveryStream",
		input:   `{"DeliveryStreamName":"NAME.none","ExtendedS3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::b","Prefix":"!{timestamp:yyyy}/"}}`,
		code:    "InvalidArgumentException",
		message: "Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when Prefix contains expressions",
	}, {
		name: "start encryption", operation: "StartDeliveryStreamEncryption",
		input: `{"DeliveryStreamName":"NAME"}`, code: "InvalidArgumentException", message: "StartDeliveryStreamEncryption is not built yet",
	}, {
		name: "stop encryption", operation: "StopDeliveryStreamEncryption",
		input: `{"DeliveryStreamName":"NAME"}`, code: "InvalidArgumentException", message: "StopDeliveryStreamEncryption is not built yet",
	}}
}

func describing() []call {
	return []call{{
		name: "describe", operation: "DescribeDeliveryStream", input: `{"DeliveryStreamName":"NAME"}`,
		want: `{"DeliveryStreamDescription":{"DeliveryStreamName":"NAME","DeliveryStreamStatus":"ACTIVE","DeliveryStreamType":"DirectPut","VersionId":"1","CreateTimestamp":"…",
			"HasMoreDestinations":false,"DeliveryStreamEncryptionConfiguration":{"Status":"DISABLED"},"Destinations":[{"DestinationId":"destinationId-000000000001",
			"S3DestinationDescription":{"BucketARN":"arn:aws:s3:::bucket-NAME","Prefix":"in/!{timestamp:yyyy}/","CompressionFormat":"GZIP"},
			"ExtendedS3DestinationDescription":{"BucketARN":"arn:aws:s3:::bucket-NAME","FileExtension":".txt.gz","CustomTimeZone":"Europe/Berlin","S3BackupMode":"Enabled",
			"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},
			"S3BackupDescription":{"Prefix":"copy/","CompressionFormat":"UNCOMPRESSED","EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"},"CloudWatchLoggingOptions":{"Enabled":false}}}}]}}`,
	}, {
		name: "describe what has every default", operation: "DescribeDeliveryStream", input: `{"DeliveryStreamName":"NAME.old"}`,
		want: `{"DeliveryStreamDescription":{"VersionId":"1","Destinations":[{"S3DestinationDescription":{"BufferingHints":{"SizeInMBs":5,"IntervalInSeconds":300}},
			"ExtendedS3DestinationDescription":{"BufferingHints":{"SizeInMBs":5,"IntervalInSeconds":300},"CompressionFormat":"UNCOMPRESSED","S3BackupMode":"Disabled",
			"EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"},"CloudWatchLoggingOptions":{"Enabled":false}}}]}}`,
	}, {
		name: "describe what does not exist", operation: "DescribeDeliveryStream", input: `{"DeliveryStreamName":"NAME.none"}`,
		code: "ResourceNotFoundException", message: "Firehose NAME.none under account 000000000000 not found.",
	}, {
		name: "list the first", operation: "ListDeliveryStreams", input: `{"ExclusiveStartDeliveryStreamName":"NAM","Limit":1}`,
		want: `{"DeliveryStreamNames":["NAME"],"HasMoreDeliveryStreams":true}`,
	}, {
		name: "list what follows", operation: "ListDeliveryStreams", input: `{"ExclusiveStartDeliveryStreamName":"NAME","Limit":1,"DeliveryStreamType":"DirectPut"}`,
		want: `{"DeliveryStreamNames":["NAME.old"]}`,
	}, {
		name: "list with a limit that is too high", operation: "ListDeliveryStreams", input: `{"Limit":10001}`,
		code: "ValidationException", message: "1 validation error detected: Value at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000",
	}}
}

func putting() []call {
	return []call{{
		name: "put a record", operation: "PutRecord", input: `{"DeliveryStreamName":"NAME","Record":{"Data":"b25lCg=="}}`,
		want: `{"RecordId":"…","Encrypted":false}`,
	}, {
		name: "put a batch", operation: "PutRecordBatch",
		input: `{"DeliveryStreamName":"NAME","Records":[{"Data":"dHdvCg=="},{"Data":"dGhyZWUK"}]}`,
		want:  `{"FailedPutCount":0,"Encrypted":false,"RequestResponses":[{"RecordId":"…"},{"RecordId":"…"}]}`,
	}, {
		name: "put to what does not exist", operation: "PutRecord", input: `{"DeliveryStreamName":"NAME.none","Record":{"Data":"b25lCg=="}}`,
		code: "ResourceNotFoundException", message: "Firehose NAME.none not found under account 000000000000.",
	}, {
		name: "put a batch to what does not exist", operation: "PutRecordBatch", input: `{"DeliveryStreamName":"NAME.none","Records":[{"Data":"b25lCg=="}]}`,
		code: "ResourceNotFoundException", message: "Firehose NAME.none not found under account 000000000000.",
	}, {
		name: "put more records than a batch may have", operation: "PutRecordBatch",
		input: `{"DeliveryStreamName":"NAME","Records":[` + strings.Repeat(`{"Data":"YQ=="},`, 500) + `{"Data":"YQ=="}]}`,
		code:  "ValidationException", message: "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length less than or equal to 500",
	}}
}

func tagging() []call {
	return []call{{
		name: "list the tags of the creation", operation: "ListTagsForDeliveryStream", input: `{"DeliveryStreamName":"NAME"}`,
		want: `{"Tags":[{"Key":"team","Value":"data"},{"Key":"flag"}],"HasMoreTags":false}`,
	}, {
		name: "tag", operation: "TagDeliveryStream", input: `{"DeliveryStreamName":"NAME","Tags":[{"Key":"team","Value":"core"},{"Key":"cost","Value":"7"}]}`, want: `{}`,
	}, {
		name: "list tags, a page", operation: "ListTagsForDeliveryStream", input: `{"DeliveryStreamName":"NAME","Limit":1,"ExclusiveStartTagKey":"team"}`,
		want: `{"Tags":[{"Key":"flag"}],"HasMoreTags":true}`,
	}, {
		name: "untag", operation: "UntagDeliveryStream", input: `{"DeliveryStreamName":"NAME","TagKeys":["flag","unknown"]}`, want: `{}`,
	}, {
		name: "list the tags that are left", operation: "ListTagsForDeliveryStream", input: `{"DeliveryStreamName":"NAME"}`,
		want: `{"Tags":[{"Key":"team","Value":"core"},{"Key":"cost","Value":"7"}],"HasMoreTags":false}`,
	}, {
		name: "a tag that only AWS may set", operation: "TagDeliveryStream", input: `{"DeliveryStreamName":"NAME","Tags":[{"Key":"aws:x"}]}`, code: "ValidationException",
		message: `1 validation error detected: Value at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$`,
	}, {
		name: "tag what does not exist", operation: "TagDeliveryStream", input: `{"DeliveryStreamName":"NAME.none","Tags":[{"Key":"x"}]}`,
		code: "ResourceNotFoundException", message: "Firehose NAME.none under account 000000000000 not found.",
	}}
}

func updating() []call {
	const update = `"CurrentDeliveryStreamVersionId":"1","DestinationId":"destinationId-000000000001"`
	return []call{{
		name: "update", operation: "UpdateDestination", want: `{}`,
		input: `{"DeliveryStreamName":"NAME",` + update + `,"ExtendedS3DestinationUpdate":{"CompressionFormat":"Snappy","S3BackupUpdate":{"Prefix":"copies/"}}}`,
	}, {
		name: "describe the update", operation: "DescribeDeliveryStream", input: `{"DeliveryStreamName":"NAME"}`,
		want: `{"DeliveryStreamDescription":{"VersionId":"2","LastUpdateTimestamp":"…","Destinations":[{"ExtendedS3DestinationDescription":{
			"CompressionFormat":"Snappy","Prefix":"in/!{timestamp:yyyy}/","S3BackupDescription":{"Prefix":"copies/","BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":1}}}}]}}`,
	}, {
		name: "update an old version", operation: "UpdateDestination", code: "ConcurrentModificationException",
		input:   `{"DeliveryStreamName":"NAME",` + update + `,"S3DestinationUpdate":{"Prefix":"x"}}`,
		message: "Cannot update firehose: NAME since the current version id: 2 and specified version id: 1 do not match",
	}, {
		name: "update another destination", operation: "UpdateDestination", code: "InvalidArgumentException", message: "Destination Id other not found",
		input: `{"DeliveryStreamName":"NAME.old","CurrentDeliveryStreamVersionId":"1","DestinationId":"other","S3DestinationUpdate":{"Prefix":"x"}}`,
	}, {
		name: "update what does not exist", operation: "UpdateDestination", code: "ResourceNotFoundException",
		input:   `{"DeliveryStreamName":"NAME.none",` + update + `,"S3DestinationUpdate":{"Prefix":"x"}}`,
		message: "Firehose NAME.none under accountId 000000000000 not found.",
	}}
}

func deleting() []call {
	return []call{
		{name: "delete", operation: "DeleteDeliveryStream", input: `{"DeliveryStreamName":"NAME.old"}`, want: `{}`},
		{
			name: "delete what does not exist", operation: "DeleteDeliveryStream", input: `{"DeliveryStreamName":"NAME.none"}`,
			code: "ResourceNotFoundException", message: "Firehose NAME.none under account 000000000000 not found.",
		},
	}
}

// TestWholeAPI has every client make every call, and reads what the calls delivered.
func TestWholeAPI(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		all := clients.All(t, d.API)
		for i, client := range slices.Sorted(maps.Keys(all)) {
			name := fmt.Sprintf("client%d", i+1)
			makeBucket(t, d, "bucket-"+name)
			for _, c := range wholeAPI() {
				c.check(t, client, all[client], name)
			}
			const want = "one\ntwo\nthree\n"
			if got := body(t, d, "bucket-"+name, "in/", len(want)); got != want {
				t.Errorf("%s: delivered %q, want %q", client, got, want)
			}
			if got := body(t, d, "bucket-"+name, "cop", len(want)); got != want {
				t.Errorf("%s: backed up %q, want %q", client, got, want)
			}
		}
	})
}

func (c call) check(t *testing.T, client string, with clients.Client, name string) {
	t.Helper()
	filled := func(s string) string {
		s = strings.ReplaceAll(s, "NAME", name)
		return strings.ReplaceAll(s, `"NAM"`, `"`+name[:len(name)-1]+string(name[len(name)-1]-1)+`zzz"`) // a name right before it
	}
	got, err := with.Call(t.Context(), c.operation, json.RawMessage(filled(c.input)))
	var refused *clients.Error
	switch {
	case c.code != "" && !errors.As(err, &refused):
		t.Errorf("%s: %s: answered %s %v, want %s", client, c.name, got, err, c.code)
	case c.code != "":
		if refused.Code != c.code || refused.Message != filled(c.message) || refused.Status != 0 && refused.Status != 400 {
			t.Errorf("%s: %s: refused with %d %s\nwant %s: %s", client, c.name, refused.Status, refused, c.code, filled(c.message))
		}
	case err != nil:
		t.Errorf("%s: %s: %v", client, c.name, err)
	default:
		if missing := contains("", parse(t, []byte(filled(c.want))), parse(t, got)); missing != "" {
			t.Errorf("%s: %s: %s in\n%s", client, c.name, missing, got)
		}
	}
}

func parse(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return v
}

// contains says what of want is not in got; "" where all of it is. Go's SDK prints members that are not set as null.
func contains(path string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		object, _ := got.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if missing := contains(path+"."+name, want[name], object[name]); missing != "" {
				return missing
			}
		}
		return ""
	case []any:
		list, _ := got.([]any)
		if len(list) != len(want) {
			return fmt.Sprintf("%s has %d elements, want %d", path, len(list), len(want))
		}
		for i := range want {
			if missing := contains(fmt.Sprintf("%s[%d]", path, i), want[i], list[i]); missing != "" {
				return missing
			}
		}
		return ""
	case string:
		if want == "…" && got != nil {
			return ""
		}
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Sprintf("%s is %v, want %v", path, got, want)
	}
	return ""
}

// TestContainsFinds tests the comparison that the others lean on.
func TestContainsFinds(t *testing.T) {
	for _, c := range []struct {
		name, want, got string
		missing         bool
	}{
		{"more members", `{"a":1}`, `{"a":1,"b":2}`, false},
		{"anything", `{"a":"…"}`, `{"a":[]}`, false},
		{"nothing", `{"a":"…"}`, `{"a":null}`, true},
		{"another value", `{"a":{"b":1}}`, `{"a":{"b":2}}`, true},
		{"another type", `{"a":{"b":1}}`, `{"a":"b"}`, true},
		{"a longer list", `{"a":[1]}`, `{"a":[1,2]}`, true},
		{"another element", `[{"a":1}]`, `[{"a":2}]`, true},
	} {
		if missing := contains("", parse(t, []byte(c.want)), parse(t, []byte(c.got))); (missing != "") != c.missing {
			t.Errorf("%s: %q", c.name, missing)
		}
	}
	if !regexp.MustCompile(`^\.a\.b is 2, want 1$`).MatchString(contains("", parse(t, []byte(`{"a":{"b":1}}`)), parse(t, []byte(`{"a":{"b":2}}`)))) {
		t.Error("the message does not name the place")
	}
}
