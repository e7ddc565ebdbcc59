package recordlog

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

// Messages come with their own sequence, arrival and lengths, whatever headers of those names the publisher wrote.
func TestNextMessage(t *testing.T) {
	js := natstest.Start(t).JetStream()
	f := fill(t, js, 1, 30)
	m := &nats.Msg{Subject: f.log.Subject(), Data: []byte("onetwo!"), Header: nats.Header{
		record.LengthsHeader: {"3,4"}, "Nats-Time-Stamp": {"yesterday"}, "Nats-Sequence": {"77"},
	}}
	before := time.Now()
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	f.payloads, f.records = append(f.payloads, m.Data), append(f.records, 2)
	r := New(js).Open(f.batch(1, 2))
	defer r.Close()
	if _, err := r.NextMessage(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := r.NextMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Sequence != 2 || string(got.Payload) != "onetwo!" || !slices.Equal(got.Lengths, []int{3, 4}) {
		t.Errorf("got %+v", got)
	}
	if got.Arrived.Before(before) || got.Arrived.After(after) {
		t.Errorf("arrived %s, and was published from %s to %s", got.Arrived, before, after)
	}
	if _, err := r.NextMessage(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
