package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

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
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
	}
}

// busy is an installation with a leg in each of the states that there are, and the time at which it is looked at: 90 s
// after the one record of "quiet" arrived.
func busy(t *testing.T) (*installation, time.Time) {
	in := newInstallation(t)

	quiet := in.stream("quiet", id("q"), 1)
	in.put(quiet, 0, 1)
	now := in.arrived(quiet, 0, 1).Add(90 * time.Second)

	// Batches 1 to 5 of one message each; 1 and 3 are delivered and acknowledged, 3 with two entries, 2 fails again and
	// again, 4 is delivered but JetStream was not told, 5 was given to nobody. Three messages wait behind the cursor.
	orders := in.stream("orders", id("o"), 1)
	var cut []batch.Descriptor
	for seq := uint64(1); seq <= 5; seq++ {
		in.put(orders, 0, 10)
		cut = append(cut, in.cut(orders, 0, seq, seq, now.Add(-3*time.Hour+time.Duration(seq)*time.Minute)))
	}
	for range 3 {
		in.put(orders, 0, 4)
	}
	in.sink(orders, 3, func(first uint64) bool { return first != 2 })
	in.sink(orders, 1, func(uint64) bool { return false })
	in.settle(cut[0], batch.Delivered, nil)
	in.settle(cut[2], batch.Delivered, nil)
	in.settle(cut[2], batch.Delivered, nil)
	in.settle(cut[3], batch.Delivered, nil)
	in.failed(cut[1], "S3.AccessDenied", now.Add(-20*time.Minute))
	in.failed(cut[1], "S3.NoSuchBucket", now.Add(-4*time.Minute))

	// Two shards. One has batches set aside, expired, delivered and pending, and no sink any more; the other nothing but a
	// descriptor of an earlier incarnation, and a record without a header.
	clicks := in.stream("web.clicks", id("w"), 2)
	clicksBatch := func(seq uint64) batch.Descriptor {
		in.put(clicks, 0, 10)
		return in.cut(clicks, 0, seq, seq, now.Add(-26*time.Hour))
	}
	in.settle(clicksBatch(1), batch.SetAside, func(d *batch.Delivery) {
		d.Records, d.Bytes, d.FailedRecords, d.FailedBytes, d.ExpiredRecords = 0, 0, 5, 500, 3
	})
	in.settle(clicksBatch(2), batch.Expired, func(d *batch.Delivery) { d.Records, d.Bytes, d.ExpiredRecords = 0, 0, 10 })
	in.settle(clicksBatch(3), batch.Delivered, func(d *batch.Delivery) {
		d.Records, d.Bytes, d.FailedRecords, d.FailedBytes, d.ExpiredMessages = 8, 800, 2, 200, 2
	})
	clicksBatch(4)
	in.cut(&catalog.DeliveryStream{Name: "web.clicks", ID: id("v")}, 1, 1, 900, now.Add(-30*time.Hour))
	in.publish(names.RecordsSubject("web.clicks", 1), []byte("plain"))

	in.create(&catalog.DeliveryStream{Name: "fresh", ID: id("f"), Status: types.DeliveryStreamStatusCreating, Shards: 1})
	return in, now
}

func TestCollect(t *testing.T) {
	in, now := busy(t)
	legs, err := Collect(t.Context(), in.js, Options{Now: func() time.Time { return now }})
	in.must(err)

	var table bytes.Buffer
	in.must(Render(&table, legs, now))
	golden(t, "busy.table", table.String())

	// The golden JSON is as if it were looked at on one fixed day.
	shift := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Sub(now)
	for i := range legs {
		for _, at := range []*time.Time{&legs[i].OldestUndelivered, &legs[i].Failing.LastErrorAt} {
			if !at.IsZero() {
				*at = at.Add(shift).UTC()
			}
		}
	}
	golden(t, "busy.json", asJSON(t, legs))

	for _, stream := range []string{names.BatchesStream, names.DeliveriesStream, names.ErrorsStream} {
		for _, consumer := range in.consumers(stream) {
			if strings.HasPrefix(consumer, "hydrant_status_") {
				t.Errorf("consumer %s is left on %s", consumer, stream)
			}
		}
	}
}

func TestCollectChosen(t *testing.T) {
	in, now := busy(t)
	at := func() time.Time { return now }
	all, err := Collect(t.Context(), in.js, Options{Now: at})
	in.must(err)
	chosen, err := Collect(t.Context(), in.js, Options{Now: at, Streams: []names.Stream{"web.clicks", "orders", "orders"}})
	in.must(err)
	var want []Leg
	for _, l := range all {
		if l.Stream == "orders" || l.Stream == "web.clicks" {
			want = append(want, l)
		}
	}
	if got, want := asJSON(t, chosen), asJSON(t, want); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, name := range []names.Stream{"nobody", "web=clicks", "*", "a b"} {
		_, err := Collect(t.Context(), in.js, Options{Streams: []names.Stream{"orders", name}})
		if !errors.Is(err, catalog.ErrNotFound) || !strings.Contains(err.Error(), string(name)) {
			t.Errorf("%s: %v, want that it does not exist", name, err)
		}
	}
}

// What is older than --since is not counted, and still tells which batches are not pending any more.
func TestCollectSince(t *testing.T) {
	in, now := busy(t)
	later := now.Add(2 * time.Hour)
	legs, err := Collect(t.Context(), in.js, Options{Since: time.Hour, Streams: []names.Stream{"orders"}, Now: func() time.Time { return later }})
	in.must(err)
	if n := legs[0].Delivered.Batches; n != 0 {
		t.Errorf("%d batches delivered, want 0", n)
	}
	if n := legs[0].Pending.Batches; n != 2 {
		t.Errorf("%d batches pending, want 2", n)
	}
	if code := legs[0].Failing.LastErrorCode; legs[0].Failing.Batches != 1 || code != "" {
		t.Errorf("failing %d with the old error %q, want 1 without", legs[0].Failing.Batches, code)
	}
}

func TestCollectBounded(t *testing.T) {
	in, now := busy(t)
	legs, err := Collect(t.Context(), in.js, Options{MaxMessages: 1, Streams: []names.Stream{"orders"}, Now: func() time.Time { return now }})
	in.must(err)
	if want := (Buffered{Records: 4, Bytes: 400, Messages: 3, LowerBound: true}); legs[0].Buffered != want {
		t.Errorf("buffered %+v, want %+v", legs[0].Buffered, want)
	}
	if want := (Pending{Batches: 1, Records: 10, Bytes: 1000, LowerBound: true}); legs[0].Pending != want {
		t.Errorf("pending %+v, want %+v", legs[0].Pending, want)
	}
	var table bytes.Buffer
	in.must(Render(&table, legs, now))
	for _, want := range []string{"≥4", "≥400 B", "≥1000 B", "≥ is at least"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in\n%s", want, &table)
		}
	}
}

// Who publishes by NATS itself chooses the headers, and none of them hides what is buffered.
func TestCollectHostileHeaders(t *testing.T) {
	in := newInstallation(t)
	d := in.stream("hostile", id("h"), 1)
	want := Buffered{}
	for _, h := range []nats.Header{
		{"Status": {"404"}, "Description": {"No Messages"}},
		{"Status": {"408"}, "Nats-Pending-Messages": {"9"}},
		{"Status": {"503"}},
		{"Nats-Msg-Size": {"many"}},
		{"Nats-Msg-Size": {"1000000"}},
	} {
		for _, data := range []string{"", "a record"} {
			_, err := in.js.PublishMsg(t.Context(), &nats.Msg{Subject: names.RecordsSubject(d.Name, 0), Header: h, Data: []byte(data)})
			in.must(err)
			want.Messages, want.Records, want.Bytes = want.Messages+1, want.Records+1, want.Bytes+int64(len(data))
		}
	}
	legs, err := Collect(t.Context(), in.js, Options{})
	in.must(err)
	if legs[0].Buffered != want {
		t.Errorf("buffered %+v, want %+v", legs[0].Buffered, want)
	}
}

// A collector that is asked again reads only what is new of the outcomes, and starts over when they are others.
func TestCollectAgain(t *testing.T) {
	in := newInstallation(t)
	d := in.stream("demo", id("d"), 1)
	now := time.Now()
	c := newCollector(in.js, Options{Now: func() time.Time { return now }})
	delivered := func(want int64) {
		t.Helper()
		legs, err := c.collect(t.Context())
		in.must(err)
		if got := legs[0].Delivered.Batches; got != want {
			t.Errorf("%d batches delivered, want %d", got, want)
		}
	}
	delivered(0)
	for seq := uint64(1); seq <= 3; seq++ {
		in.put(d, 0, 10)
		b := in.cut(d, 0, seq, seq, now)
		in.settle(b, batch.Delivered, nil)
		in.settle(b, batch.Delivered, nil)
		delivered(int64(seq))
	}
	now = now.Add(25 * time.Hour)
	delivered(0)
	now = now.Add(-25 * time.Hour)
	delivered(3)
	in.must(in.js.DeleteStream(t.Context(), names.DeliveriesStream))
	if _, err := c.collect(t.Context()); err == nil {
		t.Error("no error without DELIVERIES")
	}
	in.prepare()
	delivered(0)
}

func TestCollectProblems(t *testing.T) {
	in := newInstallation(t)
	kv, err := in.js.KeyValue(t.Context(), names.CatalogBucket)
	in.must(err)
	_, err = kv.Put(t.Context(), "from=tomorrow", []byte(`{"format":99}`))
	in.must(err)

	lost := in.stream("lost", id("l"), 2)
	in.must(in.js.DeleteStream(t.Context(), names.Log{Stream: "lost", Shard: 1, ID: lost.ID}.JetStream()))
	garbled := in.stream("garbled", id("g"), 1)
	in.publish(names.BatchesSubject(names.LegS3, garbled.Name, 0), []byte(`{"format":99}`))
	odd := in.stream("odd", id("o"), 1)
	in.publish(names.DeliveriesSubject(names.LegS3, odd.Name), []byte(`not JSON`))
	in.stream("deleted", id("x"), 1)
	c, err := catalog.Open(t.Context(), in.js)
	in.must(err)
	in.must(c.Remove(t.Context(), "deleted", id("x")))
	in.create(&catalog.DeliveryStream{Name: "nowhere", ID: id("n"), Status: types.DeliveryStreamStatusActive, Shards: 1})
	in.stream("well", id("w"), 1)

	legs, err := Collect(t.Context(), in.js, Options{})
	in.must(err)
	want := map[names.Stream]string{
		"from.tomorrow": "newer version of Hydrant",
		"lost":          "the record log of shard 1 is missing",
		"garbled":       "newer version of Hydrant",
		"odd":           "delivery: invalid character",
		"nowhere":       "",
		"well":          "",
	}
	if len(legs) != len(want) {
		t.Errorf("%d legs, want %d", len(legs), len(want))
	}
	for _, l := range legs {
		if (l.Problem == "") != (want[l.Stream] == "") || !strings.Contains(l.Problem, want[l.Stream]) {
			t.Errorf("%s: problem %q, want %q", l.Stream, l.Problem, want[l.Stream])
		}
	}
}

func TestCollectEnded(t *testing.T) {
	in, _ := busy(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Collect(ctx, in.js, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that the context ended", err)
	}
}

// A leg that is cut and delivered all the time has each of its records in one place.
func TestCollectUnderLoad(t *testing.T) {
	in := newInstallation(t)
	d := in.stream("demo", id("d"), 1)
	const messages = 60
	for range messages {
		in.put(d, 0, 10)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looked := make(chan error)
	go func() { looked <- lookUntil(ctx, newCollector(in.js, Options{}), 10*messages) }()
	for seq := uint64(1); seq <= messages; seq++ {
		b := in.cut(d, 0, seq, seq, time.Now())
		in.settle(b, batch.Delivered, nil)
		in.sink(d, 1, func(uint64) bool { return true })
	}
	cancel()
	in.must(<-looked)
}

// lookUntil collects until ctx ends, and returns an error unless each look finds that many records in the only leg.
func lookUntil(ctx context.Context, c *collector, records int64) error {
	for {
		legs, err := c.collect(ctx)
		if done(ctx) {
			return nil
		}
		if err != nil {
			return err
		}
		l := legs[0]
		if sum := l.Buffered.Records + l.Pending.Records + l.Delivered.Records; sum != records {
			return fmt.Errorf("buffered %+v, pending %+v and delivered %+v are %d records, want %d", l.Buffered, l.Pending, l.Delivered, sum, records)
		}
	}
}

func TestEmpty(t *testing.T) {
	in := newInstallation(t)
	legs, err := Collect(t.Context(), in.js, Options{})
	in.must(err)
	if len(legs) != 0 {
		t.Errorf("%d legs, want none", len(legs))
	}
	var out bytes.Buffer
	command := Command{NATS: in.cfg, Since: time.Hour}
	in.must(command.Run(t.Context(), &out))
	for _, want := range []string{"no delivery streams\n", "aws firehose create-delivery-stream", "0 delivery streams", "NATS: natstest 2."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	out.Reset()
	command.JSON = true
	in.must(command.Run(t.Context(), &out))
	var report Report
	in.must(json.Unmarshal(out.Bytes(), &report))
	if report.Legs == nil || len(report.Legs) != 0 || report.SinceSeconds != 3600 || report.NATS.URL != in.cfg.NATSURL {
		t.Errorf("report is %+v", report)
	}
}

func TestShare(t *testing.T) {
	many := func(n int, backlog uint64) []uint64 {
		all := make([]uint64, n)
		for i := range all {
			all[i] = backlog
		}
		return all
	}
	tests := []struct {
		name     string
		backlogs []uint64
		want     uint64
	}{
		{"none", nil, maxMessages},
		{"one endless", []uint64{1 << 60}, maxMessages},
		{"many small", many(1000, 100), maxMessages},
		{"ten large", many(10, 1<<60), maxMessages},
		{"a hundred large", many(100, 1<<60), 20_000},
		{"very many large", many(5000, 1<<60), fewest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := share(test.backlogs, maxMessages); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
