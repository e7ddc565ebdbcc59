package jspull

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		header nats.Header
		want   error
	}{
		{"a heartbeat", nats.Header{"Status": {"100"}}, nil},
		{"no messages", nats.Header{"Status": {"404"}, "Description": {"No Messages"}}, ErrOver},
		{"its time is over", nats.Header{"Status": {"408"}, "Description": {"Request Timeout"}}, ErrOver},
		{"another pin", nats.Header{"Status": {"423"}, "Description": {"Nats-Wrong-Pin-Id"}}, ErrUnpinned},
		{"nobody there", nats.Header{"Status": {"503"}}, ErrGone},
		{"deleted meanwhile", nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}, ErrGone},
		{"too large", nats.Header{"Status": {"409"}, "Description": {"Message Size Exceeds MaxBytes"}}, ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Answer(&nats.Msg{Header: c.header}); !errors.Is(err, c.want) {
				t.Errorf("it says %v, want %v", err, c.want)
			}
		})
	}
	for _, h := range []nats.Header{nil, {"Status": {"409"}, "Description": {"Leadership Change"}}, {"Status": {"x"}}} {
		err := Answer(&nats.Msg{Header: h})
		for _, known := range []error{nil, ErrOver, ErrGone, ErrUnpinned, ErrTooLarge} {
			if errors.Is(err, known) {
				t.Errorf("%q says %v", h, err)
			}
		}
	}
}

// A pinned client is handed messages under its pin, whatever header the publisher wrote; one with another pin is told so, and
// a pull that nothing fits into takes nothing.
func TestPin(t *testing.T) {
	p := newPulled(t, jetstream.ConsumerConfig{
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"g"}, PinnedTTL: time.Minute,
	})
	for range 2 {
		_, err := p.js.PublishMsg(t.Context(), &nats.Msg{Subject: "s", Header: nats.Header{"Nats-Pin-Id": {"forged"}}})
		p.must(err)
	}
	p.ask(Request{Messages: 1, Expires: patience, Group: "g"})
	pin := Pin(p.answer().Header)
	if pin == "" || pin == "forged" {
		t.Fatalf("the pin is %q", pin)
	}
	if other := Pin(nil); other != "" {
		t.Errorf("the pin of nothing is %q", other)
	}
	for _, c := range []struct {
		name    string
		request Request
		want    error
	}{
		{"another pin", Request{Messages: 1, Expires: patience, Group: "g", Pin: "forged"}, ErrUnpinned},
		{"nothing fits", Request{Messages: 1, NoWait: true, MaxBytes: 1, Group: "g", Pin: pin}, ErrTooLarge},
	} {
		p.ask(c.request)
		if m := p.answer(); IsMessage(m) || !errors.Is(Answer(m), c.want) {
			t.Errorf("%s: answer is %q", c.name, m.Header)
		}
	}
	p.ask(Request{Messages: 1, Expires: patience, Group: "g", Pin: pin})
	m := p.answer()
	if !IsMessage(m) || Pin(m.Header) != pin {
		t.Fatalf("answer is %q", m.Header)
	}
	if meta, err := m.Metadata(); err != nil || meta.NumDelivered != 1 || meta.Sequence.Stream != 2 {
		t.Errorf("it is %+v, %v", meta, err)
	}
}
