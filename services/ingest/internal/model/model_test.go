package model

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"
)

func load(t testing.TB) *Model {
	t.Helper()
	m, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// sdkInputs are the input structs of the SDK's operations.
func sdkInputs() map[string]reflect.Type {
	inputs := map[string]reflect.Type{}
	client := reflect.TypeFor[*firehose.Client]()
	for method := range client.Methods() {
		if f := method.Type; f.NumIn() > 2 && f.In(2) == reflect.PointerTo(f.In(2).Elem()) && f.In(2).Elem().Name() == method.Name+"Input" {
			inputs[method.Name] = f.In(2).Elem()
		}
	}
	return inputs
}

// TestAgreesWithTheSDK compares the table with what the SDK was generated from: operations, members, types and enums.
func TestAgreesWithTheSDK(t *testing.T) {
	m, inputs := load(t), sdkInputs()
	if len(inputs) != 12 {
		t.Fatalf("found %d operations in the SDK", len(inputs))
	}
	if got, want := slices.Sorted(maps.Keys(m.Inputs)), slices.Sorted(maps.Keys(inputs)); !slices.Equal(got, want) {
		t.Fatalf("operations %v\nof the SDK %v", got, want)
	}
	seen := map[string]bool{}
	for operation, input := range inputs {
		compare(t, operation, m.Inputs[operation], input, seen)
	}
	for name := range m.Shapes {
		if !seen[name] {
			t.Errorf("shape %s is part of no input", name)
		}
	}
}

func compare(t *testing.T, path string, s *Shape, sdk reflect.Type, seen map[string]bool) {
	t.Helper()
	if seen[s.Name] {
		return
	}
	seen[s.Name] = true
	for sdk.Kind() == reflect.Pointer {
		sdk = sdk.Elem()
	}
	if got := typeOf(sdk); got != s.Type {
		t.Errorf("%s is a %s, in the SDK a %s", path, s.Type, got)
		return
	}
	switch s.Type {
	case Structure:
		compareMembers(t, path, s, sdk, seen)
	case List:
		compare(t, path+"[]", s.Element, sdk.Elem(), seen)
	case Map:
		compare(t, path+"{key}", s.Key, sdk.Key(), seen)
		compare(t, path+"{}", s.Element, sdk.Elem(), seen)
	case String:
		if got, want := slices.Sorted(slices.Values(s.Enum)), sdkEnum(sdk); !slices.Equal(got, want) {
			t.Errorf("%s has the values %v, in the SDK %v", path, got, want)
		}
	default:
	}
}

func compareMembers(t *testing.T, path string, s *Shape, sdk reflect.Type, seen map[string]bool) {
	t.Helper()
	want := map[string]bool{}
	for field := range sdk.Fields() {
		want[field.Name] = field.IsExported()
	}
	for _, m := range s.Members {
		field, found := sdk.FieldByName(m.Name)
		if !found || !want[m.Name] {
			t.Errorf("%s.%s is not in the SDK", path, m.Name)
			continue
		}
		delete(want, m.Name)
		compare(t, path+"."+m.Name, m.Shape, field.Type, seen)
	}
	for name, exported := range want {
		if exported {
			t.Errorf("%s.%s of the SDK is not in the table", path, name)
		}
	}
}

func typeOf(sdk reflect.Type) Type {
	switch {
	case sdk == reflect.TypeFor[time.Time]():
		return Timestamp
	case sdk == reflect.TypeFor[[]byte]():
		return Blob
	}
	return map[reflect.Kind]Type{
		reflect.Struct: Structure, reflect.Slice: List, reflect.Map: Map, reflect.String: String,
		reflect.Int32: Integer, reflect.Float64: Double, reflect.Bool: Boolean,
	}[sdk.Kind()]
}

func sdkEnum(sdk reflect.Type) []string {
	values := reflect.Zero(sdk).MethodByName("Values")
	if !values.IsValid() {
		return nil
	}
	var enum []string
	list := values.Call(nil)[0]
	for i := range list.Len() {
		enum = append(enum, list.Index(i).String())
	}
	slices.Sort(enum)
	return enum
}

// TestPatterns shows that each pattern of the model is matched: as it is, or, where package regexp does not have it, in the way
// that the examples show. Those that Hydrant relaxes have examples too, and are what a caller is told.
func TestPatterns(t *testing.T) {
	type examples struct{ accepted, refused []string }
	something := examples{accepted: []string{"a", " a ", "é"}, refused: []string{" ", "\t ", "a\nb"}}
	name := examples{accepted: []string{"a", "%", "\uFFFF"}, refused: []string{"a\x00", "\U00010000"}}
	endpoint := examples{
		accepted: []string{"https://search.example.com", "https:", "http://127.0.0.1:9200"},
		refused:  []string{"127.0.0.1:9200", "ftp://search.example.com", "HTTP://h", " http://h"},
	}
	jdbc := examples{
		accepted: []string{
			"jdbc:redshift://c1.abc.us-east-1.redshift.amazonaws.com:5439/dev",
			"jdbc:postgresql://wg.123.us-east-1.redshift-serverless.amazonaws.com:5439/d_e-v$",
			"jdbc:postgresql://localhost:5432/db",
			"jdbc:redshift://h:5439/d?ssl=false",
		},
		refused: []string{"jdbc:mysql://h:1/d", "jdbc:redshift://-h:5439/dev", "jdbc:redshift://h:5439/", "jdbc:redshift://h/d", "jdbc:redshift://h:5439/d;x", "jdbc:redshift://h:5439/d?\n"},
	}
	relaxed := map[string]examples{"ElasticsearchClusterEndpoint": endpoint, "AmazonopensearchserviceClusterEndpoint": endpoint, "ClusterJDBCURL": jdbc}
	rewritten := map[string]examples{
		"TagKey": {
			accepted: []string{"k", "aws", "xaws:", "AWS:x", "a w_s:.:/=+-@%", "ключ1"},
			refused:  []string{"aws:", "aws:x", "a#", "a\n"},
		},
		"DatabaseEndpoint": something, "HttpEndpointAttributeName": something, "HttpEndpointName": something,
		"NonEmptyString": something, "ProcessorParameterValue": something,
		"DatabaseColumnName": name, "DatabaseName": name, "DatabaseTableName": name,
	}
	patterns := 0
	for name, s := range load(t).Shapes {
		if s.Pattern == "" {
			continue
		}
		patterns++
		if s.match == nil {
			t.Errorf("%s: pattern %s is not matched", name, s.Pattern)
		}
		_, err := regexp.Compile(s.Pattern)
		e, isRewritten := rewritten[name]
		if (err != nil) != isRewritten {
			t.Errorf("%s: pattern %s: %v, but there are examples: %v", name, s.Pattern, err, isRewritten)
		}
		if !isRewritten {
			e = relaxed[name]
		}
		for _, text := range e.accepted {
			if broken := s.brokenText(text); broken != nil {
				t.Errorf("%s: %q: %v", name, text, broken)
			}
		}
		for _, text := range e.refused {
			if broken := s.brokenText(text); !slices.Contains(broken, s.patternConstraint()) {
				t.Errorf("%s: %q is accepted", name, text)
			}
		}
	}
	if patterns < 50 {
		t.Errorf("%d patterns", patterns)
	}
}

func TestSource(t *testing.T) {
	if source := load(t).Source; !regexp.MustCompile(`^botocore \d+\.\d+\.\d+, `).MatchString(source) {
		t.Error(source)
	}
}

func TestCheck(t *testing.T) {
	const (
		create = "CreateDeliveryStream"
		http   = `"HttpEndpointDestinationConfiguration":`
		extent = `{"DeliveryStreamName":"s","ExtendedS3DestinationConfiguration":{"RoleARN":"arn:aws:iam::000000000000:role/r","BucketARN":"arn:aws:s3:::b",`
		s3     = "extendedS3DestinationConfiguration."
		serde  = s3 + "dataFormatConversionConfiguration."
	)
	for name, test := range map[string]struct {
		operation, body string
		want            []string // path: constraint
	}{
		"nothing wrong":      {create, `{"DeliveryStreamName":"s"}`, nil},
		"required":           {"TagDeliveryStream", `{}`, []string{"deliveryStreamName: Member must not be null", "tags: Member must not be null"}},
		"null":               {"TagDeliveryStream", `{"Tags":null,"DeliveryStreamName":null}`, []string{"deliveryStreamName: Member must not be null", "tags: Member must not be null"}},
		"unknown":            {"DeleteDeliveryStream", `{"DeliveryStreamName":"s","deliveryStreamName":7,"x":[{}]}`, nil},
		"elements":           {"TagDeliveryStream", `{"DeliveryStreamName":"s","Tags":[{"Key":"k"},null,{"Value":"v"},{"Key":""}]}`, []string{"tags.2.member: Member must not be null", "tags.3.member.key: Member must not be null", "tags.4.member.key: Member must have length greater than or equal to 1"}},
		"an empty list":      {"UntagDeliveryStream", `{"DeliveryStreamName":"s","TagKeys":[]}`, []string{"tagKeys: Member must have length greater than or equal to 1"}},
		"simple elements":    {"UntagDeliveryStream", `{"DeliveryStreamName":"s","TagKeys":["k","aws:k"]}`, []string{`tagKeys.2.member: Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$`}},
		"too many":           {"UntagDeliveryStream", `{"DeliveryStreamName":"s","TagKeys":["k"` + strings.Repeat(`,"k"`, 50) + `]}`, []string{"tagKeys: Member must have length less than or equal to 50"}},
		"an empty enum":      {create, `{"DeliveryStreamName":"s","DeliveryStreamType":""}`, []string{"deliveryStreamType: Member must satisfy enum value set: [DirectPut, KinesisStreamAsSource, MSKAsSource, DatabaseAsSource]"}},
		"capitals":           {create, extent + `"EncryptionConfiguration":{"KMSEncryptionConfig":{}}}}`, []string{s3 + "encryptionConfiguration.kMSEncryptionConfig.aWSKMSKeyARN: Member must not be null"}},
		"a fraction":         {create, extent + `"DataFormatConversionConfiguration":{"OutputFormatConfiguration":{"Serializer":{"OrcSerDe":{"PaddingTolerance":1.5}}}}}}`, []string{serde + "outputFormatConfiguration.serializer.orcSerDe.paddingTolerance: Member must have value less than or equal to 1"}},
		"a large number":     {create, extent + `"DataFormatConversionConfiguration":{"OutputFormatConfiguration":{"Serializer":{"ParquetSerDe":{"BlockSizeBytes":1}}}}}}`, []string{serde + "outputFormatConfiguration.serializer.parquetSerDe.blockSizeBytes: Member must have value greater than or equal to 67108864"}},
		"an empty structure": {create, `{"DeliveryStreamName":"s",` + http + `{}}`, []string{"httpEndpointDestinationConfiguration.endpointConfiguration: Member must not be null", "httpEndpointDestinationConfiguration.s3Configuration: Member must not be null"}},
		"escapes":            {create, `{"Delivery\u0053treamName":"\u0073","DeliveryStreamType":"DirectPut"}`, nil},
		"the keys of a map": {
			create, extent + `"DataFormatConversionConfiguration":{"InputFormatConfiguration":{"Deserializer":{"OpenXJsonSerDe":{"ColumnToJsonKeyMappings":{"a b":"","c":null,"d":"e"}}}}}}}`,
			[]string{
				serde + `inputFormatConfiguration.deserializer.openXJsonSerDe.columnToJsonKeyMappings: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: ^\S+$]`,
				serde + `inputFormatConfiguration.deserializer.openXJsonSerDe.columnToJsonKeyMappings: Map value must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: ^(?!\s*$).+]`,
			},
		},
		"wrong types are left to others": {create, `{"DeliveryStreamName":5,"Tags":{},"ExtendedS3DestinationConfiguration":[],"DirectPutSourceConfiguration":{"ThroughputHintInMBs":"x"}}`, nil},
		"no object":                      {create, `[]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			load(t).Inputs[test.operation].Check([]byte(test.body), func(path, constraint string) { got = append(got, path+": "+constraint) })
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(test.want, "\n     "))
			}
		})
	}
}
