package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

func TestSuccessIsWrittenDownAndAcknowledged(t *testing.T) {
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
	i := install(t)
	stream := i.stream("web.clicks")
	id := i.cut(describe(stream, 0))
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		switch a.Number {
		case 1:
			return Result{}, &Error{
				Class: Permanent, Code: "S3.NoSuchBucket", Message: "The specified bucket does not exist.", Err: errors.New("404 from s3.example"),
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
	want := []string{
		`{"attempt":1,"batch":"` + string(id) + `","deliveryStreamARN":"` + stream.ARN + `","deliveryStreamVersionId":1,` +
			`"destination":"arn:aws:s3:::bucket","detail":"404 from s3.example","errorCode":"S3.NoSuchBucket","format":1,` +
			`"message":"The specified bucket does not exist.","records":100}`,
		`{"attempt":2,"batch":"` + string(id) + `","deliveryStreamARN":"` + stream.ARN + `","deliveryStreamVersionId":1,` +
			`"destination":"arn:aws:s3:::bucket","errorCode":"S3.AccessDenied","format":1,"message":"Access was denied.","records":100}`,
		`{"attempt":3,"batch":"` + string(id) + `","deliveryStreamARN":"` + stream.ARN + `","deliveryStreamVersionId":1,` +
			`"destination":"arn:aws:s3:::bucket","detail":"something unforeseen","errorCode":"InternalError","format":1,` +
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

// A worker that takes longer than the ack wait keeps its batch.
func TestSlowDeliveryIsNotDoneTwice(t *testing.T) {
	i := install(t)
	stream := i.stream("a")
	cfg := testConfig()
	cfg.AckWait = time.Second
	var held atomic.Int64
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		for range 6 { // three times the ack wait
			<-time.After(cfg.AckWait / 2)
			if a.Held() == nil {
				held.Add(1)
			}
		}
		return succeed(ctx, a)
	})
	i.run(cfg, to)
	i.run(cfg, to) // another replica that would take it
	id := i.cut(describe(stream, 0))
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	if n := len(to.tried(id)); n != 1 || held.Load() != 6 {
		t.Errorf("tried %d times, held at %d of 6 looks", n, held.Load())
	}
}

func TestNotHeldWhileNATSIsAway(t *testing.T) {
	for _, c := range []struct {
		name   string
		away   func(i *installation, p *natstest.Proxy)
		resume func(i *installation, p *natstest.Proxy)
	}{
		{
			"stopped", func(i *installation, _ *natstest.Proxy) { i.server.Stop() },
			func(i *installation, _ *natstest.Proxy) {
				i.server.Restart()
				natstest.WaitFor(i.t, "the test is connected", i.js.Conn().IsConnected)
			},
		},
		// The connection takes what is sent, and the client does not know that nobody gets it.
		{"silent", func(_ *installation, p *natstest.Proxy) { p.Stall() }, func(_ *installation, p *natstest.Proxy) { p.Resume() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			stream := i.stream("a")
			proxy := i.server.Proxy()
			cfg := testConfig()
			cfg.AckWait = time.Second
			attempts := make(chan Attempt)
			results := make(chan error)
			to := newDestination(func(_ context.Context, a Attempt) (Result, error) {
				attempts <- a
				return Result{}, <-results
			})
			i.runOn(dial(t, proxy.URL()), cfg, to, nil)
			id := i.cut(describe(stream, 0))
			a := <-attempts
			if err := a.Held(); err != nil {
				t.Errorf("at the start: %v", err)
			}
			c.away(i, proxy)
			natstest.WaitFor(t, "not held", func() bool { return a.Held() != nil })
			c.resume(i, proxy)
			if err := a.Held(); !errors.Is(err, ErrNotHeld) {
				t.Errorf("after NATS is back, when another may have the batch: %v", err)
			}
			to.does(succeed)
			results <- fmt.Errorf("given up: %w", a.Held())
			i.awaitOutcome(id)
			i.awaitAllAcknowledged(stream)
			if got := i.outcomes(id); got[0].Attempts < 2 {
				t.Errorf("written down is %+v", got[0])
			}
			if es := i.errors(); len(es) != 0 {
				t.Errorf("the owner of the stream is told of %+v", es)
			}
		})
	}
}

// A batch that the worker lost does not come back to it by itself.
func TestNotHeldStaysSo(t *testing.T) {
	i := install(t)
	stream := i.stream("a")
	proxy := i.server.Proxy()
	cfg := testConfig()
	cfg.AckWait = time.Second
	attempts, goOn := make(chan Attempt), make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		if a.Number == 1 {
			attempts <- a
			<-goOn
		}
		return succeed(ctx, a) // as one that does not ask
	})
	i.runOn(dial(t, proxy.URL()), cfg, to, nil)
	id := i.cut(describe(stream, 0))
	a := <-attempts
	proxy.Stall()
	natstest.WaitFor(t, "not held", func() bool { return a.Held() != nil })
	<-time.After(cfg.AckWait) // now another may have it
	proxy.Resume()
	<-time.After(cfg.AckWait / 2) // words of work in progress would arrive
	if err := a.Held(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("held again: %v", err)
	}
	close(goOn)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

func TestBatchOfDeletedStreamIsDiscarded(t *testing.T) {
	i := install(t)
	old := i.stream("a")
	if err := i.catalog.Remove(t.Context(), "a", old.ID); err != nil {
		t.Fatal(err)
	}
	stream := i.stream("a")
	stale := i.cut(describe(old, 0))
	id := i.cut(describe(stream, 0))
	to := newDestination(succeed)
	i.run(testConfig(), to)
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
	if n := len(to.tried(stale)); n != 0 || len(i.outcomes(stale)) != 0 {
		t.Errorf("the batch of the deleted stream was tried %d times", n)
	}
}

// A view that lags is no reason to discard anything, nor to deliver under an old configuration.
func TestBatchThatTheViewDoesNotKnowYet(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(i *installation) *catalog.DeliveryStream
	}{
		{"a stream made again", func(i *installation) *catalog.DeliveryStream {
			d, err := i.catalog.Read(i.t.Context(), "a")
			if err != nil {
				i.t.Fatal(err)
			}
			if err := i.catalog.Remove(i.t.Context(), "a", d.ID); err != nil {
				i.t.Fatal(err)
			}
			return i.stream("a")
		}},
		{"a newer version", func(i *installation) *catalog.DeliveryStream {
			i.reconfigure("a")
			d, err := i.catalog.Read(i.t.Context(), "a")
			if err != nil {
				i.t.Fatal(err)
			}
			return d
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := install(t)
			first := i.stream("a")
			to := newDestination(succeed)
			gate := new(gateway)
			r := i.runOn(i.server.Conn(), testConfig(), to, &gate.Mutex)
			i.awaitOutcome(i.cut(describe(first, 0)))

			gate.Lock() // the view stops following at the next change
			i.stream("other")
			natstest.WaitFor(t, "the view stands still", func() bool { return r.view.Get("other") != nil })
			now := c.change(i)
			id := i.cut(describe(now, 1))
			natstest.WaitFor(t, "the batch is in hand", func() bool { return i.handedOut(first) || len(to.tried(id)) > 0 })
			if n := len(to.tried(id)); n != 0 {
				t.Errorf("tried %d times under a configuration that is not known", n)
			}
			gate.Unlock()
			i.awaitOutcome(id)
			for _, a := range to.tried(id) {
				if a.Stream.ID != now.ID || a.Stream.Version != now.Version {
					t.Errorf("delivered as version %d of %s", a.Stream.Version, a.Stream.ID)
				}
			}
		})
	}
}

// handedOut tells that a worker has a batch.
func (i *installation) handedOut(d *catalog.DeliveryStream) bool {
	i.t.Helper()
	c, err := i.js.Consumer(i.t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, d.Name, d.ID))
	if err != nil {
		i.t.Fatal(err)
	}
	return c.CachedInfo().NumAckPending > 0
}

// A document of a newer version is not a deletion: what is to be delivered stays.
func TestBatchOfUnreadableStreamStays(t *testing.T) {
	i := install(t)
	stream := i.stream("a")
	kv, err := i.js.KeyValue(t.Context(), names.CatalogBucket)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := kv.Get(t.Context(), stream.Name.Key())
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	to := newDestination(func(ctx context.Context, a Attempt) (Result, error) {
		<-release
		return succeed(ctx, a)
	})
	cfg := testConfig()
	cfg.Workers, cfg.PerStream = 1, 1
	r := i.run(cfg, to)
	first := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "the first batch is in hand", func() bool { return len(to.tried(first)) > 0 })
	second := i.cut(describe(stream, 1))
	if _, err := kv.Put(t.Context(), stream.Name.Key(), []byte(`{"format":2,"name":"a"}`)); err != nil {
		t.Fatal(err)
	}
	natstest.WaitFor(t, "the view has the newer document", func() bool { return r.view.Unreadable("a") != nil })
	close(release)
	i.awaitOutcome(first)
	natstest.WaitFor(t, "the first batch is acknowledged", func() bool { return i.waiting(stream) == 1 })
	if len(i.outcomes(second)) != 0 || len(to.tried(second)) != 0 {
		t.Error("the second batch was tried")
	}
	if _, err := kv.Put(t.Context(), stream.Name.Key(), entry.Value()); err != nil {
		t.Fatal(err)
	}
	i.awaitOutcome(second)
	i.awaitAllAcknowledged(stream)
}

// An owner that cannot be read is not one that is gone, whatever worker asks.
func TestOwner(t *testing.T) {
	i := install(t)
	stream := i.stream("a")
	r := i.run(testConfig(), newDestination(succeed))
	natstest.WaitFor(t, "the view is fresh", func() bool { return r.view.Freshen(t.Context()) == nil })
	kv, err := i.js.KeyValue(t.Context(), names.CatalogBucket)
	if err != nil {
		t.Fatal(err)
	}
	w := &work{Runner: r.Runner, attempt: 1}
	own := func(id names.StreamID, version int) (*catalog.DeliveryStream, error) {
		return w.owner(t.Context(), batch.Descriptor{Stream: "a", StreamID: id, Version: version})
	}
	if d, err := own(stream.ID, 1); err != nil || d == nil {
		t.Errorf("the owner is %+v, %v", d, err)
	}
	if d, err := own("another", 1); err != nil || d != nil {
		t.Errorf("the owner of another incarnation is %+v, %v", d, err)
	}
	if _, err := kv.Put(t.Context(), "a", []byte(`{"format":2}`)); err != nil {
		t.Fatal(err)
	}
	natstest.WaitFor(t, "the view has the newer document", func() bool { return r.view.Unreadable("a") != nil })
	if d, err := own(stream.ID, 1); !errors.Is(err, catalog.ErrNewerFormat) || d != nil {
		t.Errorf("the owner is %+v, %v", d, err)
	}
	i.server.Stop()
	if d, err := own(stream.ID, 1); err == nil || d != nil {
		t.Errorf("without NATS the owner is %+v, %v", d, err)
	}
	i.server.Restart()
}

// One worker, and a delivery stream whose destination always fails: the other is served all the same.
func TestFailingStreamDoesNotStopAnother(t *testing.T) {
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
	if to.most != 1 {
		t.Errorf("%d deliveries at once by one worker", to.most)
	}
	// When its destination is well again, all is delivered.
	to.does(succeed)
	i.awaitAllAcknowledged(bad)
}

func TestConcurrencyIsBounded(t *testing.T) {
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
	if to.most != cfg.PerStream || len(to.twice) != 0 {
		t.Errorf("%d at once, want %d; twice at a time: %v", to.most, cfg.PerStream, to.twice)
	}
}

// Deliveries that cannot be written down are not acknowledged, whatever the destination says.
func TestOutcomeThatCannotBeWrittenDown(t *testing.T) {
	i := install(t)
	stream := i.stream("a")
	if err := i.js.DeleteStream(t.Context(), names.DeliveriesStream); err != nil {
		t.Fatal(err)
	}
	to := newDestination(succeed)
	i.run(testConfig(), to)
	id := i.cut(describe(stream, 0))
	natstest.WaitFor(t, "tried several times", func() bool { return len(to.tried(id)) >= 3 })
	if n := i.waiting(stream); n != 1 {
		t.Errorf("%d batches wait, want 1", n)
	}
	i.prepare()
	i.awaitOutcome(id)
	i.awaitAllAcknowledged(stream)
}

// What nobody can read keeps nobody from the rest, and is not thrown away: a newer version may have written it.
func TestUnreadableBatch(t *testing.T) {
	i := install(t)
	stream := i.stream("a")
	subject := names.BatchesSubject(names.LegS3, "a", 0)
	i.publish(subject, []byte(`{"format":2,"stream":"a"}`))
	i.publish(subject, []byte(`hello`))
	to := newDestination(succeed)
	r := i.run(testConfig(), to)
	ids := []batch.ID{i.cut(describe(stream, 0)), i.cut(describe(stream, 1))}
	i.awaitOutcome(ids...)
	natstest.WaitFor(t, "the two are all that waits", func() bool { return i.waiting(stream) == 2 })
	if log := r.log.String(); !strings.Contains(log, "newer version") {
		t.Error("the log does not say why")
	}
	if n := len(to.attempts); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestLaneFollowsItsStream(t *testing.T) {
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
