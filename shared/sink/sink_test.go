package sink

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/clocks"
	"hydrant/shared/datapoints"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// taking is a destination that hands over what it is given.
type taking chan delivery.Attempt

var _ delivery.Destination = taking(nil)

func (d taking) Deliver(_ context.Context, a delivery.Attempt) (delivery.Result, error) {
	d <- a
	return delivery.Result{Outcome: batch.Delivered, Location: "s3://data/x", Version: a.Stream.Version, Records: a.Batch.Records, Bytes: a.Batch.Bytes}, nil
}

func newSink(t *testing.T, url string) (*Sink, *delivery.Metrics) {
	t.Helper()
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	points, err := datapoints.NewRecorder("sink", registry, log)
	check(t, err)
	watch, err := clocks.New("sink", registry, log)
	check(t, err)
	s := &Sink{Program: "test", NATS: broker.Config{NATSURL: url, Replicas: 1, Retention: time.Hour}, Points: points, Clocks: watch, Log: log}
	return s, delivery.NewMetrics("delivery_to_s3", registry, points)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRun delivers a batch of a delivery stream that is made while it runs, is a member meanwhile, and none after its end.
func TestRun(t *testing.T) {
	server := natstest.Start(t)
	s, metrics := newSink(t, server.URL())
	if s.Ready() == nil {
		t.Error("it is ready before it runs")
	}
	delivered, opened := make(taking), make(chan Open, 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(open Open) []*delivery.Runner {
			opened <- open
			cfg := delivery.Config{
				Leg: names.LegS3, LogStream: names.LogStream(names.LegS3), Location: func(*catalog.DeliveryStream) string { return "" },
				Logging: func(*catalog.DeliveryStream) *types.CloudWatchLoggingOptions { return nil },
				Workers: 1, Slots: delivery.NewSlots(1), PerStream: 1, AckWait: 5 * time.Second, Grace: time.Second,
				MinDelay: time.Millisecond, MaxDelay: time.Second,
			}
			return []*delivery.Runner{delivery.NewRunner(cfg, open.JetStream, open.View, delivered, metrics, s.Log)}
		})
	}()
	open := <-opened
	if open.Installation == "" {
		t.Error("the installation has no id")
	}
	natstest.WaitFor(t, "it is ready", func() bool { return s.Ready() == nil })
	want := hand(t, open)
	if got := <-delivered; got.Batch.ID() != want.ID() {
		t.Errorf("%s was delivered, want %s", got.Batch.ID(), want.ID())
	}
	natstest.WaitFor(t, "it is a member", func() bool { return live(t, server) == 1 })
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if n := live(t, server); n != 0 {
		t.Errorf("%d members are left", n)
	}
}

// hand makes a delivery stream and gives a batch of it to the sinks.
func hand(t *testing.T, open Open) batch.Descriptor {
	t.Helper()
	c, err := catalog.Open(t.Context(), open.JetStream)
	check(t, err)
	doc := &catalog.DeliveryStream{
		Name: "demo", ID: names.NewStreamID(), ARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/demo",
		Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 3600, Version: 1,
		Destination: catalog.Destination{ID: "destinationId-000000000001", S3: &types.ExtendedS3DestinationDescription{
			BucketARN:      aws.String("arn:aws:s3:::data"),
			BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
		}},
	}
	check(t, c.Create(t.Context(), doc))
	now := time.Now().UTC()
	d := batch.Descriptor{
		Stream: doc.Name, StreamID: doc.ID, Version: 1, Leg: names.LegS3, First: 1, Last: 2, Messages: 2, Records: 2, Bytes: 20,
		Oldest: now, Newest: now, Reason: batch.ReasonSize,
	}
	data, err := d.Encode()
	check(t, err)
	_, err = open.JetStream.Publish(t.Context(), names.BatchesSubject(d.Leg, d.Stream, d.Shard), data)
	check(t, err)
	return d
}

// live is how many replicas are live.
func live(t *testing.T, server *natstest.Server) int {
	t.Helper()
	kv, err := server.JetStream().KeyValue(t.Context(), names.MembersBucket)
	check(t, err)
	keys, err := kv.ListKeys(t.Context())
	check(t, err)
	n := 0
	for range keys.Keys() {
		n++
	}
	return n
}

// TestRunWhileNATSIsAway waits, is not ready, and ends when it is told to.
func TestRunWhileNATSIsAway(t *testing.T) {
	s, _ := newSink(t, "nats://127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := s.Run(ctx, func(Open) []*delivery.Runner { t.Error("it opened something"); return nil })
	if !errors.Is(err, context.DeadlineExceeded) || s.Ready() == nil {
		t.Errorf("it ended with %v, ready: %v", err, s.Ready() == nil)
	}
}
