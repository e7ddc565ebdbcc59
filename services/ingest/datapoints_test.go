package ingest

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// points adds up the datapoints in METRICS, by delivery stream and metric.
func (s *site) points() map[string]datapoints.Datapoint {
	s.t.Helper()
	js := must[jetstream.JetStream](s.t)(jetstream.New(s.nats.Conn()))
	stream := must[jetstream.Stream](s.t)(js.Stream(s.t.Context(), names.MetricsStream))
	sums := map[string]datapoints.Datapoint{}
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m := must[*jetstream.RawStreamMsg](s.t)(stream.GetMsg(s.t.Context(), seq))
		d := must[datapoints.Datapoint](s.t)(datapoints.Decode(m.Data))
		sum := sums[string(d.Stream)+" "+d.Metric]
		sum.Sum += d.Sum
		sum.Samples += d.Samples
		sum.Max = max(sum.Max, d.Max)
		sums[string(d.Stream)+" "+d.Metric] = sum
	}
	return sums
}

// The guide's metrics of the API, as a replica leaves them when it ends.
func TestDatapoints(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("web.clicks")
	must[string](t)(r.put("web.clicks", "hello"))
	must[string](t)(r.put("web.clicks", "you"))
	must[*firehose.PutRecordBatchOutput](t)(r.client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{
		DeliveryStreamName: aws.String("web.clicks"), Records: []types.Record{{Data: []byte("one")}, {Data: []byte("three")}, {Data: []byte("")}},
	}))
	must[*types.DeliveryStreamDescription](t)(r.describe("web.clicks"))
	for range 2 {
		must[*firehose.ListDeliveryStreamsOutput](t)(r.client.ListDeliveryStreams(t.Context(), &firehose.ListDeliveryStreamsInput{}))
	}
	_, err := r.client.UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: aws.String("web.clicks"), CurrentDeliveryStreamVersionId: aws.String("7"), DestinationId: aws.String("destinationId-000000000001"),
		ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{Prefix: aws.String("p/")},
	})
	wantError(t, err, "ConcurrentModificationException",
		"Cannot update firehose: web.clicks since the current version id: 1 and specified version id: 7 do not match")
	if _, err := r.put("absent", "x"); err == nil {
		t.Error("a put to nowhere succeeded")
	}
	if _, err := r.describe("absent"); err == nil {
		t.Error("nowhere is described")
	}
	r.raw("PutRecord", `{"DeliveryStreamName":"web.clicks"}`) // no record: not a call that reaches the delivery stream
	r.stop()

	got := s.points()
	for metric, want := range map[string]struct {
		sum     float64
		samples uint64
	}{
		"web.clicks IncomingBytes":                   {16, 3},
		"web.clicks IncomingRecords":                 {5, 3},
		"web.clicks IncomingPutRequests":             {3, 3},
		"web.clicks PutRecord.Bytes":                 {8, 2},
		"web.clicks PutRecord.Requests":              {2, 2},
		"web.clicks PutRecord.Latency":               {-1, 2},
		"web.clicks PutRecordBatch.Bytes":            {8, 1},
		"web.clicks PutRecordBatch.Records":          {3, 1},
		"web.clicks PutRecordBatch.Requests":         {1, 1},
		"web.clicks PutRecordBatch.Latency":          {-1, 1},
		"web.clicks DescribeDeliveryStream.Requests": {1, 1},
		"web.clicks DescribeDeliveryStream.Latency":  {-1, 1},
		"web.clicks UpdateDeliveryStream.Requests":   {1, 1},
		"web.clicks UpdateDeliveryStream.Latency":    {-1, 1},
		" ListDeliveryStreams.Requests":              {2, 2},
		" ListDeliveryStreams.Latency":               {-1, 2},
	} {
		d, there := got[metric]
		if !there || d.Samples != want.samples || want.sum >= 0 && d.Sum != want.sum {
			t.Errorf("%s has %d samples, sum %v, want %+v", metric, d.Samples, d.Sum, want)
		}
		if want.sum < 0 && (d.Sum <= 0 || d.Max > float64(patience/time.Millisecond)) {
			t.Errorf("%s is %v, at most %v", metric, d.Sum, d.Max)
		}
		delete(got, metric)
	}
	if len(got) > 0 {
		t.Errorf("there are more: %v", got)
	}
}

// What is refused counts as throttled.
func TestThrottledDatapoints(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start()
	r.create("demo")
	d := must[*catalog.DeliveryStream](t)(s.catalog().Read(t.Context(), "demo"))
	r.metrics.countPut(putRecordBatchName, d, &putResults{
		parts: []logMessage{{records: 1, payload: []byte("a")}}, records: 3, err: unavailable("full"),
	})
	r.stop()
	got := s.points()
	if d := got["demo ThrottledRecords"]; d.Sum != 2 {
		t.Errorf("%v are throttled", d.Sum)
	}
	if d := got["demo IncomingBytes"]; d.Sum != 1 {
		t.Errorf("%v bytes came", d.Sum)
	}
	for metric := range got {
		if metric[:4] != "demo" {
			t.Errorf("there is %s", metric)
		}
	}
}

// Without NATS nothing is recorded of delivery streams, since nobody knows which there are.
func TestNoDatapointsWithoutNATS(t *testing.T) {
	t.Parallel()
	r := launch(t, testConfig("nats://127.0.0.1:1"))
	r.metrics.recordCall("PutRecord", "demo", time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := r.client.ListDeliveryStreams(ctx, &firehose.ListDeliveryStreamsInput{})
	wantError(t, err, codeServiceUnavailable, "Hydrant is starting: it waits for NATS.")
}
