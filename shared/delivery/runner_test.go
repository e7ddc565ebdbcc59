package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestSuccessIsWrittenDownAndAcknowledged(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("web.clicks")
	d := describe(stream, 0)
	d.Missing = 3
	id := i.cut(d)
	to := newDestination(func(_ context.Context, a Attempt) (Result, error) {
		return Result{Outcome: batch.Delivered, Location: "s3://bucket/key", Version: 1, Records: 90, Bytes: 900, ExpiredRecords: 10}, a.Held()
	})
	before := time.Now()
	r := i.run(testConfig(), to)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)

	got := i.outcomes(id)
	if len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
	if at := got[0].Time; at.Before(before.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("written down at %s", at)
	}
	got[0].Time = time.Time{}
	want := batch.Delivery{
		Format: batch.Format, Batch: id, Stream: "web.clicks", StreamID: stream.ID, Leg: names.LegS3, First: 1, Last: 10,
		Outcome: batch.Delivered, Location: "s3://bucket/key", Version: 1, Records: 90, Bytes: 900, ExpiredRecords: 10, ExpiredMessages: 3,
		Attempts: 1, Oldest: d.Oldest,
	}
	if got[0] != want {
		t.Errorf("written down is %+v, want %+v", got[0], want)
	}
	attempts := to.tried(id)
	if len(attempts) != 1 || attempts[0].Number != 1 || attempts[0].Batch != d || attempts[0].Stream.ID != stream.ID {
		t.Errorf("attempts are %+v", attempts)
	}
	natstest.WaitFor(t, "the metrics say so", func() bool {
		return r.metric(t, "hydrant_delivery_to_s3_success_total") == 1
	})
	for name, want := range map[string]float64{
		"hydrant_delivery_to_s3_records_total": 90, "hydrant_delivery_to_s3_bytes_total": 900,
		"hydrant_delivery_to_s3_expired_records_total": 10, "hydrant_delivery_to_s3_failures_total": 0,
	} {
		if got := r.metric(t, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	// What was lost is in the error log too.
	natstest.WaitFor(t, "the loss is in the error log", func() bool { return len(i.errors()) == 1 })
	if e := i.errors()[0]; e.ErrorCode != "RecordsExpired" || e.Batch != id || e.Records != 10 || !strings.Contains(e.Detail, "3 messages") {
		t.Errorf("the error log has %+v", e)
	}
}

// metric returns the sum of a metric over its labels.
func (r *running) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

func (i *installation) errors() []LogEntry {
	i.t.Helper()
	return entries(i, names.ErrorsStream, func(data []byte) (e LogEntry, err error) {
		err = json.Unmarshal(data, &e)
		return e, err
	})
}

func TestFailureIsLoggedAndTriedAgain(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("web.clicks")
	id := i.cut(describe(stream, 0))
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		switch a.Number {
		case 1:
			return Result{}, &Error{
				Class: Permanent, Code: "S3.NoSuchBucket", Message: "The specified bucket does not exist.", Err: errors.New("404 from s3.example"),
				RequestID: "4442587FB7D0A2F9", HostID: "host+id=",
			}
		case 2:
			return Result{}, fmt.Errorf("wrapped: %w", &Error{Class: Retryable, Code: "S3.AccessDenied", Message: "Access was denied."})
		case 3:
			return Result{}, errors.New("something unforeseen")
		}
		return succeed(ctx, a)
	})
	r := i.run(testConfig(), to)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	if got := i.outcomes(id); got[0].Attempts != 4 {
		t.Errorf("written down is %+v", got[0])
	}
	for n, a := range to.tried(id) {
		if a.Number != n+1 {
			t.Errorf("attempt %d has number %d", n+1, a.Number)
		}
	}
	if n := r.metric(t, "hydrant_delivery_to_s3_failures_total"); n != 3 {
		t.Errorf("%v failures are counted", n)
	}

	// The form in the guide's error log, as it is stored.
	raw := entries(i, names.ErrorsStream, func(data []byte) (map[string]any, error) {
		var entry map[string]any
		return entry, json.Unmarshal(data, &entry)
	})
	into := `"logGroup":"/aws/kinesisfirehose/web.clicks","logStream":"S3Delivery",`
	want := []string{
		`{"attempt":1,"batch":"` + string(id) + `","bucket":"bucket","deliveryStreamARN":"` + stream.ARN + `","deliveryStreamVersionId":1,` +
			`"destination":"arn:aws:s3:::bucket","detail":"404 from s3.example","errorCode":"S3.NoSuchBucket","format":1,"hostId":"host+id=",` + into +
			`"message":"The specified bucket does not exist.","records":100,"requestId":"4442587FB7D0A2F9"}`,
		`{"attempt":2,"batch":"` + string(id) + `","bucket":"bucket","deliveryStreamARN":"` + stream.ARN + `","deliveryStreamVersionId":1,` +
			`"destination":"arn:aws:s3:::bucket","errorCode":"S3.AccessDenied","format":1,` + into + `"message":"Access was denied.","records":100}`,
		`{"attempt":3,"batch":"` + string(id) + `","bucket":"bucket","deliveryStreamARN":"` + stream.ARN + `","deliveryStreamVersionId":1,` +
			`"destination":"arn:aws:s3:::bucket","detail":"something unforeseen","errorCode":"InternalError","format":1,` + into +
			`"message":"An internal error occurred while attempting to deliver data. Delivery will be retried.","records":100}`,
	}
	if len(raw) != len(want) {
		t.Fatalf("the error log has %d entries, want %d", len(raw), len(want))
	}
	for n, entry := range raw {
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(entry["time"])); err != nil {
			t.Errorf("entry %d: %v", n, err)
		}
		delete(entry, "time")
		got, err := json.Marshal(entry)
		if err != nil || !bytes.Equal(got, []byte(want[n])) {
			t.Errorf("entry %d is\n%s, want\n%s", n, got, want[n])
		}
	}
	stored, err := i.js.Stream(t.Context(), names.ErrorsStream)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stored.GetLastMsgForSubject(t.Context(), "errors.web~clicks.S3Delivery"); err != nil || m == nil {
		t.Errorf("the entries are not on the stream's subject: %v", err)
	}
}

// The guide's metrics, as a service leaves them when it ends.
func TestDatapoints(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("web.clicks")
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		switch {
		case a.Batch.First > 1:
			return Result{Outcome: batch.Expired, ExpiredRecords: 100}, nil
		case a.Number == 1:
			return Result{}, errors.New("not yet")
		}
		return succeed(ctx, a)
	})
	r := i.run(testConfig(), to)
	i.awaitOutcome(i.cut(describe(stream, 0)), i.cut(describe(stream, 1)))
	i.awaitAllAcknowledged(stream)
	r.stop()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = r.recorder.Run(ended, r.conn)
	got := map[string]datapoints.Datapoint{}
	for _, d := range entries(i, names.MetricsStream, datapoints.Decode) {
		sum := got[d.Metric]
		sum.Sum += d.Sum
		sum.Samples += d.Samples
		sum.Max = max(sum.Max, d.Max)
		got[d.Metric] = sum
	}
	for metric, want := range map[string]datapoints.Datapoint{
		"DeliveryToS3.Bytes": {Sum: 1000, Samples: 1}, "DeliveryToS3.Records": {Sum: 100, Samples: 1},
		"DeliveryToS3.ObjectCount": {Sum: 1, Samples: 1}, "DeliveryToS3.Success": {Sum: 1, Samples: 2},
	} {
		if d := got[metric]; d.Sum != want.Sum || d.Samples != want.Samples {
			t.Errorf("%s is %+v", metric, d)
		}
	}
	if age := got["DeliveryToS3.DataFreshness"]; age.Samples != 3 || age.Max < time.Since(describe(stream, 0).Oldest).Seconds()-3600 {
		t.Errorf("the freshness is %+v", age)
	}
	if len(got) != 5 {
		t.Errorf("there are %v", got)
	}
}

func TestGuideName(t *testing.T) {
	for prefix, want := range map[string]string{"delivery_to_s3": "DeliveryToS3", "backup_to_s3": "BackupToS3", "delivery_to_elasticsearch": "DeliveryToElasticsearch"} {
		if got := guideName(prefix); got != want {
			t.Errorf("%s is %s, want %s", prefix, got, want)
		}
	}
}

// One worker, and a delivery stream whose destination always fails: the other is served all the same.
func TestFailingStreamDoesNotStopAnother(t *testing.T) {
	t.Parallel()
	i := install(t)
	bad, good := i.stream("bad"), i.stream("good")
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Batch.Stream == "bad" {
			return Result{}, &Error{Class: Retryable, Code: "S3.InternalError", Message: "An internal error."}
		}
		return succeed(ctx, a)
	})
	cfg := testConfig()
	cfg.Workers, cfg.PerStream = 1, 1
	i.run(cfg, to)
	var ids []batch.ID
	for n := range 20 {
		i.cut(describe(bad, n))
		ids = append(ids, i.cut(describe(good, n)))
	}
	i.awaitOutcome(ids...)
	i.awaitAllAcknowledged(good)
	natstest.WaitFor(t, "the bad one is tried on", func() bool { return len(i.errors()) > 5 })
	if n := i.waiting(bad); n != 20 {
		t.Errorf("%d batches of the bad stream wait, want 20", n)
	}
	if most, _ := to.peak(); most != 1 {
		t.Errorf("%d deliveries at once by one worker", most)
	}
	// When its destination is well again, all is delivered.
	to.does(succeed)
	i.awaitAllAcknowledged(bad)
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	started := make(chan struct{}, 100)
	release := make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		started <- struct{}{}
		<-release
		return succeed(ctx, a)
	})
	cfg := testConfig()
	cfg.Workers, cfg.PerStream = 4, 3
	i.run(cfg, to)
	for n := range 12 {
		i.cut(describe(stream, n))
	}
	for range cfg.PerStream {
		<-started
	}
	close(release)
	i.awaitAllAcknowledged(stream)
	if most, twice := to.peak(); most != cfg.PerStream || len(twice) != 0 {
		t.Errorf("%d at once, want %d; twice at a time: %v", most, cfg.PerStream, twice)
	}
}

func TestLaneFollowsItsStream(t *testing.T) {
	t.Parallel()
	i := install(t)
	to := newDestination(succeed)
	r := i.run(testConfig(), to)
	for range 3 { // the same name, again and again
		stream := i.stream("a")
		i.awaitOutcome(i.cut(describe(stream, 0)))
		if err := i.catalog.Remove(t.Context(), "a", stream.ID); err != nil {
			t.Fatal(err)
		}
		natstest.WaitFor(t, "its metrics are gone", func() bool { return r.metric(t, "hydrant_delivery_to_s3_success_total") == 0 })
	}
}

func TestConsumerThatIsGoneIsMadeAgain(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	i.run(testConfig(), newDestination(succeed))
	i.awaitOutcome(i.cut(describe(stream, 0)))
	i.awaitAllAcknowledged(stream)
	if err := i.js.DeleteConsumer(t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, "a", stream.ID)); err != nil {
		t.Fatal(err)
	}
	i.awaitOutcome(i.cut(describe(stream, 1)))
}

func TestConfigValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"good", func(*Config) {}, ""},
		{"no workers", func(c *Config) { c.Workers = 0 }, "HYDRANT_WORKERS"},
		{"none for a stream", func(c *Config) { c.PerStream = 0 }, "HYDRANT_WORKERS_PER_STREAM"},
		{"more for a stream than there are", func(c *Config) { c.PerStream = 5 }, "1 to the number of --workers, 4"},
		{"ack wait", func(c *Config) { c.AckWait = time.Millisecond }, "HYDRANT_ACK_WAIT"},
		{"no delay", func(c *Config) { c.MinDelay = 0 }, "HYDRANT_RETRY_MIN"},
		{"longest shorter than shortest", func(c *Config) { c.MaxDelay = c.MinDelay - 1 }, "HYDRANT_RETRY_MAX"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := testConfig()
			c.change(&cfg)
			err := cfg.Validate()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestErrorUnwraps(t *testing.T) {
	cause := errors.New("cause")
	e := &Error{Code: "S3.AccessDenied", Message: "Access was denied.", Err: cause}
	if !errors.Is(e, cause) || e.Error() != "S3.AccessDenied: cause" {
		t.Errorf("error is %v", e)
	}
	if e := (&Error{Code: "X", Message: "m"}); e.Error() != "X: m" || errors.Unwrap(e) != nil {
		t.Errorf("error is %v", e)
	}
}
