package logs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// installation is Hydrant's state in NATS, written by hand: no service runs.
type installation struct {
	t    *testing.T
	nats *natstest.Server
	js   jetstream.JetStream
	cfg  broker.Config
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	s := natstest.Start(t)
	in := &installation{t: t, nats: s, js: s.JetStream(), cfg: broker.Config{NATSURL: s.URL(), Replicas: 1, Retention: time.Hour}}
	in.must(broker.Prepare(t.Context(), in.js, in.cfg, slog.New(slog.DiscardHandler)))
	return in
}

func (in *installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

// stream makes a delivery stream with a backup.
func (in *installation) stream(name names.Stream, to, backup *types.CloudWatchLoggingOptions) {
	in.t.Helper()
	c, err := catalog.Open(in.t.Context(), in.js)
	in.must(err)
	hints := &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)}
	in.must(c.Create(in.t.Context(), &catalog.DeliveryStream{
		Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 3600, Version: 3,
		Destination: catalog.Destination{ID: "destinationId-000000000001", S3: &types.ExtendedS3DestinationDescription{
			BufferingHints: hints, CloudWatchLoggingOptions: to, S3BackupMode: types.S3BackupModeEnabled,
			S3BackupDescription: &types.S3DestinationDescription{BufferingHints: hints, CloudWatchLoggingOptions: backup},
		}},
	}))
}

func on() *types.CloudWatchLoggingOptions {
	return &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)}
}

func example(n int) delivery.LogEntry {
	return delivery.LogEntry{
		Format: 1, DeliveryStreamARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/demo", Destination: "arn:aws:s3:::data",
		DeliveryStreamVersionID: 3, ErrorCode: "S3.NoSuchBucket", Message: "The bucket does not exist. Create it, or change the delivery stream to one that does.",
		Detail:    "s3://data/2026/11/26/12/demo-3-2026-11-26-12-00-00-abcdefghijk: operation error S3: PutObject, https response error StatusCode: 404, RequestID: 4442587FB7D0A2F9, HostID: host, NoSuchBucket: \x1b[31mThe specified bucket does not exist",
		RequestID: "4442587FB7D0A2F9", HostID: "host", Bucket: "data", LogGroup: "/aws/kinesisfirehose/demo", LogStream: "S3Delivery",
		Batch: "abcdefghij234567.s3.0.1-10", Attempt: n, Records: 100, Time: time.Date(2026, 11, 26, 12, 0, n, 0, time.UTC),
	}
}

func (in *installation) entry(logStream string, e delivery.LogEntry) {
	in.t.Helper()
	data, err := json.Marshal(e)
	in.must(err)
	in.publish(names.ErrorsSubject("demo", logStream), data)
}

func (in *installation) publish(subject string, data []byte) {
	in.t.Helper()
	_, err := in.js.Publish(in.t.Context(), subject, data)
	in.must(err)
}

func (in *installation) command() Command {
	return Command{NATS: in.cfg, Stream: "demo", Since: time.Hour, Last: 100}
}

func (in *installation) output(c Command) string {
	in.t.Helper()
	var out bytes.Buffer
	in.must(c.Run(in.t.Context(), &out))
	return out.String()
}

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
	}
}

func TestText(t *testing.T) {
	in := newInstallation(t)
	in.stream("demo", on(), on())
	in.entry("S3Delivery", example(1))
	lost := delivery.LogEntry{
		Format: 1, ErrorCode: delivery.CodeExpired, Message: "Records were not delivered before their retention was over and are lost.",
		LogStream: "BackupDelivery", Batch: "abcdefghij234567.backup.0.1-10", Records: 7, Time: time.Date(2026, 11, 26, 13, 0, 0, 5e8, time.UTC),
	}
	in.entry("BackupDelivery", lost)
	in.entry("ElasticsearchDelivery", delivery.LogEntry{
		Format: 1, ErrorCode: "400", Message: "Documents were refused and set aside.", LogStream: "ElasticsearchDelivery", Batch: "abcdefghij234567.es.0.1-10",
		Records: 3, SetAsideAt: "s3://data/elasticsearch-failed/2026/11/26/13/x", Time: time.Date(2026, 11, 26, 13, 0, 1, 0, time.UTC),
	})
	again := example(2)
	again.Suppressed = 12
	in.entry("S3Delivery", again)
	golden(t, "entries.text", in.output(in.command()))

	c := in.command()
	c.LogStream = "BackupDelivery"
	if got := in.output(c); strings.Count(got, "2026-11-26T") != 1 || !strings.Contains(got, "RecordsExpired") {
		t.Errorf("one log stream is\n%s", got)
	}
	c = in.command()
	c.Last = 1
	if got := in.output(c); strings.Contains(got, "attempt 1,") || !strings.Contains(got, "attempt 2,") {
		t.Errorf("the last is\n%s", got)
	}
	c.Last = 0
	if got := in.output(c); got != in.output(in.command()) {
		t.Errorf("all are\n%s", got)
	}
}

func TestJSON(t *testing.T) {
	in := newInstallation(t)
	in.stream("demo", nil, nil)
	in.publish("errors.demo.S3Delivery", []byte("{\"format\":1,\n \"errorCode\": \"X\", \"new\": 1}"))
	in.publish("errors.demo.S3Delivery", []byte("hello"))
	in.publish("errors.demo.S3Delivery", []byte(`{"format":2}`))
	c := in.command()
	c.JSON = true
	if got, want := in.output(c), "{\"format\":1,\"errorCode\":\"X\",\"new\":1}\n{\"format\":2}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.JSON = false
	got := in.output(c)
	for _, want := range []string{" X \n", "newer version", "invalid character"} {
		if !strings.Contains(got, want) && !strings.Contains(got, strings.TrimSpace(want)) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestNoEntries(t *testing.T) {
	for _, c := range []struct {
		name       string
		to, backup *types.CloudWatchLoggingOptions
		want       []string
		not        []string
	}{
		{"on", on(), on(), []string{"no entries of demo in the last 1h0m0s\n"}, []string{"is off"}},
		{
			"off", nil, on(), []string{
				"no entries of demo", "Error logging of demo, leg s3, is off", "--current-delivery-stream-version-id 3",
				`'{"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"/aws/kinesisfirehose/demo","LogStreamName":"S3Delivery"}}'`,
			}, []string{"leg backup"},
		},
		{
			"off for the backup, with names", on(), &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false), LogGroupName: aws.String("it's"), LogStreamName: aws.String("s")},
			[]string{"leg backup, is off", `'{"S3BackupUpdate":{"CloudWatchLoggingOptions":{"Enabled":true,"LogGroupName":"it'\''s","LogStreamName":"s"}}}'`},
			[]string{"leg s3"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := newInstallation(t)
			in.stream("demo", c.to, c.backup)
			in.stream("other", on(), on())
			in.publish("errors.other.S3Delivery", []byte(`{"format":1}`))
			got := in.output(in.command())
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			for _, not := range c.not {
				if strings.Contains(got, not) {
					t.Errorf("%q in\n%s", not, got)
				}
			}
			command := in.command()
			command.JSON = true
			if got := in.output(command); got != "" {
				t.Errorf("as JSON: %q", got)
			}
		})
	}
}

func TestFollow(t *testing.T) {
	in := newInstallation(t)
	in.stream("demo", on(), on())
	in.entry("S3Delivery", example(1))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, ended := new(logtest.Lines), make(chan error, 1)
	c := in.command()
	c.Follow = true
	go func() { ended <- c.Run(ctx, out) }()
	has := func(text string) {
		t.Helper()
		natstest.WaitFor(t, text, func() bool { return strings.Contains(out.String(), text) })
	}
	has("attempt 1,")
	in.entry("S3Delivery", example(2))
	in.publish("errors.other.S3Delivery", []byte(`{"format":1}`))
	has("attempt 2,")

	in.nats.Stop()
	has("trying again until Ctrl-C")
	in.nats.Restart()
	natstest.WaitFor(t, "the test is connected", in.js.Conn().IsConnected)
	in.entry("BackupDelivery", example(3))
	in.entry("BackupDelivery", example(4))
	has("attempt 4,")
	cancel()
	in.must(<-ended)
	for n := range 4 {
		if got := strings.Count(out.String(), fmt.Sprintf("attempt %d,", n+1)); got != 1 {
			t.Errorf("entry %d is there %d times in\n%s", n+1, got, out)
		}
	}
	if n := strings.Count(out.String(), "trying again"); n != 1 {
		t.Errorf("the outage is told %d times", n)
	}
}

func TestFollowFromNothing(t *testing.T) {
	in := newInstallation(t)
	in.stream("demo", on(), on())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, ended := new(logtest.Lines), make(chan error, 1)
	c := in.command()
	c.Follow = true
	go func() { ended <- c.Run(ctx, out) }()
	natstest.WaitFor(t, "it waits", func() bool { return strings.Contains(out.String(), "waiting for entries until Ctrl-C") })
	in.entry("S3Delivery", example(1))
	natstest.WaitFor(t, "the entry", func() bool { return strings.Contains(out.String(), "attempt 1,") })
	cancel()
	in.must(<-ended)
}

func TestErrors(t *testing.T) {
	in := newInstallation(t)
	if err := in.command().Run(t.Context(), io.Discard); !errors.Is(err, catalog.ErrNotFound) || err.Error() != "delivery stream not found: demo" {
		t.Errorf("an unknown delivery stream: %v", err)
	}
	empty := in.command()
	empty.NATS.NATSURL = natstest.Start(t).URL()
	if err := empty.Run(t.Context(), io.Discard); !errors.Is(err, inspect.ErrNoInstallation) {
		t.Errorf("no installation: %v", err)
	}
	nobody := in.command()
	nobody.NATS.NATSURL = "nats://me:hidden@127.0.0.1:1"
	if err := nobody.Run(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "no NATS at nats://127.0.0.1:1: is Hydrant running?") {
		t.Errorf("no NATS: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := in.command().Run(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

func TestSettings(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string // of the error
	}{
		{"least", []string{"demo"}, ""},
		{"all", []string{"demo", "--log-stream=S3Delivery", "--since=1h", "-n", "5", "-f", "--json"}, ""},
		{"no stream", nil, "<stream>"},
		{"since", []string{"demo", "--since=1000h"}, "--since (HYDRANT_SINCE): 1000h0m0s is not accepted"},
		{"last", []string{"demo", "--last=-1"}, "--last (HYDRANT_LAST): -1 is not accepted"},
		{"NATS", []string{"demo", "--replicas=2"}, "HYDRANT_REPLICAS"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var program struct {
				Logs Command `cmd:""`
			}
			parser, err := settings.Parser("hydrant", "", &program, io.Discard, io.Discard, func(int) {})
			if err != nil {
				t.Fatal(err)
			}
			_, err = parser.Parse(append([]string{"logs"}, test.args...))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
