package delivery

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// setAside makes so many of a batch's records fail, of 10 bytes each.
func setAside(a Attempt, failed int, why *Error) Result {
	r := Result{
		Outcome: batch.Delivered, Location: "https://search/index", Version: a.Stream.Version,
		Records: a.Batch.Records - failed, Bytes: a.Batch.Bytes - 10*int64(failed),
		FailedRecords: failed, FailedBytes: 10 * int64(failed), FailedLocation: "s3://bucket/failed", Warning: why,
	}
	if r.Records == 0 {
		r.Outcome, r.Location = batch.SetAside, ""
	}
	return r
}

// The owner is told of every batch of which something was set aside, whatever the settings and however many there are.
func TestSetAside(t *testing.T) {
	t.Parallel()
	refused := &Error{Class: Permanent, Code: "400", Message: "Documents were refused.", Err: errors.New("mapper_parsing_exception")}
	for _, c := range []struct {
		name    string
		failed  int
		why     *Error
		outcome batch.Outcome
		told    LogEntry
	}{
		{"some", 3, refused, batch.Delivered, LogEntry{ErrorCode: "400", Message: refused.Message, Detail: "mapper_parsing_exception"}},
		{"all", 100, refused, batch.SetAside, LogEntry{ErrorCode: "400", Message: refused.Message, Detail: "mapper_parsing_exception"}},
		{"without a reason", 1, nil, batch.Delivered, LogEntry{ErrorCode: CodeSetAside, Message: "Records could not be delivered and were set aside."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			stream := i.stream("a")
			i.logging("a", nil) // off
			r := i.run(testConfig(), newDestination(func(_ context.Context, a Attempt) (Result, error) {
				return setAside(a, c.failed, c.why), nil
			}))
			const batches = 2 * sampleBurst
			var ids []batch.ID
			for n := range batches {
				ids = append(ids, i.cut(describe(stream, n)))
			}
			i.awaitOutcome(ids...)
			i.awaitAllAcknowledged(stream)
			got := i.outcomes(ids[0])[0]
			if got.Outcome != c.outcome || got.Records != 100-c.failed || got.Bytes != 1000-10*int64(c.failed) ||
				got.FailedRecords != c.failed || got.FailedBytes != 10*int64(c.failed) || got.FailedLocation != "s3://bucket/failed" {
				t.Errorf("written down is %+v", got)
			}
			r.stop()
			told := i.errors()
			if len(told) != batches {
				t.Fatalf("%d entries of the error log, want %d", len(told), batches)
			}
			for _, e := range told {
				if e.ErrorCode != c.told.ErrorCode || e.Message != c.told.Message || e.Detail != c.told.Detail ||
					e.Records != c.failed || e.SetAsideAt != "s3://bucket/failed" || e.Suppressed != 0 || e.LogStream != "S3Delivery" {
					t.Errorf("the owner is told %+v", e)
				}
			}
			if !strings.Contains(r.log.String(), "level=ERROR") || !strings.Contains(r.log.String(), "failed_location=s3://bucket/failed") {
				t.Error("the service's log does not tell where the records are")
			}
		})
	}
}

// The guide's metrics of Elasticsearch: what was indexed, and indexed over attempted, under both names of the destination.
func TestRecordMetrics(t *testing.T) {
	t.Parallel()
	i := install(t)
	stream := i.stream("a")
	registry := prometheus.NewRegistry()
	recorder, err := datapoints.NewRecorder("test", registry, quiet)
	if err != nil {
		t.Fatal(err)
	}
	m := NewRecordMetrics("delivery_to_elasticsearch", registry, recorder, "delivery_to_amazon_open_search_service")
	d := describe(stream, 0)
	w := &work{Runner: &Runner{metrics: m}, attempt: 1}
	a := Attempt{Batch: d, Stream: stream}
	m.failed(d, "ES.ServiceException")
	for _, failed := range []int{0, 3, 100} {
		m.delivered(w.outcome(d, setAside(a, failed, nil)))
	}
	m.delivered(w.outcome(d, Result{Outcome: batch.Expired, ExpiredRecords: 100}))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = recorder.Run(ended, i.js.Conn())

	got := map[string][2]float64{}
	for _, d := range entries(i, names.MetricsStream, datapoints.Decode) {
		got[d.Metric] = [2]float64{got[d.Metric][0] + d.Sum, got[d.Metric][1] + float64(d.Samples)}
	}
	want := map[string][2]float64{}
	for _, name := range []string{"DeliveryToElasticsearch", "DeliveryToAmazonOpenSearchService"} {
		want[name+".Bytes"] = [2]float64{1970, 2}
		want[name+".Records"] = [2]float64{197, 2}
		want[name+".Success"] = [2]float64{197, 300}
		want[name+".DataFreshness"] = [2]float64{got[name+".DataFreshness"][0], 5}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the datapoints' sums and samples are %v, want %v", got, want)
	}
	r := &running{registry: registry}
	for name, want := range map[string]float64{
		"bytes": 1970, "records": 197, "success": 2, "set_aside_records": 103, "set_aside_bytes": 1030, "failures": 1, "expired_records": 100, "object_count": 0,
	} {
		if got := r.metric(t, "hydrant_delivery_to_elasticsearch_"+name+"_total"); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	m.forget("a")
	for _, name := range []string{"success", "set_aside_records", "set_aside_bytes"} {
		if got := r.metric(t, "hydrant_delivery_to_elasticsearch_"+name+"_total"); got != 0 {
			t.Errorf("%s of a delivery stream that is gone is %v", name, got)
		}
	}
}
