package natstest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/natstest"
)

// TestRestore finds messages as they were given, and a stream that goes on as any other, across a restart.
func TestRestore(t *testing.T) {
	s := natstest.Start(t)
	midnight := time.Date(2018, 12, 31, 24, 0, 0, 0, time.UTC)
	given := []natstest.Message{
		{At: midnight.Add(-1), Subject: "old.a", Data: []byte("first")},
		{At: midnight, Subject: "old.b", Header: nats.Header{"Some-Name": {"a value"}}, Data: []byte("second")},
		{At: midnight.Add(time.Hour), Subject: "old.a"},
	}
	s.Restore(jetstream.StreamConfig{Name: "OLD", Subjects: []string{"old.*"}, Storage: jetstream.FileStorage}, given...)
	if _, err := s.JetStream().Publish(t.Context(), "old.a", []byte("new")); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	stream, err := s.JetStream().Stream(t.Context(), "OLD")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range given {
		got, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		if !got.Time.Equal(want.At) || got.Subject != want.Subject || string(got.Data) != string(want.Data) {
			t.Errorf("message %d is %s %s %q", i+1, got.Time, got.Subject, got.Data)
		}
		if got.Header.Get("Some-Name") != want.Header.Get("Some-Name") {
			t.Errorf("the header of message %d is %v", i+1, got.Header)
		}
	}
	if state := stream.CachedInfo().State; state.Msgs != 4 || state.LastSeq != 4 {
		t.Errorf("%d messages, the last is %d", state.Msgs, state.LastSeq)
	}
}
