package ingest

import (
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

// TestRedshiftDescribed has what is shown of Redshift destinations, member for member.
func TestRedshiftDescribed(t *testing.T) {
	t.Parallel()
	const (
		begin   = `{"DestinationId":"destinationId-000000000001","RedshiftDestinationDescription":{`
		cluster = someCluster + `,`
		staging = `"S3DestinationDescription":{` + shownBucket + `,` + shownDefaults + `,` + someRole + `,` + shownNoLogs + `,"Prefix":""}`
		plain   = cluster + someCopy + `,` + someRole + `,` + staging + `,` + shownNoLogs + `,"RetryOptions":{"DurationInSeconds":3600},"S3BackupMode":"Disabled",`
		full    = `"ClusterJDBCURL":"jdbc:postgresql://localhost:5432/db?ssl=false","CopyCommand":{"DataTableName":"s.\"T\"","CopyOptions":"JSON 'auto' GZIP","DataTableColumns":"a, \"B\""},` + someRole + `,`
		logs    = `"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"g","LogStreamName":"s"}`
	)
	r := newSite(t).start()
	for i, test := range []struct{ name, create, want string }{
		{"the least", createRedshiftWith(""), begin + plain + someUser + `}}`},
		{
			"members that say nothing",
			createRedshiftWith(`"CopyCommand":{"DataTableName":"clicks","DataTableColumns":"","CopyOptions":""},"RetryOptions":{},"CloudWatchLoggingOptions":{},"S3BackupMode":"Disabled"`),
			begin + plain + someUser + `}}`,
		},
		{
			"what is switched off",
			createRedshiftWith(`"ProcessingConfiguration":{},"SecretsManagerConfiguration":{"Enabled":false}`),
			begin + cluster + someCopy + `,` + someRole + `,` + staging + `,` + shownNoLogs + `,"ProcessingConfiguration":{"Enabled":false},"RetryOptions":{"DurationInSeconds":3600},` +
				`"S3BackupMode":"Disabled","SecretsManagerConfiguration":{"Enabled":false},` + someUser + `}}`,
		},
		{
			"all", createRedshiftWith(full + `"RetryOptions":{"DurationInSeconds":0},` + logs + `,"S3BackupMode":"Enabled","S3BackupConfiguration":{` + someBucket + `,` + someRole + `,"CompressionFormat":"ZIP","Prefix":"!{timestamp:yyyy}/","ErrorOutputPrefix":"!{firehose:error-output-type}/"},` +
				`"S3Configuration":{` + someBucket + `,` + someRole + `,"Prefix":"p/","ErrorOutputPrefix":"e/","CompressionFormat":"GZIP","BufferingHints":{"SizeInMBs":128,"IntervalInSeconds":900},` + shownKMS + `}`),
			begin + full + `"S3DestinationDescription":{` + shownBucket + `,"BufferingHints":{"IntervalInSeconds":900,"SizeInMBs":128},"CompressionFormat":"GZIP",` + shownKMS + `,` + someRole + `,` + shownNoLogs + `,"ErrorOutputPrefix":"e/","Prefix":"p/"},` +
				logs + `,"RetryOptions":{"DurationInSeconds":0},"S3BackupDescription":{` + shownBucket + `,"BufferingHints":{"IntervalInSeconds":300,"SizeInMBs":5},"CompressionFormat":"ZIP","EncryptionConfiguration":{"NoEncryptionConfig":"NoEncryption"},` + someRole + `,` + shownNoLogs + `,` +
				`"ErrorOutputPrefix":"!{firehose:error-output-type}/","Prefix":"!{timestamp:yyyy}/"},"S3BackupMode":"Enabled",` + someUser + `}}`,
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

// TestRedshiftUpdatesMerge has the SDK update a destination, and read what it has become after each step.
func TestRedshiftUpdatesMerge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	to := redshift()
	to.CopyCommand.CopyOptions, to.CopyCommand.DataTableColumns = aws.String("JSON 'auto'"), aws.String("a,b")
	to.S3Configuration.Prefix, to.S3Configuration.CompressionFormat = aws.String("p/"), types.CompressionFormatGzip
	r.createRedshift("s", to)
	want := *must[*types.DeliveryStreamDescription](t)(r.describe("s")).Destinations[0].RedshiftDestinationDescription
	passwords := []string{redshiftPassword}
	for i, step := range []struct {
		name     string
		update   types.RedshiftDestinationUpdate
		password string // if it changes
		change   func(*types.RedshiftDestinationDescription)
	}{
		{"nothing", types.RedshiftDestinationUpdate{}, "", func(*types.RedshiftDestinationDescription) {}},
		{
			"the command as a whole", types.RedshiftDestinationUpdate{CopyCommand: &types.CopyCommand{DataTableName: aws.String("public.other"), CopyOptions: aws.String("CSV")}}, "",
			func(d *types.RedshiftDestinationDescription) {
				d.CopyCommand = &types.CopyCommand{DataTableName: aws.String("public.other"), CopyOptions: aws.String("CSV")}
			},
		},
		{"the password", types.RedshiftDestinationUpdate{Password: aws.String("SECRET-the-next")}, "SECRET-the-next", func(*types.RedshiftDestinationDescription) {}},
		{
			"who, where and how long", types.RedshiftDestinationUpdate{
				Username: aws.String("other"), ClusterJDBCURL: aws.String("jdbc:postgresql://localhost:5432/db?sslmode=disable"),
				RetryOptions: &types.RedshiftRetryOptions{DurationInSeconds: aws.Int32(7200)}, RoleARN: aws.String("arn:aws:iam::000000000000:role/other"),
			}, "",
			func(d *types.RedshiftDestinationDescription) {
				d.Username, d.ClusterJDBCURL = aws.String("other"), aws.String("jdbc:postgresql://localhost:5432/db?sslmode=disable")
				d.RetryOptions, d.RoleARN = &types.RedshiftRetryOptions{DurationInSeconds: aws.Int32(7200)}, aws.String("arn:aws:iam::000000000000:role/other")
			},
		},
		{
			"members of the staging", types.RedshiftDestinationUpdate{S3Update: &types.S3DestinationUpdate{BucketARN: aws.String("arn:aws:s3:::other"), CompressionFormat: types.CompressionFormatUncompressed}}, "",
			func(d *types.RedshiftDestinationDescription) {
				s3 := *d.S3DestinationDescription
				s3.BucketARN, s3.CompressionFormat = aws.String("arn:aws:s3:::other"), types.CompressionFormatUncompressed
				d.S3DestinationDescription = &s3
			},
		},
		{
			"logging and no processing", types.RedshiftDestinationUpdate{
				CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{LogGroupName: aws.String("g")}, ProcessingConfiguration: &types.ProcessingConfiguration{},
			}, "",
			func(d *types.RedshiftDestinationDescription) {
				d.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false), LogGroupName: aws.String("g")}
				d.ProcessingConfiguration = &types.ProcessingConfiguration{Enabled: aws.Bool(false)}
			},
		},
	} {
		wantNil(t, r.updateRedshift("s", strconv.Itoa(i+1), &step.update))
		step.change(&want)
		got := must[*types.DeliveryStreamDescription](t)(r.describe("s"))
		if shown := got.Destinations[0].RedshiftDestinationDescription; !reflect.DeepEqual(shown, &want) || *got.VersionId != strconv.Itoa(i+2) {
			t.Errorf("%s: version %s is %s", step.name, *got.VersionId, r.shown("s"))
		}
		if last := passwords[len(passwords)-1]; step.password == "" {
			passwords = append(passwords, last)
		} else {
			passwords = append(passwords, step.password)
		}
	}
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "s"))
	if len(d.Previous) != 6 || *d.Previous[0].Destination.Redshift.Description.S3DestinationDescription.BucketARN != "arn:aws:s3:::bucket" {
		t.Errorf("kept are %d", len(d.Previous))
	}
	for i, p := range append(d.Previous, catalog.PreviousDestination{Destination: d.Destination}) {
		if got := p.Destination.Redshift.Password.Plain(); got != passwords[i] {
			t.Errorf("version %d has password %q, want %q", i+1, got, passwords[i])
		}
	}
	wantError(t, r.updateRedshift("s", "1", &types.RedshiftDestinationUpdate{}), "ConcurrentModificationException",
		"Cannot update firehose: s since the current version id: 7 and specified version id: 1 do not match")
}

// TestRedshiftBackup has a backup switched on, from the start and later, and its legs.
func TestRedshiftBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	from := redshift()
	from.S3BackupMode = types.RedshiftS3BackupModeEnabled
	from.S3BackupConfiguration = &types.S3DestinationConfiguration{
		BucketARN: aws.String("arn:aws:s3:::copies"), RoleARN: plainS3().RoleARN, CompressionFormat: types.CompressionFormatSnappy,
	}
	from.S3Configuration.BufferingHints = &types.BufferingHints{SizeInMBs: aws.Int32(64), IntervalInSeconds: aws.Int32(900)}
	r.createRedshift("start", from)
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "start"))
	staging := catalog.LegHints{Leg: names.LegS3, Bytes: 64 << 20, Interval: 900 * time.Second, Since: d.Created}
	backup := catalog.LegHints{Leg: names.LegBackup, Bytes: 5 << 20, Interval: 300 * time.Second, Since: d.Created}
	if got, want := d.Legs(), []catalog.LegHints{staging, backup}; !reflect.DeepEqual(got, want) {
		t.Errorf("legs %+v, want %+v", got, want)
	}
	wantNil(t, r.updateRedshift("start", "1", &types.RedshiftDestinationUpdate{S3BackupUpdate: &types.S3DestinationUpdate{Prefix: aws.String("q/")}}))
	d = must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "start"))
	if to := d.Destination.S3Of(names.LegBackup); *to.Prefix != "q/" || to.CompressionFormat != types.CompressionFormatSnappy || !d.Destination.BackupSince.Equal(d.Created) {
		t.Errorf("backup %+v since %v", to, d.Destination.BackupSince)
	}

	r.createRedshift("later", redshift())
	if legs := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "later")).Legs(); len(legs) != 1 || legs[0].Leg != names.LegS3 {
		t.Errorf("legs %+v", legs)
	}
	whole := &types.S3DestinationUpdate{BucketARN: aws.String("arn:aws:s3:::copies"), RoleARN: plainS3().RoleARN}
	on := types.RedshiftS3BackupModeEnabled
	for name, test := range map[string]struct {
		update  types.RedshiftDestinationUpdate
		message string
	}{
		"without settings": {types.RedshiftDestinationUpdate{S3BackupMode: on}, ".S3BackupMode: Enabled needs the settings of the backup"},
		"without a bucket": {types.RedshiftDestinationUpdate{S3BackupMode: on, S3BackupUpdate: &types.S3DestinationUpdate{RoleARN: whole.RoleARN}}, ".S3BackupUpdate: a backup needs BucketARN and RoleARN"},
		"without the mode": {types.RedshiftDestinationUpdate{S3BackupUpdate: whole}, ".S3BackupUpdate: a backup needs S3BackupMode Enabled"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, r.updateRedshift("later", "1", &test.update), "InvalidArgumentException", "RedshiftDestinationUpdate"+test.message)
		})
	}
	before := time.Now()
	wantNil(t, r.updateRedshift("later", "1", &types.RedshiftDestinationUpdate{S3BackupMode: on, S3BackupUpdate: whole}))
	d = must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "later"))
	if since := d.Destination.BackupSince; since.Before(before) || !since.Equal(d.Updated) || len(d.Legs()) != 2 || !d.Legs()[1].Since.Equal(since) {
		t.Errorf("backed up since %v, legs %+v", since, d.Legs())
	}
	err := r.updateRedshift("later", "2", &types.RedshiftDestinationUpdate{S3BackupMode: types.RedshiftS3BackupModeDisabled})
	wantError(t, err, "InvalidArgumentException", "RedshiftDestinationUpdate.S3BackupMode: a backup that is Enabled cannot be Disabled")
}

func TestRedshiftTypeDoesNotChange(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.create("plain")
	r.createSearch("search", opensearch())
	r.createRedshift("redshift", redshift())
	const text = "Changing the destination type to or from Redshift is not supported at this time."
	wantError(t, r.updateRedshift("plain", "1", &types.RedshiftDestinationUpdate{}), "InvalidArgumentException", text)
	wantError(t, r.updateRedshift("search", "1", &types.RedshiftDestinationUpdate{}), "InvalidArgumentException", text)
	wantError(t, r.update("redshift", "1", &types.ExtendedS3DestinationUpdate{}), "InvalidArgumentException", text)
	wantError(t, r.updateSearch("redshift", "1", &types.AmazonopensearchserviceDestinationUpdate{}), "InvalidArgumentException", strings.Replace(text, "Redshift", "Amazonopensearchservice", 1))
	for _, name := range []string{"plain", "search", "redshift"} {
		if d := must[*types.DeliveryStreamDescription](t)(r.describe(name)); *d.VersionId != "1" {
			t.Errorf("%s is at version %s", name, *d.VersionId)
		}
	}
}

// TestRedshiftPasswordStaysInTheCatalog has the API and its log while a password is set, changed, refused and kept.
func TestRedshiftPasswordStaysInTheCatalog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	answers := []string{
		r.raw("CreateDeliveryStream", createRedshiftWith("")).Body,
		r.raw("CreateDeliveryStream", createRedshiftWith("")).Body,
		r.raw("CreateDeliveryStream", strings.Replace(createRedshiftWith(`"RetryOptions":{"DurationInSeconds":7201}`), `"s"`, `"t"`, 1)).Body,
		r.raw("CreateDeliveryStream", createRedshiftWith(`"Password":"SECRET\u0000SECRET"`)).Body,
		r.raw("CreateDeliveryStream", createRedshiftWith(`"Password":5,"ClusterJDBCURL":"jdbc:redshift://h:1/d?password=SECRET"`)).Body,
		r.raw("CreateDeliveryStream", createRedshiftWith(`"ClusterJDBCURL":"jdbc:redshift://h:1/d?password=SECRET"`)).Body,
		r.raw("CreateDeliveryStream", createRedshiftWith(`"CopyCommand":{"DataTableName":"t","CopyOptions":"PASSWORD 'SECRET"}`)).Body,
		r.raw("DescribeDeliveryStream", `{"DeliveryStreamName":"s"}`).Body,
		r.raw("UpdateDestination", strings.Replace(updateWith("RedshiftDestinationUpdate", `"Password":"SECRET-2"`), `"d"`, `"`+onlyDestination+`"`, 1)).Body,
		r.raw("UpdateDestination", strings.Replace(updateWith("RedshiftDestinationUpdate", `"Password":"SECRET-3"`), `"d"`, `"`+onlyDestination+`"`, 1)).Body,
		r.raw("DescribeDeliveryStream", `{"DeliveryStreamName":"s"}`).Body,
		r.raw("ListDeliveryStreams", `{}`).Body,
	}
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "s"))
	if got := d.Destination.Redshift.Password.Plain(); got != "SECRET-2" || d.Version != 2 {
		t.Errorf("version %d is kept with password %q", d.Version, got)
	}
	r.stop()
	for i, answer := range append(answers, r.logged.String()) {
		if strings.Contains(answer, "SECRET") {
			t.Errorf("%d: %s", i, answer)
		}
	}
	if !strings.Contains(answers[10], `"Username":"loader"`) || strings.Contains(answers[10], "Password") {
		t.Errorf("shown is %s", answers[10])
	}
}

func TestRedshiftValidation(t *testing.T) {
	const pattern = "satisfy regular expression pattern: "
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct {
		members string
		want    []string
	}{
		"nothing":     {``, []string{"roleARN: not be null", "clusterJDBCURL: not be null", "copyCommand: not be null", "s3Configuration: not be null"}},
		"no table":    {someRole + `,` + someCluster + `,` + someS3 + `,"CopyCommand":{}`, []string{"copyCommand.dataTableName: not be null"}},
		"short texts": {someRole + `,` + someCluster + `,` + someS3 + `,"CopyCommand":{"DataTableName":""},"Username":"","Password":"12345"`, []string{"copyCommand.dataTableName: have length greater than or equal to 1", "username: have length greater than or equal to 1", "password: have length greater than or equal to 6"}},
		"long texts": {
			someRole + `,` + someCluster + `,` + someS3 + `,"CopyCommand":{"DataTableName":"` + long(513) + `","DataTableColumns":"` + long(10241) + `","CopyOptions":"` + long(10241) + `"},"Username":"` + long(513) + `","Password":"` + long(513) + `"`,
			[]string{"copyCommand.dataTableName: have length less than or equal to 512", "copyCommand.dataTableColumns: have length less than or equal to 10240", "copyCommand.copyOptions: have length less than or equal to 10240", "username: have length less than or equal to 512", "password: have length less than or equal to 512"},
		},
		"an address": {someRole + `,` + someCopy + `,` + someS3 + `,"ClusterJDBCURL":"postgres://h:5439/dev"`, []string{"clusterJDBCURL: " + pattern + `jdbc:(redshift|postgresql)://[A-Za-z0-9][A-Za-z0-9.-]*:\d{1,5}/[a-zA-Z0-9_$-]+(\?.*)?`}},
		"lines":      {someRole + `,` + someCluster + `,` + someS3 + `,"CopyCommand":{"DataTableName":"t","CopyOptions":"CSV\nGZIP"}`, []string{"copyCommand.copyOptions: " + pattern + ".*"}},
		"the rest":   {someRedshift + `,"RetryOptions":{"DurationInSeconds":-1},"S3BackupMode":"AllDocuments"`, []string{"retryOptions.durationInSeconds: have value greater than or equal to 0", "s3BackupMode: satisfy enum value set: [Disabled, Enabled]"}},
		"too long":   {someRedshift + `,"RetryOptions":{"DurationInSeconds":7201}`, []string{"retryOptions.durationInSeconds: have value less than or equal to 7200"}},
		"S3":         {someRedshift + `,"S3Configuration":{},"S3BackupConfiguration":{}`, []string{"s3Configuration.roleARN: not be null", "s3Configuration.bucketARN: not be null", "s3BackupConfiguration.roleARN: not be null", "s3BackupConfiguration.bucketARN: not be null"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := make([]string, len(test.want))
			for i, text := range test.want {
				want[i] = "redshiftDestinationConfiguration." + text
			}
			checkRefused(t, "CreateDeliveryStream", `{"DeliveryStreamName":"s","`+redshiftShape+`":{`+test.members+`}}`, "ValidationException", violationsOf(want...))
		})
	}
}

func TestRedshiftInvalidArguments(t *testing.T) {
	const needsUser = ": give Username and Password"
	s3 := func(members string) string {
		return `"S3Configuration":{` + someBucket + `,` + someRole + `,` + members + `}`
	}
	without := func(member string) string {
		return strings.Replace(someRedshift, member+",", "", 1)
	}
	for name, test := range map[string]struct{ members, message string }{
		"no user":                {without(someUser), needsUser},
		"no password":            {without(somePassword), needsUser},
		"a secret elsewhere":     {without(someUser) + `,"SecretsManagerConfiguration":{"Enabled":true,"SecretARN":"arn:aws:secretsmanager:us-east-1:000000000000:secret:s"}`, ": give Username and Password: SecretsManagerConfiguration is not built yet"},
		"no secret anywhere":     {without(someUser) + `,"SecretsManagerConfiguration":{"Enabled":false}`, needsUser},
		"a user that ends early": {someRedshift + `,"Username":"a\u0000b"`, ": neither Username nor Password can have a character of code 0"},
		"ZIP":                    {someRedshift + `,` + s3(`"CompressionFormat":"ZIP"`), ": Redshift loads no objects of that CompressionFormat: give UNCOMPRESSED or GZIP"},
		"Snappy":                 {someRedshift + `,` + s3(`"CompressionFormat":"Snappy"`), ": Redshift loads no objects of that CompressionFormat: give UNCOMPRESSED or GZIP"},
		"an expression":          {someRedshift + `,` + s3(`"Prefix":"!{timestamp:yyyy}/","ErrorOutputPrefix":"e/!{firehose:error-output-type}/"`), ": the Prefix and ErrorOutputPrefix of what is loaded into Redshift cannot have expressions"},
		"errors by expression":   {someRedshift + `,` + s3(`"ErrorOutputPrefix":"e/!{firehose:error-output-type}/"`), ": the Prefix and ErrorOutputPrefix of what is loaded into Redshift cannot have expressions"},
		"half a hint":            {someRedshift + `,` + s3(`"BufferingHints":{"SizeInMBs":1}`), ".S3Configuration.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"half a hint of backup":  {someRedshift + `,"S3BackupMode":"Enabled","S3BackupConfiguration":{` + someBucket + `,` + someRole + `,"BufferingHints":{"SizeInMBs":1}}`, ".S3BackupConfiguration.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
		"a backup of no place":   {someRedshift + `,"S3BackupMode":"Enabled"`, ".S3BackupMode: Enabled needs the settings of the backup"},
		"a backup that is off":   {someRedshift + `,"S3BackupConfiguration":{` + someBucket + `,` + someRole + `}`, ".S3BackupConfiguration: a backup needs S3BackupMode Enabled"},
		"processing":             {someRedshift + `,"ProcessingConfiguration":{"Enabled":true}`, ": ProcessingConfiguration is not built yet"},
		"a port":                 {someRedshift + `,"ClusterJDBCURL":"jdbc:redshift://h:65536/d"`, ".ClusterJDBCURL: the port is not one of 1 to 65535"},
		"a password, shown":      {someRedshift + `,"ClusterJDBCURL":"jdbc:redshift://h:1/d?user=u&password=SECRET"`, ".ClusterJDBCURL: user and password do not belong into the address, which everybody is shown"},
		"a parameter":            {someRedshift + `,"ClusterJDBCURL":"jdbc:redshift://h:1/d?sslrootcert=/etc/passwd"`, ".ClusterJDBCURL: of the parameters only ssl and sslmode are supported"},
		"two statements":         {someRedshift + `,"CopyCommand":{"DataTableName":"t","CopyOptions":"CSV; DROP TABLE t"}`, ".CopyCommand.CopyOptions: it has a semicolon outside quotes, which ends the statement"},
		"an open quote":          {someRedshift + `,"CopyCommand":{"DataTableName":"t","DataTableColumns":"a,\"b"}`, ".CopyCommand.DataTableColumns: it has a quote that is not closed"},
		"a comment":              {someRedshift + `,"CopyCommand":{"DataTableName":"t--"}`, ".CopyCommand.DataTableName: it has a comment"},
	} {
		t.Run(name, func(t *testing.T) {
			// A member that is given twice counts with its last value, in the order of the text.
			body := `{"DeliveryStreamName":"s","` + redshiftShape + `":{` + test.members + `}}`
			checkRefused(t, "CreateDeliveryStream", body, "InvalidArgumentException", redshiftShape+test.message)
		})
	}
}

// TestRedshiftUpdatesAreChecked has updates that are wrong alone, or together with what is kept.
func TestRedshiftUpdatesAreChecked(t *testing.T) {
	t.Parallel()
	r := newSite(t).start()
	r.createRedshift("s", redshift())
	for name, test := range map[string]struct {
		update  types.RedshiftDestinationUpdate
		message string
	}{
		"compression": {types.RedshiftDestinationUpdate{S3Update: &types.S3DestinationUpdate{CompressionFormat: types.CompressionFormatHadoopSnappy}}, ": Redshift loads no objects of that CompressionFormat: give UNCOMPRESSED or GZIP"},
		"a prefix":    {types.RedshiftDestinationUpdate{S3Update: &types.S3DestinationUpdate{Prefix: aws.String("!{timestamp:yyyy}/")}}, ": the Prefix and ErrorOutputPrefix of what is loaded into Redshift cannot have expressions"},
		"an address":  {types.RedshiftDestinationUpdate{ClusterJDBCURL: aws.String("jdbc:redshift://h:0/d")}, ".ClusterJDBCURL: the port is not one of 1 to 65535"},
		"a statement": {types.RedshiftDestinationUpdate{CopyCommand: &types.CopyCommand{DataTableName: aws.String("t"), CopyOptions: aws.String(";")}}, ".CopyCommand.CopyOptions: it has a semicolon outside quotes, which ends the statement"},
		"a secret":    {types.RedshiftDestinationUpdate{SecretsManagerConfiguration: &types.SecretsManagerConfiguration{Enabled: aws.Bool(true)}}, ": give Username and Password: SecretsManagerConfiguration is not built yet"},
		"half a hint": {types.RedshiftDestinationUpdate{S3Update: &types.S3DestinationUpdate{BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1)}}}, ".S3Update.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, r.updateRedshift("s", "1", &test.update), "InvalidArgumentException", "RedshiftDestinationUpdate"+test.message)
		})
	}
	if d := must[*types.DeliveryStreamDescription](t)(r.describe("s")); *d.VersionId != "1" {
		t.Errorf("it is at version %s", *d.VersionId)
	}
}
