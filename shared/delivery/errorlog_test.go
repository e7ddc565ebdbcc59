package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// logged is an error log with a clock of its own.
type logged struct {
	*errorLog
	i   *installation
	now time.Time
	log *logtest.Lines
}

func (i *installation) errorLog() *logged {
	l := &logged{i: i, now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), log: new(logtest.Lines)}
	l.errorLog = newErrorLog(i.js, testConfig(), textLog(l.log))
	l.errorLog.now = func() time.Time { return l.now }
	return l
}

func (l *logged) fail(d *catalog.DeliveryStream, code string, times int) {
	for range times {
		l.failed(l.i.t.Context(), d, LogEntry{ErrorCode: code, Message: "It failed."})
	}
}

// suppressed returns the number left out that each entry of a code tells of.
func (l *logged) suppressed(code string) (all []int) {
	l.i.t.Helper()
	for _, e := range l.i.errors() {
		if e.ErrorCode == code {
			all = append(all, e.Suppressed)
		}
	}
	return all
}

func wantInts(t *testing.T, what string, got []int, want ...int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: the entries tell of %v left out, want %v", what, got, want)
	}
}

var burst = make([]int, sampleBurst) // as many entries, that tell of nothing left out

func TestManyFailuresAreSampled(t *testing.T) {
	t.Parallel()
	i := install(t)
	d, other := i.stream("a"), i.stream("b")
	l := i.errorLog()
	l.fail(d, "S3.AccessDenied", 25)
	wantInts(t, "a burst", l.suppressed("S3.AccessDenied"), burst...)
	l.fail(d, "S3.NoSuchBucket", 1)
	wantInts(t, "the first of another code", l.suppressed("S3.NoSuchBucket"), 0)
	l.fail(other, "S3.NoSuchBucket", 1)
	wantInts(t, "the first of another delivery stream", l.suppressed("S3.NoSuchBucket"), 0, 0)

	l.now = l.now.Add(sampleEvery - time.Millisecond)
	l.fail(d, "S3.AccessDenied", 1)
	wantInts(t, "too soon", l.suppressed("S3.AccessDenied"), burst...)
	l.now = l.now.Add(time.Millisecond)
	l.fail(d, "S3.AccessDenied", 3)
	wantInts(t, "the next", l.suppressed("S3.AccessDenied"), append(burst, 16)...)

	l.now = l.now.Add(-time.Hour) // a clock that was set back allows nothing, and loses nothing
	l.fail(d, "S3.AccessDenied", 1)
	l.now = l.now.Add(time.Hour + sampleEvery)
	l.fail(d, "S3.AccessDenied", 1)
	wantInts(t, "after the clock was set back", l.suppressed("S3.AccessDenied"), append(burst, 16, 3)...)

	l.now = l.now.Add(time.Hour)
	l.fail(d, "S3.AccessDenied", sampleBurst+1)
	wantInts(t, "after an hour", l.suppressed("S3.AccessDenied"), append(append(burst, 16, 3), burst...)...)
}

func TestLeftOutIsToldAfterASuccess(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	l := i.errorLog()
	l.fail(d, "S3.AccessDenied", sampleBurst+3)
	l.succeeded(t.Context(), d)
	wantInts(t, "a success within the rate", l.suppressed("S3.AccessDenied"), burst...)
	l.now = l.now.Add(sampleEvery)
	l.succeeded(t.Context(), d)
	l.succeeded(t.Context(), d)
	wantInts(t, "a success later", l.suppressed("S3.AccessDenied"), append(burst, 2)...)
}

func TestLeftOutIsToldAtTheEnd(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	l := i.errorLog()
	l.fail(d, "S3.AccessDenied", sampleBurst+3)
	l.fail(d, "InternalError", sampleBurst+1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l.close(ended)
	wantInts(t, "of one code", l.suppressed("S3.AccessDenied"), append(burst, 2)...)
	wantInts(t, "of another", l.suppressed("InternalError"), append(burst, 0)...)

	l.fail(d, "S3.AccessDenied", sampleBurst+4)
	i.server.Stop()
	l.close(t.Context())
	if text := l.log.String(); !strings.Contains(text, "left_out=3") {
		t.Errorf("what could not be written is not counted: %s", text)
	}
	i.server.Restart()
}

// Which entries a delivery stream's settings allow, and where they go.
func TestLoggingOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options *types.CloudWatchLoggingOptions
		failed  int // entries of a failure
		subject string
		group   string
	}{
		{"none", nil, 0, "errors.a~b.S3Delivery", "/aws/kinesisfirehose/a.b"},
		{"off", &types.CloudWatchLoggingOptions{Enabled: ptr(false)}, 0, "errors.a~b.S3Delivery", "/aws/kinesisfirehose/a.b"},
		{"on", &types.CloudWatchLoggingOptions{Enabled: ptr(true)}, 1, "errors.a~b.S3Delivery", "/aws/kinesisfirehose/a.b"},
		{
			"elsewhere", &types.CloudWatchLoggingOptions{Enabled: ptr(true), LogGroupName: ptr("g/h"), LogStreamName: ptr("my log.1")},
			1, "errors.a~b.my~20log~2e1", "g/h",
		},
		{
			"off, elsewhere", &types.CloudWatchLoggingOptions{LogGroupName: ptr("g"), LogStreamName: ptr("s")},
			0, "errors.a~b.s", "g",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			d := i.stream("a.b")
			d.Destination.S3.CloudWatchLoggingOptions = c.options
			l := i.errorLog()
			l.fail(d, "S3.AccessDenied", 1)
			if n := len(i.errors()); n != c.failed {
				t.Errorf("%d entries of a failure, want %d", n, c.failed)
			}
			l.warned(t.Context(), d, LogEntry{ErrorCode: "S3.NotEncrypted"})
			if n := len(i.errors()); n != c.failed+1 {
				t.Errorf("%d entries, want %d: one is of what the owner has to know", n, c.failed+1)
			}
			l.lost(t.Context(), d, LogEntry{ErrorCode: CodeExpired})
			stream, err := i.js.Stream(t.Context(), names.ErrorsStream)
			if err != nil {
				t.Fatal(err)
			}
			m, err := stream.GetLastMsgForSubject(t.Context(), c.subject)
			if err != nil {
				t.Fatalf("on %s: %v", c.subject, err)
			}
			e, err := DecodeLogEntry(m.Data)
			if err != nil || e.ErrorCode != CodeExpired || e.LogGroup != c.group || !e.Time.Equal(l.now) {
				t.Errorf("the entry of a loss is %+v, %v", e, err)
			}
		})
	}
}

// The settings that count are those of the attempt.
func TestLoggingIsSwitchedOn(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	i.logging("a", nil)
	tried := make(chan int, 1000)
	to := newDestination(func(_ context.Context, a Attempt) (Result, error) {
		select {
		case tried <- a.Stream.Version:
		default:
		}
		return Result{}, &Error{Class: Retryable, Code: "S3.AccessDenied", Message: "Access was denied."}
	})
	i.run(testConfig(), to)
	id := i.cut(describe(stream, 0))
	for range 3 {
		<-tried
	}
	if n := len(i.errors()); n != 0 {
		t.Errorf("%d entries while logging is off", n)
	}
	i.logging("a", &types.CloudWatchLoggingOptions{Enabled: ptr(true)})
	natstest.WaitFor(t, "an entry", func() bool { return len(i.errors()) > 0 })
	if e := i.errors()[0]; e.Batch != id || e.DeliveryStreamVersionID != 3 {
		t.Errorf("the first entry is %+v", e)
	}
}

func TestDetailHasNoCredentials(t *testing.T) {
	const secret = "hidden"
	for _, c := range []struct{ name, text, want string }{
		{"plain", "operation error S3: PutObject, https response error StatusCode: 403, api error SignatureDoesNotMatch: The request signature we calculated does not match", ""},
		{"expired token", "api error ExpiredToken: The provided token has expired.", ""},
		{"object", "s3://bucket/logs@eu/2026?: no answer within 60s", ""},
		{"user and password", `Put "https://me:hidden@s3.example.com/bucket/key?x-id=PutObject": dial tcp: lookup s3.example.com`, `Put "https://***@s3.example.com/bucket/key?x-id=PutObject": dial tcp: lookup s3.example.com`},
		{"password with an at sign", "http://me:hid@den-hidden@host/", "http://***@host/"},
		{"presigned", "GET https://b.s3.amazonaws.com/k?X-Amz-Credential=hidden%2F2026&X-Amz-Date=20261126T000000Z&X-Amz-Security-Token=hidden&X-Amz-Signature=hidden: EOF", "GET https://b.s3.amazonaws.com/k?X-Amz-Credential=***&X-Amz-Date=20261126T000000Z&X-Amz-Security-Token=***&X-Amz-Signature=***"},
		{"older signature", "http://b/k?AWSAccessKeyId=hidden&Expires=1&Signature=hidden", "http://b/k?AWSAccessKeyId=***&Expires=1&Signature=***"},
		{"header", "bad header Authorization: AWS4-HMAC-SHA256 Credential=hidden/20261126/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=hidden", "bad header Authorization: AWS4-HMAC-SHA256 ***, SignedHeaders=host, Signature=***"},
		{"bearer", `{"authorization": "Bearer hidden"}`, `{"authorization": "Bearer ***"}`},
		{"JSON", `{"SecretAccessKey":"hidden","SessionToken":"hidden","Password":"hidden"}`, `{"SecretAccessKey":"***","SessionToken":"***","Password":"***"}`},
		{"XML", "<Error><Token-0>hidden</Token-0><StringToSign>hidden\nhidden</StringToSign></Error>", "<Error><Token-0>***</Token-0><StringToSign>***</StringToSign></Error>"},
		{"several lines", "one\n\ttwo\x1b[31m\x00 three\xff", "one  two[31m three"},
		{"long", strings.Repeat("é", mostDetail), strings.Repeat("é", mostDetail/2-2) + "..."},
		{"flood", strings.Repeat("x ", 3*mostDetail) + "password=hidden", strings.Repeat("x ", mostDetail/2-2) + "x..."},
		{"a flood without a word", "http://me:" + strings.Repeat("hidden", mostDetail) + "@host", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" && !strings.Contains(c.text, secret) {
				want = c.text
			}
			got := newCleaner().detail(errors.New(c.text))
			if !strings.HasPrefix(got, want) || want == "" && got != "" || len(got) > mostDetail {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if strings.Contains(got, secret) {
				t.Errorf("a secret is in %q", got)
			}
		})
	}
	if got := newCleaner().detail(nil); got != "" {
		t.Errorf("no error has the detail %q", got)
	}
}

// Whatever a destination says, what is shown of it is a short printable line, and cleaning it again changes nothing that
// matters.
func FuzzDetail(f *testing.F) {
	for _, text := range []string{"", "http://a:b@c", "Signature=x", "\x00\xff\n", strings.Repeat("é", 5000)} {
		f.Add(text)
	}
	cleaner := newCleaner()
	f.Fuzz(func(t *testing.T, text string) {
		got := cleaner.clean(text, 100)
		if len(got) > 100 || strings.ContainsAny(got, "\n\r\x1b\x00") {
			t.Errorf("%q became %q", text, got)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
		around := cleaner.clean("dial http://me:hid"+"den@host/"+strings.ReplaceAll(text, "hidden", ""), 100)
		if strings.Contains(around, "hidden") {
			t.Errorf("a password is in %q", around)
		}
	})
}

func TestDecodeLogEntry(t *testing.T) {
	if _, err := DecodeLogEntry([]byte(`{"format":2,"time":7}`)); !errors.Is(err, format.ErrNewer) {
		t.Errorf("of a newer version: %v", err)
	}
	if _, err := DecodeLogEntry([]byte(`hello`)); err == nil {
		t.Error("what is no entry is one")
	}
	if e, err := DecodeLogEntry([]byte(`{"format":1,"errorCode":"X","more":1}`)); err != nil || e.ErrorCode != "X" {
		t.Errorf("got %+v, %v", e, err)
	}
}

// An entry that cannot be written is no reason for anything.
func TestErrorLogMayBeAway(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	if err := i.js.DeleteStream(t.Context(), names.ErrorsStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatal(err)
	}
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number == 1 {
			return Result{}, errors.New("not yet")
		}
		return succeed(ctx, a)
	})
	r := i.run(testConfig(), to)
	i.awaitOutcome(i.cut(describe(stream, 0)))
	i.awaitAllAcknowledged(stream)
	if !strings.Contains(r.log.String(), "error log entry not written") {
		t.Error("nobody is told")
	}
}
