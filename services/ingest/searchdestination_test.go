package ingest

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// TestSearchDescribed has what is shown of search destinations, member for member.
func TestSearchDescribed(t *testing.T) {
	t.Parallel()
	const (
		id       = `{"DestinationId":"destinationId-000000000001",`
		s3       = `"S3DestinationDescription":{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":""}`
		defaults = `"BufferingHints":{"IntervalInSeconds":300,"SizeInMBs":5},` + shownNoLogs
		ids      = `"DocumentIdOptions":{"DefaultDocumentIdFormat":"FIREHOSE_DEFAULT"}`
		rest     = `"IndexRotationPeriod":"OneDay","RetryOptions":{"DurationInSeconds":300},` + someRole + `,"S3BackupMode":"FailedDocumentsOnly",` + s3
		domain   = `"DomainARN":"arn:aws:es:us-east-1:000000000000:domain/logs"`
		full     = `"BufferingHints":{"IntervalInSeconds":0,"SizeInMBs":100},"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"},` +
			`"ClusterEndpoint":"http://127.0.0.1:9200/es","DocumentIdOptions":{"DefaultDocumentIdFormat":"NO_DOCUMENT_ID"},"IndexName":"logs.2-x_y","IndexRotationPeriod":"OneHour",` +
			`"ProcessingConfiguration":{"Enabled":false},"RetryOptions":{"DurationInSeconds":0},` + someRole + `,"S3BackupMode":"AllDocuments",`
	)
	r := newSite(t).start()
	for i, test := range []struct{ name, create, want string }{
		{
			"elasticsearch, by its endpoint", createSearchWith(elasticsearchShape, someEndpoint+`,`+someIndex),
			id + `"ElasticsearchDestinationDescription":{` + defaults + `,` + someEndpoint + `,` + ids + `,` + someIndex + `,` + rest + `}}`,
		},
		{
			"opensearch, by its domain", createSearchWith(opensearchShape, domain+`,`+someIndex+`,"TypeName":""`),
			id + `"AmazonopensearchserviceDestinationDescription":{` + defaults + `,` + ids + `,` + domain + `,` + someIndex + `,` + rest + `}}`,
		},
		{
			"the shape of 2016", createSearchWith(elasticsearchShape, domain+`,`+someIndex+`,"TypeName":"line","BufferingHints":{"SizeInMBs":5,"IntervalInSeconds":60}`),
			id + `"ElasticsearchDestinationDescription":{"BufferingHints":{"IntervalInSeconds":60,"SizeInMBs":5},` + shownNoLogs + `,` + ids + `,` + domain + `,` + someIndex + `,` + rest + `,"TypeName":"line"}}`,
		},
		{
			"members that say nothing", createSearchWith(opensearchShape, someEndpoint+`,`+someIndex+`,"BufferingHints":{},"RetryOptions":{},"CloudWatchLoggingOptions":{}`),
			id + `"AmazonopensearchserviceDestinationDescription":{` + defaults + `,` + someEndpoint + `,` + ids + `,` + someIndex + `,` + rest + `}}`,
		},
		{
			"all", `{"DeliveryStreamName":"s","` + elasticsearchShape + `":{` + full + `"TypeName":"_doc","S3Configuration":{` + someBucket + `,` + someRole + `,"Prefix":"p/","ErrorOutputPrefix":"e/!{firehose:error-output-type}/",` +
				`"CompressionFormat":"GZIP","BufferingHints":{"SizeInMBs":128,"IntervalInSeconds":900},` + shownKMS + `,"CloudWatchLoggingOptions":{"Enabled":true}}}}`,
			id + `"ElasticsearchDestinationDescription":{` + full + `"S3DestinationDescription":{` + shownBucket + `,"BufferingHints":{"IntervalInSeconds":900,"SizeInMBs":128},"CompressionFormat":"GZIP",` +
				shownKMS + `,` + someRole + `,"CloudWatchLoggingOptions":{"Enabled":true},"ErrorOutputPrefix":"e/!{firehose:error-output-type}/","Prefix":"p/"},"TypeName":"_doc"}}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := "s" + strconv.Itoa(i)
			if answer := r.raw("CreateDeliveryStream", strings.Replace(test.create, `"s"`, `"`+name+`"`, 1)); answer.Status != 200 {
				t.Fatal(answer.Body)
			}
			if got := r.shown(name); got != test.want {
				t.Errorf("shown is\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// TestSearchUpdatesMerge has the SDK update a destination, and read what it has become after each step.
func TestSearchUpdatesMerge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	to := opensearch()
	to.BufferingHints = &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(7), IntervalInSeconds: aws.Int32(60)}
	to.S3BackupMode = types.AmazonopensearchserviceS3BackupModeAllDocuments
	to.TypeName = aws.String("line")
	to.S3Configuration.Prefix, to.S3Configuration.CompressionFormat = aws.String("p/"), types.CompressionFormatGzip
	r.createSearch("s", to)
	want := *must[*types.DeliveryStreamDescription](t)(r.describe("s")).Destinations[0].AmazonopensearchserviceDestinationDescription
	for i, step := range []struct {
		name   string
		update types.AmazonopensearchserviceDestinationUpdate
		change func(*types.AmazonopensearchserviceDestinationDescription)
	}{
		{"nothing", types.AmazonopensearchserviceDestinationUpdate{}, func(*types.AmazonopensearchserviceDestinationDescription) {}},
		{
			"the hints as a whole", types.AmazonopensearchserviceDestinationUpdate{BufferingHints: &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(0)}},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				d.BufferingHints = &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(0)}
			},
		},
		{
			"a domain instead of the endpoint", types.AmazonopensearchserviceDestinationUpdate{DomainARN: aws.String("arn:aws:es:us-east-1:000000000000:domain/logs")},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				d.DomainARN, d.ClusterEndpoint = aws.String("arn:aws:es:us-east-1:000000000000:domain/logs"), nil
			},
		},
		{
			"an endpoint instead of the domain", types.AmazonopensearchserviceDestinationUpdate{ClusterEndpoint: aws.String("http://localhost:9200")},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				d.DomainARN, d.ClusterEndpoint = nil, aws.String("http://localhost:9200")
			},
		},
		{
			"index, rotation, no type", types.AmazonopensearchserviceDestinationUpdate{IndexName: aws.String("other"), IndexRotationPeriod: types.AmazonopensearchserviceIndexRotationPeriodOneWeek, TypeName: aws.String("")},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				d.IndexName, d.IndexRotationPeriod, d.TypeName = aws.String("other"), types.AmazonopensearchserviceIndexRotationPeriodOneWeek, nil
			},
		},
		{
			"retries and ids", types.AmazonopensearchserviceDestinationUpdate{
				RetryOptions:      &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(7200)},
				DocumentIdOptions: &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatNoDocumentId},
			},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				d.RetryOptions = &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(7200)}
				d.DocumentIdOptions = &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatNoDocumentId}
			},
		},
		{
			"members of S3", types.AmazonopensearchserviceDestinationUpdate{S3Update: &types.S3DestinationUpdate{
				BucketARN: aws.String("arn:aws:s3:::other"), ErrorOutputPrefix: aws.String("failed/"), CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
			}},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				s3 := *d.S3DestinationDescription
				s3.BucketARN, s3.ErrorOutputPrefix = aws.String("arn:aws:s3:::other"), aws.String("failed/")
				s3.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)}
				d.S3DestinationDescription = &s3
			},
		},
		{
			"logging, role and no processing", types.AmazonopensearchserviceDestinationUpdate{
				CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{LogGroupName: aws.String("g")}, RoleARN: aws.String("arn:aws:iam::000000000000:role/other"),
				ProcessingConfiguration: &types.ProcessingConfiguration{},
			},
			func(d *types.AmazonopensearchserviceDestinationDescription) {
				d.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false), LogGroupName: aws.String("g")}
				d.RoleARN = aws.String("arn:aws:iam::000000000000:role/other")
				d.ProcessingConfiguration = &types.ProcessingConfiguration{Enabled: aws.Bool(false)}
			},
		},
	} {
		wantNil(t, r.updateSearch("s", strconv.Itoa(i+1), &step.update))
		step.change(&want)
		got := must[*types.DeliveryStreamDescription](t)(r.describe("s"))
		if shown := got.Destinations[0].AmazonopensearchserviceDestinationDescription; !reflect.DeepEqual(shown, &want) || *got.VersionId != strconv.Itoa(i+2) {
			t.Errorf("%s: version %s is %s", step.name, *got.VersionId, r.shown("s"))
		}
	}
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "s"))
	if first := d.Previous[0].Destination.Search; len(d.Previous) != 8 || *first.Description.BufferingHints.SizeInMBs != 7 || *first.Description.S3DestinationDescription.BucketARN != "arn:aws:s3:::bucket" {
		t.Errorf("kept are %d, the first is %+v", len(d.Previous), d.Previous[0])
	}
	wantError(t, r.updateSearch("s", "1", &types.AmazonopensearchserviceDestinationUpdate{}), "ConcurrentModificationException",
		"Cannot update firehose: s since the current version id: 9 and specified version id: 1 do not match")
}

// TestEitherShapeUpdates has a destination change the shape in which it is shown, and nothing else.
func TestEitherShapeUpdates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.createSearch("s", opensearch())
	before := r.shown("s")
	wantNil(t, r.updateElasticsearch("s", "1", &types.ElasticsearchDestinationUpdate{RetryOptions: &types.ElasticsearchRetryOptions{DurationInSeconds: aws.Int32(1)}}))
	want := strings.NewReplacer("Amazonopensearchservice", "Elasticsearch", `"DurationInSeconds":300`, `"DurationInSeconds":1`).Replace(before)
	if got := r.shown("s"); got != want {
		t.Errorf("shown is\n%s\nwant\n%s", got, want)
	}
	wantNil(t, r.updateSearch("s", "2", &types.AmazonopensearchserviceDestinationUpdate{RetryOptions: &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(300)}}))
	if got := r.shown("s"); got != before {
		t.Errorf("shown is\n%s\nwant\n%s", got, before)
	}
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "s"))
	if d.Destination.Search.API != catalog.OpenSearchAPI || d.Previous[1].Destination.Search.API != catalog.ElasticsearchAPI {
		t.Errorf("stored is %+v", d)
	}
}

func TestTypesDoNotChange(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.create("plain")
	r.createSearch("search", opensearch())
	const text = "Changing the destination type to or from %s is not supported at this time."
	from := func(name string) string { return strings.Replace(text, "%s", name, 1) }
	wantError(t, r.updateSearch("plain", "1", &types.AmazonopensearchserviceDestinationUpdate{}), "InvalidArgumentException", from("Amazonopensearchservice"))
	wantError(t, r.updateElasticsearch("plain", "1", &types.ElasticsearchDestinationUpdate{}), "InvalidArgumentException", from("Elasticsearch"))
	wantError(t, r.update("search", "1", &types.ExtendedS3DestinationUpdate{Prefix: aws.String("p/")}), "InvalidArgumentException", from("Amazonopensearchservice"))
	wantNil(t, r.updateElasticsearch("search", "1", &types.ElasticsearchDestinationUpdate{}))
	wantError(t, r.update("search", "2", &types.ExtendedS3DestinationUpdate{}), "InvalidArgumentException", from("Elasticsearch"))
	for name, version := range map[string]string{"plain": "1", "search": "2"} {
		if d := must[*types.DeliveryStreamDescription](t)(r.describe(name)); *d.VersionId != version {
			t.Errorf("%s is at version %s", name, *d.VersionId)
		}
	}
}

// TestSearchLegs has the legs that the backup modes make, from the first record on.
func TestSearchLegs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	all := opensearch()
	all.S3BackupMode = types.AmazonopensearchserviceS3BackupModeAllDocuments
	all.S3Configuration.BufferingHints = &types.BufferingHints{SizeInMBs: aws.Int32(64), IntervalInSeconds: aws.Int32(900)}
	r.createSearch("all", all)
	r.createSearch("failed", opensearch())
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "all"))
	es := catalog.LegHints{Leg: names.LegES, Bytes: 5 << 20, Interval: 300 * time.Second, Since: d.Created}
	backup := catalog.LegHints{Leg: names.LegBackup, Bytes: 64 << 20, Interval: 900 * time.Second, Since: d.Created}
	if got, want := d.Legs(), []catalog.LegHints{es, backup}; !reflect.DeepEqual(got, want) {
		t.Errorf("legs %+v, want %+v", got, want)
	}
	d = must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "failed"))
	if got := d.Legs(); len(got) != 1 || got[0].Leg != names.LegES || *d.Destination.ErrorsS3().BucketARN != "arn:aws:s3:::bucket" {
		t.Errorf("legs %+v, errors in %+v", got, d.Destination.ErrorsS3())
	}
	for _, name := range []string{"all", "failed"} {
		if _, err := r.put(name, `{"a":1}`); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSearchValidation(t *testing.T) {
	const pattern = "satisfy regular expression pattern: "
	for _, shape := range []string{elasticsearchShape, opensearchShape} {
		at := strings.ToLower(shape[:1]) + shape[1:] + "."
		for name, test := range map[string]struct {
			members string
			want    []string
		}{
			"nothing":        {``, []string{"roleARN: not be null", "indexName: not be null", "s3Configuration: not be null"}},
			"empty texts":    {someRole + `,` + someS3 + `,"DomainARN":"","ClusterEndpoint":"","IndexName":"","TypeName":""`, []string{"domainARN: have length greater than or equal to 1", "domainARN: " + pattern + `arn:.*:es:[a-zA-Z0-9\-]+:\d{12}:domain/[a-z][-0-9a-z]{2,27}`, "clusterEndpoint: have length greater than or equal to 1", "clusterEndpoint: " + pattern + "https?:.*", "indexName: have length greater than or equal to 1"}},
			"long texts":     {someRole + `,` + someS3 + `,"IndexName":"` + strings.Repeat("é", 81) + `","TypeName":"` + strings.Repeat("t", 101) + `"`, []string{"indexName: have length less than or equal to 80", "typeName: have length less than or equal to 100"}},
			"an endpoint":    {someRole + `,` + someS3 + `,` + someIndex + `,"ClusterEndpoint":"search.example.com"`, []string{"clusterEndpoint: " + pattern + "https?:.*"}},
			"enums":          {someRole + `,` + someS3 + `,` + someIndex + `,"IndexRotationPeriod":"OneYear","S3BackupMode":"Enabled","DocumentIdOptions":{"DefaultDocumentIdFormat":"X"}`, []string{"indexRotationPeriod: satisfy enum value set: [NoRotation, OneHour, OneDay, OneWeek, OneMonth]", "s3BackupMode: satisfy enum value set: [FailedDocumentsOnly, AllDocuments]", "documentIdOptions.defaultDocumentIdFormat: satisfy enum value set: [FIREHOSE_DEFAULT, NO_DOCUMENT_ID]"}},
			"ranges":         {someRole + `,` + someS3 + `,` + someIndex + `,"BufferingHints":{"SizeInMBs":101,"IntervalInSeconds":901},"RetryOptions":{"DurationInSeconds":7201}`, []string{"bufferingHints.intervalInSeconds: have value less than or equal to 900", "bufferingHints.sizeInMBs: have value less than or equal to 100", "retryOptions.durationInSeconds: have value less than or equal to 7200"}},
			"S3":             {someRole + `,` + someIndex + `,"S3Configuration":{}`, []string{"s3Configuration.roleARN: not be null", "s3Configuration.bucketARN: not be null"}},
			"ids of no kind": {someRole + `,` + someS3 + `,` + someIndex + `,"DocumentIdOptions":{}`, []string{"documentIdOptions.defaultDocumentIdFormat: not be null"}},
		} {
			t.Run(shape+", "+name, func(t *testing.T) {
				want := make([]string, len(test.want))
				for i, text := range test.want {
					want[i] = at + text
				}
				checkRefused(t, "CreateDeliveryStream", `{"DeliveryStreamName":"s","`+shape+`":{`+test.members+`}}`, "ValidationException", violationsOf(want...))
			})
		}
	}
}

func TestSearchInvalidArguments(t *testing.T) {
	const (
		prefixes  = "Ths supplied prefix(es) do not satisfy the following constraint: "
		noAddress = "@.ClusterEndpoint: give an address that begins with https:// or http://, such as https://search.example.com:9200, without a user, a query or a fragment"
		noIndex   = "@.IndexName: no index can have such a name: "
		noType    = "@.TypeName: no type can have such a name: "
		domain    = `"DomainARN":"arn:aws:es:us-east-1:000000000000:domain/logs"`
		good      = someEndpoint + `,` + someIndex
	)
	s3 := func(members string) string {
		return good + `,"S3Configuration":{` + someBucket + `,` + someRole + `,` + members + `}`
	}
	for name, test := range map[string]struct{ members, message string }{ // @ is the shape
		"nowhere":             {someIndex, "@: give one of DomainARN and ClusterEndpoint"},
		"two places":          {good + `,` + domain, "@: give either DomainARN or ClusterEndpoint"},
		"no host":             {`"ClusterEndpoint":"https:",` + someIndex, noAddress},
		"a port alone":        {`"ClusterEndpoint":"http://:9200",` + someIndex, noAddress},
		"a user":              {`"ClusterEndpoint":"https://u:SECRET@h:9200",` + someIndex, noAddress},
		"a query":             {`"ClusterEndpoint":"https://h:9200/?pretty",` + someIndex, noAddress},
		"a port too large":    {`"ClusterEndpoint":"https://h:99999",` + someIndex, noAddress},
		"no port number":      {`"ClusterEndpoint":"https://h:port",` + someIndex, noAddress},
		"capitals":            {someEndpoint + `,"IndexName":"Logs"`, noIndex + "it must be in lower case"},
		"a star":              {someEndpoint + `,"IndexName":"logs*"`, noIndex + `it must not contain any of \ / * ? " < > | , # : or a space`},
		"a type":              {good + `,"TypeName":"_line"`, noType + "it must not begin with _ or ., except for _doc"},
		"half a hint":         {good + `,"BufferingHints":{"SizeInMBs":1}`, "@.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"the other half":      {good + `,"BufferingHints":{"IntervalInSeconds":1}`, "@.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"half a hint of S3":   {s3(`"BufferingHints":{"SizeInMBs":1}`), "@.S3Configuration.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"errors of no place":  {s3(`"Prefix":"!{timestamp:yyyy}/"`), prefixes + "ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"},
		"errors of no type":   {s3(`"ErrorOutputPrefix":"!{timestamp:yyyy}/"`), prefixes + "ErrorOutputPrefix must contain at least one occurrence of !{firehose:error-output-type}"},
		"a private network":   {good + `,"VpcConfiguration":` + sampleJSON(t, "VpcConfiguration"), "@: VpcConfiguration is not built yet"},
		"processing":          {good + `,"ProcessingConfiguration":{"Enabled":true}`, "@: ProcessingConfiguration is not built yet"},
		"processing, implied": {good + `,"ProcessingConfiguration":{"Processors":[{"Type":"Lambda"}]}`, "@: ProcessingConfiguration is not built yet"},
	} {
		for _, shape := range []string{elasticsearchShape, opensearchShape} {
			t.Run(shape+", "+name, func(t *testing.T) {
				body := `{"DeliveryStreamName":"s","` + shape + `":{` + someRole + `,` + someS3 + `,` + test.members + `}}`
				checkRefused(t, "CreateDeliveryStream", body, "InvalidArgumentException", strings.Replace(test.message, "@", shape, 1))
			})
		}
	}
	const serverless = "AmazonOpenSearchServerlessDestinationConfiguration"
	checkRefused(t, "CreateDeliveryStream", `{"DeliveryStreamName":"s","`+serverless+`":`+sampleJSON(t, serverless)+`}`, "InvalidArgumentException", serverless+" is not built yet")
	checkRefused(t, "CreateDeliveryStream", strings.Replace(createSearchWith(elasticsearchShape, good), `{"DeliveryStreamName"`, `{"`+opensearchShape+`":{`+someRole+`,`+someS3+`,`+good+`},"DeliveryStreamName"`, 1), "InvalidArgumentException", oneDestination)
}

// TestSearchUpdatesAreChecked has updates that are wrong alone, or together with what is kept.
func TestSearchUpdatesAreChecked(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	to := opensearch()
	to.IndexName, to.IndexRotationPeriod = aws.String(strings.Repeat("\U0001F600", 62)), types.AmazonopensearchserviceIndexRotationPeriodNoRotation // 248 bytes
	r.createSearch("s", to)
	const shape = "AmazonopensearchserviceDestinationUpdate"
	for name, test := range map[string]struct {
		update  types.AmazonopensearchserviceDestinationUpdate
		message string
	}{
		"two places": {
			types.AmazonopensearchserviceDestinationUpdate{ClusterEndpoint: aws.String("https://h"), DomainARN: aws.String("arn:aws:es:us-east-1:000000000000:domain/logs")},
			shape + ": give either DomainARN or ClusterEndpoint",
		},
		"a longer name in a period": {
			types.AmazonopensearchserviceDestinationUpdate{IndexRotationPeriod: types.AmazonopensearchserviceIndexRotationPeriodOneMonth},
			shape + ".IndexName: no index can have such a name: with IndexRotationPeriod OneMonth it must not be longer than 247 bytes in UTF-8",
		},
		"half a hint":       {types.AmazonopensearchserviceDestinationUpdate{BufferingHints: &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(1)}}, shape + ".BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"half a hint of S3": {types.AmazonopensearchserviceDestinationUpdate{S3Update: &types.S3DestinationUpdate{BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1)}}}, shape + ".S3Update.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"a prefix":          {types.AmazonopensearchserviceDestinationUpdate{S3Update: &types.S3DestinationUpdate{Prefix: aws.String("!{timestamp:yyyy}/")}}, "Ths supplied prefix(es) do not satisfy the following constraint: ErrorOutputPrefix cannot be null or empty when Prefix contains expressions"},
		"processing":        {types.AmazonopensearchserviceDestinationUpdate{ProcessingConfiguration: &types.ProcessingConfiguration{Enabled: aws.Bool(true)}}, shape + ": ProcessingConfiguration is not built yet"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, r.updateSearch("s", "1", &test.update), "InvalidArgumentException", test.message)
		})
	}
	if d := must[*types.DeliveryStreamDescription](t)(r.describe("s")); *d.VersionId != "1" {
		t.Errorf("it is at version %s", *d.VersionId)
	}
}

// TestBothShapesHaveTheSameMembers shows that nothing is lost on the way from one shape to the other.
func TestBothShapesHaveTheSameMembers(t *testing.T) {
	for _, pair := range [][2]reflect.Type{
		{reflect.TypeFor[types.ElasticsearchDestinationConfiguration](), reflect.TypeFor[types.AmazonopensearchserviceDestinationConfiguration]()},
		{reflect.TypeFor[types.ElasticsearchDestinationUpdate](), reflect.TypeFor[types.AmazonopensearchserviceDestinationUpdate]()},
		{reflect.TypeFor[types.ElasticsearchDestinationDescription](), reflect.TypeFor[types.AmazonopensearchserviceDestinationDescription]()},
	} {
		if pair[0].NumField() != pair[1].NumField() {
			t.Errorf("%v and %v have different members", pair[0], pair[1])
		}
		for field := range pair[0].Fields() {
			if other, found := pair[1].FieldByName(field.Name); !found || !same(field.Type, other.Type) {
				t.Errorf("%v.%s has no counterpart", pair[0], field.Name)
			}
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, address := range []string{"https://h", "http://[::1]:9200/p", "https://u:p@h", "https:h", "http://h:0", "https://h?", "https://h#", "http://h%00", "https://h:9200/ä b"} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if !isEndpoint(address) || !strings.HasPrefix(address, "http") {
			return
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/_bulk", http.NoBody)
		if err != nil || request.URL.Host == "" || request.URL.User != nil || !strings.HasSuffix(request.URL.Path, "/_bulk") {
			t.Errorf("%q is taken: %v", address, err)
		}
	})
}
