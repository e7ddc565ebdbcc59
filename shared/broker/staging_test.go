package broker_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// formerSubjects are those of DELIVERIES in an installation that knows nothing of staged objects.
func formerSubjects() []string { return []string{"deliveries.>"} }

// formerly makes DELIVERIES as an earlier version does, with an entry of each leg in it.
func formerly(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: names.DeliveriesStream, Subjects: formerSubjects(), MaxAge: 14 * 24 * time.Hour, MaxConsumers: 100_000,
		Duplicates: 100 * time.Millisecond, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, leg := range []names.Leg{names.LegS3, names.LegES, names.LegBackup} {
		publish(t, js, names.DeliveriesSubject(leg, "a"))
	}
}

func publish(t *testing.T, js jetstream.JetStream, subject string) string {
	t.Helper()
	ack, err := js.Publish(t.Context(), subject, []byte(subject))
	if err != nil {
		t.Fatal(err)
	}
	return ack.Stream
}

// readBy returns what a consumer with these filters is given of DELIVERIES.
func readBy(t *testing.T, js jetstream.JetStream, filters ...string) (subjects []string) {
	t.Helper()
	c, err := js.CreateConsumer(t.Context(), names.DeliveriesStream, jetstream.ConsumerConfig{
		FilterSubjects: filters, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		t.Fatalf("filters %q: %v", filters, err)
	}
	messages, err := c.FetchNoWait(100)
	if err != nil {
		t.Fatal(err)
	}
	for m := range messages.Messages() {
		subjects = append(subjects, m.Subject())
	}
	return subjects
}

// What an installation has of an earlier version stays, readers of both versions read it, and a service of that version may
// start again beside one of this.
func TestPrepareTakesStagingOutOfDeliveries(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	formerly(t, js)
	for range 2 { // the second time there is nothing to do
		if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
			t.Fatal(err)
		}
	}
	if to := publish(t, js, names.StagingSubject("a")); to != names.StagingStream {
		t.Errorf("a staged object is announced in %s", to)
	}
	if to := publish(t, js, names.DeliveriesSubject(names.LegRedshift, "a")); to != names.DeliveriesStream {
		t.Errorf("an outcome is in %s", to)
	}
	want := names.StreamDeliveries("a")
	for _, filters := range [][]string{names.DeliveriesSubjects(), want, formerSubjects(), {"deliveries.*.a"}} {
		if got := readBy(t, js, filters...); !slices.Equal(got, want) {
			t.Errorf("filters %q read %q, want %q", filters, got, want)
		}
	}
}

// A service of an earlier version reads a stream's settings, and stores them with what it changes.
func TestEarlierVersionLeavesTheSubjects(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	formerly(t, js)
	before := settings(t, js, names.DeliveriesStream)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	later := settings(t, js, names.DeliveriesStream)
	later.MaxAge += time.Hour
	if _, err := js.UpdateStream(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	// One that read them before the change is refused.
	before.MaxAge += 2 * time.Hour
	if _, err := js.UpdateStream(t.Context(), before); err == nil {
		t.Error("the subjects of STAGING were taken back")
	}
	if got := settings(t, js, names.DeliveriesStream); !slices.Equal(got.Subjects, names.DeliveriesSubjects()) || got.MaxAge != later.MaxAge {
		t.Errorf("the subjects are %q for %s", got.Subjects, got.MaxAge)
	}
}

// A version to come may have legs that this one does not know.
func TestPrepareLeavesSubjectsItDoesNotKnow(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, js := connect(t, cfg, quiet)
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	later := settings(t, js, names.DeliveriesStream)
	later.Subjects = append(later.Subjects, "deliveries.later.>")
	if _, err := js.UpdateStream(t.Context(), later); err != nil {
		t.Fatal(err)
	}
	if err := broker.Prepare(t.Context(), js, cfg, quiet); err != nil {
		t.Fatal(err)
	}
	if got := settings(t, js, names.DeliveriesStream); !slices.Equal(got.Subjects, later.Subjects) {
		t.Errorf("the subjects are %q", got.Subjects)
	}
}

// Services of this version that start together find the stream of the earlier one.
func TestPrepareTogether(t *testing.T) {
	s := natstest.Start(t)
	cfg := config(s)
	_, first := connect(t, cfg, quiet)
	formerly(t, first)
	prepared := make(chan error, 4)
	for range cap(prepared) {
		_, js := connect(t, cfg, quiet)
		go func() { prepared <- broker.Prepare(t.Context(), js, cfg, quiet) }()
	}
	for range cap(prepared) {
		if err := <-prepared; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if to := publish(t, first, names.StagingSubject("a")); to != names.StagingStream {
		t.Errorf("a staged object is announced in %s", to)
	}
}

func settings(t *testing.T, js jetstream.JetStream, name string) jetstream.StreamConfig {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}
