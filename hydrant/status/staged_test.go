package status

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// redshift makes a delivery stream that stages objects in S3 and loads them into Redshift.
func (in *installation) redshift(name names.Stream, of names.StreamID) *catalog.DeliveryStream {
	in.t.Helper()
	mb, seconds, enabled := int32(5), int32(300), true
	return in.streamTo(name, of, 1, catalog.Destination{ID: "destinationId-000000000001", Redshift: &catalog.RedshiftDestination{
		Description: types.RedshiftDestinationDescription{
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: &enabled},
			S3DestinationDescription: &types.S3DestinationDescription{BufferingHints: &types.BufferingHints{SizeInMBs: &mb, IntervalInSeconds: &seconds}},
		},
	}})
}

// stage delivers a batch to S3 and announces the object.
func (in *installation) stage(d *catalog.DeliveryStream, first, last uint64, oldest time.Time) batch.Descriptor {
	in.t.Helper()
	b := in.cut(d, 0, first, last, oldest)
	in.settle(b, batch.Delivered, nil)
	in.announce(b)
	return b
}

func (in *installation) announce(b batch.Descriptor) {
	in.t.Helper()
	data, err := batch.Delivery{
		Batch: b.ID(), Stream: b.Stream, StreamID: b.StreamID, Leg: b.Leg, First: b.First, Last: b.Last, Outcome: batch.Delivered,
		Location: "s3://bucket/" + string(b.ID()), Records: b.Records, Bytes: b.Bytes, Oldest: b.Oldest,
	}.Encode()
	in.must(err)
	in.publish(names.StagingSubject(b.Stream), data)
}

// load stores that an object is in the table.
func (in *installation) load(b batch.Descriptor) {
	in.t.Helper()
	data, err := batch.Delivery{
		Batch: b.ID(), Stream: b.Stream, StreamID: b.StreamID, Leg: names.LegRedshift, Outcome: batch.Delivered, Records: b.Records, Bytes: b.Bytes,
	}.Encode()
	in.must(err)
	in.publish(names.DeliveriesSubject(names.LegRedshift, b.Stream), data)
}

// TestCollectStaged shows what waits to be loaded, once, however often it was announced, beside what waits to be staged.
func TestCollectStaged(t *testing.T) {
	in := newInstallation(t)
	d := in.redshift("demo", id("d"))
	for range 6 {
		in.put(d, 0, 10)
	}
	now := time.Now()
	in.load(in.stage(d, 1, 1, now.Add(-time.Hour)))
	waits := in.stage(d, 2, 3, now.Add(-time.Minute))
	in.announce(waits)
	in.stage(d, 4, 4, now.Add(-time.Second))
	in.announce(batch.Descriptor{Stream: "demo", StreamID: id("z"), Leg: names.LegS3, First: 1, Last: 9, Records: 900}) // of an earlier one
	in.cut(d, 0, 5, 5, now)
	in.failed(waits, "S3.AccessDenied", now)

	legs, err := Collect(t.Context(), in.js, Options{Now: func() time.Time { return now }})
	in.must(err)
	if len(legs) != 2 {
		t.Fatalf("legs are %s", asJSON(t, legs))
	}
	staging, loading := legs[0], legs[1]
	if staging.Leg != names.LegS3 || staging.Delivered.Records != 40 || staging.Pending != (Pending{Batches: 1, Records: 10, Bytes: 1000}) ||
		staging.Buffered.Records != 10 || staging.Problem != "" {
		t.Errorf("staging is %s", asJSON(t, staging))
	}
	if loading.Leg != names.LegRedshift || loading.Delivered != (Total{Batches: 1, Records: 10, Bytes: 1000}) ||
		loading.Pending != (Pending{Batches: 2, Records: 30, Bytes: 3000}) || loading.Buffered != (Buffered{}) || loading.Problem != "" {
		t.Errorf("loading is %s", asJSON(t, loading))
	}
	if !loading.OldestUndelivered.Equal(waits.Oldest) {
		t.Errorf("the oldest is of %s, want %s", loading.OldestUndelivered, waits.Oldest)
	}
	if loading.Failing != (Failing{}) {
		t.Errorf("an error of the staging is one of the loading: %s", asJSON(t, loading))
	}
	var table bytes.Buffer
	in.must(Render(&table, legs, now))
	if !strings.Contains(table.String(), "redshift") {
		t.Errorf("the table is\n%s", table.String())
	}
}

// TestCollectStagedThatFail has the error of the loading where it belongs.
func TestCollectStagedThatFail(t *testing.T) {
	in := newInstallation(t)
	d := in.redshift("web.clicks", id("d"))
	in.put(d, 0, 10)
	waits := in.stage(d, 1, 1, time.Now())
	in.failedIn(names.LogStream(names.LegRedshift), waits, "Redshift.TableNotFound", time.Now())
	legs, err := Collect(t.Context(), in.js, Options{Streams: []names.Stream{"web.clicks"}})
	in.must(err)
	if got := legs[0].Failing; got != (Failing{}) {
		t.Errorf("staging fails: %+v", got)
	}
	if got := legs[1].Failing; got.Batches != 1 || got.LastErrorCode != "Redshift.TableNotFound" || got.LoggingOff {
		t.Errorf("loading fails: %+v", got)
	}
}

// TestCollectManyStaged reads so many and says that there are more.
func TestCollectManyStaged(t *testing.T) {
	in := newInstallation(t)
	d := in.redshift("demo", id("d"))
	for n := range uint64(5) {
		in.stage(d, n+1, n+1, time.Now())
	}
	legs, err := Collect(t.Context(), in.js, Options{MaxMessages: 3})
	in.must(err)
	if got := legs[1].Pending; got != (Pending{Batches: 3, Records: 30, Bytes: 3000, LowerBound: true}) {
		t.Errorf("pending is %+v", got)
	}
}

// TestCollectBeforeStaging reads an installation of an earlier version: it has no staged objects, and other subjects.
func TestCollectBeforeStaging(t *testing.T) {
	in := newInstallation(t)
	in.must(in.js.DeleteStream(t.Context(), names.StagingStream))
	in.must(in.js.DeleteStream(t.Context(), names.DeliveriesStream))
	_, err := in.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: names.DeliveriesStream, Subjects: []string{"deliveries.>"}, AllowDirect: true})
	in.must(err)
	d := in.stream("demo", id("d"), 1)
	in.put(d, 0, 10)
	in.settle(in.cut(d, 0, 1, 1, time.Now()), batch.Delivered, nil)
	for _, upgraded := range []bool{false, true} {
		if upgraded {
			in.prepare()
		}
		legs, err := Collect(t.Context(), in.js, Options{})
		in.must(err)
		if len(legs) != 1 || legs[0].Delivered.Records != 10 || legs[0].Problem != "" {
			t.Errorf("upgraded %t: legs are %s", upgraded, asJSON(t, legs))
		}
	}
}

// TestCollectUnreadableStaged notes what cannot be read.
func TestCollectUnreadableStaged(t *testing.T) {
	in := newInstallation(t)
	in.redshift("demo", id("d"))
	in.publish(names.StagingSubject("demo"), []byte(`{"format":9}`))
	legs, err := Collect(t.Context(), in.js, Options{})
	in.must(err)
	if !strings.Contains(legs[1].Problem, "newer version") {
		t.Errorf("the problem is %q", legs[1].Problem)
	}
}
