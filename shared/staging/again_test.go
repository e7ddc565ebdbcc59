package staging

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// A delivery stream that is made again under the name of a deleted one has a consumer of its own, whatever that one has left:
// a consumer that was made late, and objects that were announced late.
func TestMadeAgain(t *testing.T) {
	t.Parallel()
	i := install(t)
	first := i.stream("web.clicks")
	old := i.open(first, ages)
	i.announce(first, 0, 1)
	i.remove(first)
	second := i.stream("web.clicks")
	late := i.announce(first, 2)
	ids := i.announce(second, 0, 1)

	q := i.open(second, ages)
	objects := q.collect(2, many())
	i.wantBatches("collected", objects, ids)
	for _, o := range objects {
		if o.StreamID != second.ID {
			t.Errorf("%s is of the deleted one", o.Batch)
		}
	}
	i.must(q.Acknowledge(t.Context(), objects...))
	if n := i.waiting(); n != 0 {
		t.Errorf("%d are left, of the deleted one (%s)", n, late)
	}
	if !strings.Contains(i.log.String(), "belongs to no delivery stream") {
		t.Error("the log does not tell of the consumer")
	}
	if _, err := old.Collect(t.Context(), many()); !errors.Is(err, ErrLost) {
		t.Errorf("the one of the deleted delivery stream: %v", err)
	}
	if _, err := i.tryOpen(i.server.Conn(), first, ages); !errors.Is(err, ErrSuperseded) {
		t.Errorf("opened anew: %v", err)
	}
	i.must(q.Held()) // its consumer is there
	ids = i.announce(second, 2)
	i.wantBatches("later", q.collect(1, many()), ids)
}

// The deleted one's Queue leaves the objects of its successor alone, as long as it has a consumer.
func TestSuccessorsObjects(t *testing.T) {
	t.Parallel()
	i := install(t)
	first := i.stream("a")
	old := i.open(first, soon)
	i.remove(first)
	second := i.stream("a")
	collected := old.collecting(many())
	ids := i.announce(second, 0, 1)
	q := i.open(second, soon)
	i.wantBatches("collected", q.collect(2, many()), ids)
	select {
	case objects := <-collected:
		t.Errorf("the deleted one was handed %v", idsOf(objects))
	default:
	}
}

// A consumer that somebody else made is not deleted. The error says what to do.
func TestSomebodyElsesConsumer(t *testing.T) {
	t.Parallel()
	i := install(t)
	d := i.stream("a")
	for _, filter := range []string{names.StagingSubject("a"), "deliveries.staging.*", names.AllStaging} {
		t.Run(filter, func(t *testing.T) {
			_, err := i.js.CreateConsumer(t.Context(), names.StagingStream, jetstream.ConsumerConfig{
				Durable: "mine", FilterSubject: filter, AckPolicy: jetstream.AckExplicitPolicy,
			})
			i.must(err)
			_, err = i.tryOpen(i.server.Conn(), d, ages)
			if err == nil || !strings.Contains(err.Error(), "mine") || !strings.Contains(err.Error(), names.StagingStream) {
				t.Errorf("opened: %v", err)
			}
			i.must(i.js.DeleteConsumer(t.Context(), names.StagingStream, "mine"))
		})
	}
	i.open(d, ages)
}

func TestTakesIn(t *testing.T) {
	for _, c := range []struct {
		filter, subject string
		want            bool
	}{
		{"a.b.c", "a.b.c", true},
		{"a.b.c", "a.b.d", false},
		{"a.*.c", "a.b.c", true},
		{"a.b", "a.b.c", false},
		{"a.b.c.d", "a.b.c", false},
		{"a.b.c.>", "a.b.c", false},
		{"a.>", "a.b.c", true},
		{">", "a.b.c", true},
		{"*", "a.b.c", false},
	} {
		if got := takesIn(c.filter, c.subject); got != c.want {
			t.Errorf("%q takes in %q: %t", c.filter, c.subject, got)
		}
	}
}

// Whatever is published, an object that is read can be found and loaded.
func FuzzDecode(f *testing.F) {
	for _, d := range []batch.Delivery{{}, {Batch: "b", StreamID: "x", Location: "s3://bucket/key"}, {Batch: "b", StreamID: "x", Location: "s3:///"}} {
		data, err := d.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`hello`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decode(data)
		if err != nil {
			return
		}
		bucket, key, found := strings.Cut(strings.TrimPrefix(d.Location, "s3://"), "/")
		if !strings.HasPrefix(d.Location, "s3://") || !found || bucket == "" || key == "" || d.Batch == "" || d.StreamID == "" {
			t.Errorf("%q is read as %+v", data, d)
		}
	})
}
