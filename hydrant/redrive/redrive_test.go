package redrive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
	"hydrant/shared/s3test"
	"hydrant/shared/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

const password = "SECRET-Pa55word"

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// parsed is the command as a user gives it.
func parsed(t *testing.T, args ...string) (Command, error) {
	t.Helper()
	var c Command
	parser, err := settings.Parser("hydrant redrive", "", &c, io.Discard, io.Discard, func(int) {})
	check(t, err)
	_, err = parser.Parse(args)
	return c, err
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"demo", ""},
		{"demo --since 24h --dry-run --limit 3 --json", ""},
		{"demo --from 2026-11-27T08:00:00Z --to 2026-11-27T09:00:00+01:00", "--to"},
		{"demo --from 2026-11-27T08:00:00Z --to 2026-11-27T10:00:00+01:00", ""},
		{"demo --to 2026-11-27T08:00:00Z", ""},
		{"demo --since 1h --from 2026-11-27T08:00:00Z", "--since (HYDRANT_SINCE)"},
		{"demo --since=-1h", "--since (HYDRANT_SINCE)"},
		{"demo --limit=-1", "--limit (HYDRANT_LIMIT)"},
		{"demo --s3-access-key-id x", "--s3-access-key-id"},
		{"demo --from yesterday", "--from"},
		{"", "stream"},
	} {
		_, err := parsed(t, strings.Fields(tt.args)...)
		if tt.want == "" {
			check(t, err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q is answered with %v, want %s", tt.args, err, tt.want)
		}
	}
}

func TestSpan(t *testing.T) {
	now := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	c, err := parsed(t, "demo", "--since", "2h")
	check(t, err)
	wantEqual(t, "the range", c.span(now), redrive.Range{From: now.Add(-2 * time.Hour)})
	c, err = parsed(t, "demo", "--to", "2026-11-27T08:00:00Z")
	check(t, err)
	wantEqual(t, "the range", c.span(now.Add(time.Hour)), redrive.Range{To: now})
}

// installation is Hydrant's state in NATS, and a bucket, written by hand: no service runs.
type installation struct {
	t   *testing.T
	s3  *s3test.Server
	cfg broker.Config
	doc *catalog.DeliveryStream
}

func newInstallation(t *testing.T, to catalog.Destination) *installation {
	t.Helper()
	s := natstest.Start(t)
	in := &installation{t: t, s3: s3test.Start(t), cfg: broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: time.Hour}}
	check(t, broker.Prepare(t.Context(), s.JetStream(), in.cfg, slog.New(slog.DiscardHandler)))
	to.ID = "destinationId-000000000001"
	in.doc = &catalog.DeliveryStream{
		Name: "demo", ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 3600,
		Version: 1, Destination: to,
	}
	c, err := catalog.Open(t.Context(), s.JetStream())
	check(t, err)
	check(t, c.Create(t.Context(), in.doc))
	return in
}

// run is the command's whole output, and its error.
func (in *installation) run(args ...string) (stdout, progress string, err error) {
	in.t.Helper()
	return in.runIn(in.t.Context(), args...)
}

func (in *installation) runIn(ctx context.Context, args ...string) (stdout, progress string, err error) {
	in.t.Helper()
	c, err := parsed(in.t, append(args, "--nats-url", in.cfg.NATSURL, "--s3-endpoint", in.s3.URL(), "--s3-path-style",
		"--s3-access-key-id", s3test.AccessKey, "--s3-secret-access-key", s3test.SecretKey)...)
	check(in.t, err)
	var out, told bytes.Buffer
	c.Progress = &told
	err = c.Run(ctx, &out)
	for _, secret := range []string{password, s3test.SecretKey} {
		if text := out.String() + told.String(); strings.Contains(text, secret) || err != nil && strings.Contains(err.Error(), secret) {
			in.t.Errorf("a secret is in %q or %v", text, err)
		}
	}
	return out.String(), told.String(), err
}

func wantText(t *testing.T, got string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

func toS3() catalog.Destination {
	return catalog.Destination{S3: &types.ExtendedS3DestinationDescription{
		BucketARN: aws.String("arn:aws:s3:::data"), BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
	}}
}

// toRedshift is a database that is not there.
func toRedshift(t *testing.T) catalog.Destination {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	check(t, l.Close())
	return catalog.Destination{Redshift: &catalog.RedshiftDestination{
		Password: catalog.NewPassword(password),
		Description: types.RedshiftDestinationDescription{
			ClusterJDBCURL: aws.String("jdbc:redshift://" + l.Addr().String() + "/dev?ssl=false"), Username: aws.String("owner"),
			CopyCommand: &types.CopyCommand{DataTableName: aws.String("events")}, S3BackupMode: types.RedshiftS3BackupModeDisabled,
			S3DestinationDescription: &types.S3DestinationDescription{
				BucketARN: aws.String("arn:aws:s3:::data"), BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
			},
		},
	}}
}

func (in *installation) put(key, content, batch string) {
	in.t.Helper()
	_, err := in.s3.Client.PutObject(in.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("data"), Key: &key, Body: strings.NewReader(content), Metadata: map[string]string{
			objectstore.MetadataBatch: batch, objectstore.MetadataRecords: "3", redrive.MetadataCode: "Redshift.TableNotFound", redrive.MetadataReason: "no table",
		},
	})
	check(in.t, err)
}

// setAside puts an error manifest into the bucket, and the object that it names.
func (in *installation) setAside(name string) {
	id := string(in.doc.ID)
	in.put("staged/"+name, "{}", id+".s3.0.1-3")
	in.put("errors/manifests/2026/11/27/08/demo-1-"+name, `{"entries":[{"url":"s3://data/staged/`+name+`","mandatory":true}]}`, id+".redshift."+name)
}

func TestWhatThereIsNothingFor(t *testing.T) {
	in := newInstallation(t, toS3())
	out, _, err := in.run("demo")
	check(t, err)
	wantText(t, out, "demo delivers to S3", "nothing of it is set aside", "hydrant status demo")
	_, _, err = in.run("another")
	if !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("an unknown delivery stream is answered with %v", err)
	}
}

func TestWhereThereIsNothing(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	check(t, l.Close())
	c, err := parsed(t, "demo", "--nats-url", "nats://user:"+password+"@"+l.Addr().String())
	check(t, err)
	err = c.Run(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "is Hydrant running?") || strings.Contains(err.Error(), password) {
		t.Errorf("without NATS it is answered with %v", err)
	}
	c, err = parsed(t, "demo", "--nats-url", natstest.Start(t).URL())
	check(t, err)
	if err := c.Run(t.Context(), io.Discard); !errors.Is(err, inspect.ErrNoInstallation) {
		t.Errorf("without an installation it is answered with %v", err)
	}
}

func TestDryRun(t *testing.T) {
	in := newInstallation(t, toRedshift(t))
	out, _, err := in.run("demo", "--dry-run")
	check(t, err)
	wantEqual(t, "what it says of nothing", out, "nothing of demo is set aside there\n")
	in.setAside("a")
	in.setAside("b")
	before := strings.Join(in.s3.Keys("data"), " ")
	out, told, err := in.run("demo", "--dry-run")
	check(t, err)
	wantEqual(t, "what it says", out, "2 objects of demo set aside, with 6 records; nothing was changed\n")
	wantText(t, told, "2 objects to look at\n", "1 of 2: s3://data/errors/manifests/2026/11/27/08/demo-1-a: 3 records, set aside 20",
		"because of Redshift.TableNotFound: no table", "2 of 2: s3://data/errors/manifests/2026/11/27/08/demo-1-b: ")
	out, _, err = in.run("demo", "--dry-run", "--limit", "1", "--json")
	check(t, err)
	lines := strings.Split(out, "\n")
	var one document
	check(t, json.Unmarshal([]byte(lines[0]), &one))
	wantEqual(t, "the object", one.Object, "s3://data/errors/manifests/2026/11/27/08/demo-1-a")
	wantEqual(t, "the records", one.Records, 3)
	wantEqual(t, "why", one.Code, "Redshift.TableNotFound")
	var all struct {
		Stream string
		Report redrive.Report
	}
	check(t, json.Unmarshal([]byte(lines[1]), &all))
	wantEqual(t, "all", all.Report, redrive.Report{DryRun: true, Items: 1, Records: 3, More: true})
	wantEqual(t, "the bucket", strings.Join(in.s3.Keys("data"), " "), before)
}

// TestDatabaseAway ends with an error that says what is wrong, at the first object; everything stays.
func TestDatabaseAway(t *testing.T) {
	in := newInstallation(t, toRedshift(t))
	in.setAside("a")
	in.setAside("b")
	out, told, err := in.run("demo")
	if err == nil {
		t.Fatal("it ended well")
	}
	wantText(t, err.Error(), "Redshift.ConnectionFailed", "connection refused", "The cluster cannot be reached")
	wantText(t, told, "1 of 2: ", "0 records delivered, 3 not delivered; left where it is")
	wantText(t, out, "demo: 0 records delivered, 3 not delivered; 0 objects done, 1 left, in ")
	for _, key := range []string{"errors/manifests/2026/11/27/08/demo-1-a", "errors/manifests/2026/11/27/08/demo-1-b"} {
		in.s3.Content("data", key)
	}
	out, _, err = in.run("demo", "--json")
	if err == nil {
		t.Fatal("it ended well")
	}
	var one document
	check(t, json.Unmarshal([]byte(strings.Split(out, "\n")[0]), &one))
	wantEqual(t, "the code", one.ErrorCode, "Redshift.ConnectionFailed")
	wantEqual(t, "what is left", one.Left, 3)
}

func TestSomethingIsLeft(t *testing.T) {
	in := newInstallation(t, toRedshift(t))
	in.setAside("a")
	in.put("errors/manifests/2026/11/27/08/demo-1-a", "no manifest", string(in.doc.ID)+".redshift.a")
	_, told, err := in.run("demo")
	if err == nil || !strings.Contains(err.Error(), "something is left") {
		t.Errorf("it ended with %v", err)
	}
	wantText(t, told, "left where it is; InternalError: The manifest is left as it is.")
}

func TestEndedEarly(t *testing.T) {
	in := newInstallation(t, toRedshift(t))
	in.setAside("a")
	ctx, cancel := context.WithCancel(t.Context())
	in.s3.Fail("HeadObject", 1, func(store http.Handler, w http.ResponseWriter, q *http.Request) { cancel(); store.ServeHTTP(w, q) })
	_, _, err := in.runIn(ctx, "demo")
	if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another run goes on with it") {
		t.Errorf("it ended with %v", err)
	}
}

// TestLine has what is told of each kind of outcome.
func TestLine(t *testing.T) {
	why := &delivery.Error{Code: "X", Message: "Do something.", Err: errors.New("the server's words")}
	for want, step := range map[string]redrive.Step{
		"1 record delivered, 2 delivered before; moved to s3://b/aside": {Outcome: redrive.Outcome{Delivered: 1, Already: 2}, Aside: "s3://b/aside"},
		"2 records delivered, 1 not delivered; moved to s3://b/aside; what is left is in s3://b/rest; X: Do something. (the server's words)": {
			Outcome: redrive.Outcome{Delivered: 2, Left: 1, Rest: "s3://b/rest", Why: why}, Aside: "s3://b/aside",
		},
		"0 records delivered, 3 not delivered; left where it is; X: Do something. (the server's words)": {Outcome: redrive.Outcome{Left: 3, Why: why}},
		"0 records delivered, 3 not delivered; left where it is":                                        {Outcome: redrive.Outcome{Left: 3, Why: why}, Err: why},
	} {
		wantEqual(t, "the line", line(step, false), want)
	}
}

// TestSay leaves out what a terminal would take for a command: names and reasons are anybody's.
func TestSay(t *testing.T) {
	var told bytes.Buffer
	teller := &teller{progress: &told}
	teller.say("s3://b/\x1b[31mx\n: done")
	wantEqual(t, "the line", told.String(), "s3://b/[31mx : done\n")
}
