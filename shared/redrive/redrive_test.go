package redrive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/s3test"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// rig is a bucket in which objects are set aside, and a destination that does as it is told.
type rig struct {
	t     *testing.T
	s3    *s3test.Server
	walk  Walk
	under types.ExtendedS3DestinationDescription

	called []string // the last part of each key that was delivered
	do     func(Item) (Outcome, error)
	steps  []Step
}

var _ Destination = (*rig)(nil)

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, s3: s3test.Start(t)}
	r.under.BucketARN = aws.String("arn:aws:s3:::data")
	cfg := objectstore.Settings{
		S3Endpoint: r.s3.URL(), S3Region: "us-east-1", S3PathStyle: true, S3AccessKeyID: s3test.AccessKey, S3SecretAccessKey: s3test.SecretKey,
		S3Timeout: 10 * time.Second, S3Checksums: "supported", S3SignPayload: "always", S3ACL: "auto", PartSize: 5 << 20, PartMemory: 5 << 20,
	}
	store, err := objectstore.Open(t.Context(), cfg, objectstore.Names{Program: "test", Service: "test"},
		objectstore.Demand{Writers: 1, Backoff: time.Millisecond}, objectstore.NewBuffers(cfg), slog.New(slog.NewTextHandler(t.Output(), nil)))
	check(t, err)
	t.Cleanup(store.Close)
	r.walk = Walk{Store: store, Told: func(s Step) { r.steps = append(r.steps, s) }}
	r.do = func(i Item) (Outcome, error) { return Outcome{Delivered: i.Records()}, nil }
	return r
}

// Source implements Destination.
func (r *rig) Source() Source {
	return Source{Stream: &catalog.DeliveryStream{Name: "demo", ID: "one", Version: 7}, Leg: names.LegES, S3: &r.under, ErrorType: "failed"}
}

// Redrive implements Destination.
func (r *rig) Redrive(_ context.Context, i Item) (Outcome, error) {
	r.called = append(r.called, i.Object.Key[strings.LastIndexByte(i.Object.Key, '-')+1:])
	return r.do(i)
}

func (r *rig) put(key, batch string) {
	r.t.Helper()
	metadata := map[string]string{objectstore.MetadataBatch: batch, objectstore.MetadataRecords: "3", MetadataCode: "404", MetadataReason: "gone"}
	_, err := r.s3.Client.PutObject(r.t.Context(), &s3.PutObjectInput{
		Bucket: aws.String("data"), Key: &key, Body: strings.NewReader("x"), Metadata: metadata,
	})
	check(r.t, err)
}

func (r *rig) run() (Report, error) {
	r.called, r.steps = nil, nil
	return r.walk.Run(r.t.Context(), r)
}

func (r *rig) keys() string { return strings.Join(r.s3.Keys("data"), " ") }

// TestWhatIsFound has objects of others around those that are meant.
func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ errorPrefix, folder string }{
		"no prefix":             {"", "failed/2026/11/27/08/"},
		"a prefix":              {"my/", "my/failed/2026/11/27/08/"},
		"expressions":           {"my/!{firehose:error-output-type}/!{timestamp:yyyy}/", "my/failed/2026/"},
		"nothing in common":     {"!{firehose:random-string}/!{firehose:error-output-type}/", "Xy9/failed/"},
		"where it is moved to":  {"redriven/", "redriven/failed/2026/11/27/08/"},
		"part of that":          {"redri", "redrifailed/2026/11/27/08/"},
		"under where it is all": {"!{firehose:error-output-type}/", "failed/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.under.ErrorOutputPrefix = &tt.errorPrefix
			mine := tt.folder + "demo-1-a"
			r.put(mine, "one.es.0.1-3")
			for key, batch := range map[string]string{
				"demo-1-other-incarnation": "two.es.0.1-3", "demo-1-other-leg": "one.s3.0.1-3", "demo-1-longer-id": "one-more.es.0.1-3", "demo-1-none": "",
				"demo-x-other": "one.es.0.1-3", "demo": "one.es.0.1-3", "demo2-1-other": "one.es.0.1-3", "readme": "",
			} {
				r.put(tt.folder+key, batch)
			}
			before := r.keys()
			r.walk.DryRun = true
			report, err := r.run()
			check(t, err)
			wantEqual(t, "the report of a dry run", report, Report{DryRun: true, Items: 1, Records: 3, Others: 4})
			wantEqual(t, "what was delivered by a dry run", len(r.called), 0)
			wantEqual(t, "the bucket after a dry run", r.keys(), before)
			wantEqual(t, "the item's code", r.steps[0].Item.Object.Metadata[MetadataCode], "404")

			r.walk.DryRun = false
			report, err = r.run()
			check(t, err)
			wantEqual(t, "the report", report, Report{Items: 1, Done: 1, Records: 3, Delivered: 3, Others: 4})
			wantEqual(t, "where it was moved", r.steps[0].Aside, "s3://data/redriven/"+mine)
			report, err = r.run()
			check(t, err)
			wantEqual(t, "the report of another run", report, Report{Others: 4})
			wantEqual(t, "how many objects there are", len(r.s3.Keys("data")), 9)
		})
	}
}

// TestInOrder deals with the oldest first, up to a limit, and with those of a time.
func TestInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 4 {
		r.put(fmt.Sprintf("failed/2026/11/27/0%d/demo-1-%d", 9-i, i), "one.es.0.1-3")
	}
	found := -1
	r.walk.Found = func(n int) { found = n }
	r.walk.Limit = 3
	report, err := r.run()
	check(t, err)
	wantEqual(t, "the report", report, Report{Items: 3, Done: 3, Records: 9, Delivered: 9, More: true})
	wantEqual(t, "how many were found", found, 4)
	wantEqual(t, "how many were delivered", len(r.called), 3)
	for i := 1; i < len(r.steps); i++ {
		a, b := r.steps[i-1].Item, r.steps[i].Item
		if a.At.After(b.At) || a.At.Equal(b.At) && a.Object.Key > b.Object.Key {
			t.Errorf("%s of %s comes before %s of %s", a.Object.Key, a.At, b.Object.Key, b.At)
		}
	}
	at := time.Now()
	for name, tt := range map[string]struct {
		in   Range
		want int
	}{
		"all": {Range{}, 1}, "from": {Range{From: at.Add(-time.Hour)}, 1}, "from later": {Range{From: at.Add(time.Hour)}, 0},
		"to": {Range{To: at.Add(time.Hour)}, 1}, "to earlier": {Range{To: at.Add(-time.Hour)}, 0},
		"between": {Range{From: at.Add(-time.Hour), To: at.Add(time.Hour)}, 1},
	} {
		r.walk.Range, r.walk.DryRun = tt.in, true
		report, err := r.run()
		check(t, err)
		wantEqual(t, "the items of "+name, report.Items, tt.want)
	}
}

// TestWhatIsMoved goes by what the destination says.
func TestWhatIsMoved(t *testing.T) {
	t.Parallel()
	why := &delivery.Error{Code: "X", Message: "Something is wrong."}
	broken := errors.New("the destination is away")
	for name, tt := range map[string]struct {
		out   Outcome
		err   error
		want  Report
		clean bool
	}{
		"all delivered":        {Outcome{Delivered: 2, Already: 1}, nil, Report{Items: 1, Done: 1, Records: 3, Delivered: 2, Already: 1}, true},
		"a rest":               {Outcome{Delivered: 2, Left: 1, Rest: "s3://data/rest", Why: why}, nil, Report{Items: 1, Done: 1, Partly: 1, Records: 3, Delivered: 2, Left: 1}, false},
		"nothing delivered":    {Outcome{Left: 3, Why: why}, nil, Report{Items: 1, Kept: 1, Records: 3, Left: 3}, false},
		"not readable":         {Outcome{Why: why}, nil, Report{Items: 1, Kept: 1, Records: 3}, false},
		"broken":               {Outcome{Delivered: 1, Left: 2, Why: why}, broken, Report{Items: 1, Kept: 1, Records: 3, Delivered: 1, Left: 2}, false},
		"broken without a why": {Outcome{}, broken, Report{Items: 1, Kept: 1, Records: 3}, false},
		"broken with a rest":   {Outcome{Delivered: 1, Left: 2, Rest: "s3://data/rest", Why: why}, broken, Report{Items: 1, Done: 1, Partly: 1, Records: 3, Delivered: 1, Left: 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.put("failed/2026/11/27/08/demo-1-a", "one.es.0.1-3")
			r.do = func(Item) (Outcome, error) { return tt.out, tt.err }
			report, err := r.run()
			if !errors.Is(err, tt.err) {
				t.Errorf("the run ended with %v, want %v", err, tt.err)
			}
			wantEqual(t, "the report", report, tt.want)
			wantEqual(t, "whether nothing is left", report.Clean(), tt.clean)
			want := "failed/2026/11/27/08/demo-1-a"
			if tt.want.Done == 1 {
				want = "redriven/" + want
			}
			wantEqual(t, "the bucket", r.keys(), want)
		})
	}
}

// TestTheRunEnds at the first error, of the destination or of S3, and with its context.
func TestTheRunEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 3 {
		r.put(fmt.Sprintf("failed/2026/11/27/08/demo-1-%d", i), "one.es.0.1-3")
	}
	before := r.keys()
	r.do = func(Item) (Outcome, error) { return Outcome{}, errors.New("away") }
	_, err := r.run()
	wantEqual(t, "whether it failed", err != nil, true)
	wantEqual(t, "how many were tried", len(r.called), 1)

	for _, operation := range []string{"GETBucket", "HeadObject"} {
		heal := r.s3.Fail(operation, -1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
		_, err = r.run()
		heal()
		var why *delivery.Error
		if !errors.As(err, &why) || why.Code != objectstore.CodeAccessDenied {
			t.Errorf("where %s is denied it ended with %v", operation, err)
		}
		wantEqual(t, "how many were tried", len(r.called), 0)
	}
	wantEqual(t, "the bucket", r.keys(), before)

	ctx, cancel := context.WithCancel(t.Context())
	r.do = func(i Item) (Outcome, error) { cancel(); return Outcome{Delivered: i.Records()}, nil }
	report, err := r.walk.Run(ctx, r)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	wantEqual(t, "the report: what was delivered is moved", report, Report{Items: 1, Done: 1, Records: 3, Delivered: 3})
}

// TestGoneMeanwhile has another run move an item after it was listed.
func TestGoneMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put("failed/2026/11/27/08/demo-1-a", "one.es.0.1-3")
	r.s3.Fail("HeadObject", 1, s3test.Answer(http.StatusNotFound, "NotFound"))
	report, err := r.run()
	check(t, err)
	wantEqual(t, "the report", report, Report{})
	wantEqual(t, "whether it was delivered", len(r.called), 0)
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.under.ErrorOutputPrefix = aws.String("!{nonsense}")
	_, err := r.run()
	if err == nil || !strings.Contains(err.Error(), "version 7 of the delivery stream") {
		t.Errorf("it ended with %v", err)
	}
}
