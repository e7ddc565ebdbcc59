package recordlog

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/format"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

// Messages come with their own sequence, arrival and lengths, whatever headers of those names the publisher wrote.
// A message that this build cannot tell the records of is no part of what was read.
func TestMessageOfANewerFormat(t *testing.T) {
	js := natstest.Start(t).JetStream()
	f := fill(t, js, 1, 30)
	m := &nats.Msg{Subject: f.log.Subject(), Data: []byte("squeezed"), Header: nats.Header{record.FormatHeader: {"2"}, record.LengthsHeader: {"30,40"}}}
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	f.payloads, f.records = append(f.payloads, m.Data), append(f.records, 1)
	counts, err := New(js).Read(t.Context(), f.batch(1, 2), func([]byte) error { return nil })
	if !errors.Is(err, format.ErrNewer) || !strings.Contains(err.Error(), "message 2") || !strings.Contains(err.Error(), "format 2, known up to 1") {
		t.Errorf("the error is %v", err)
	}
	if counts.Messages != 1 || counts.Bytes != 30 {
		t.Errorf("counted %+v", counts)
	}
}

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
