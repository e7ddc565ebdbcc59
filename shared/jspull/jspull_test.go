package jspull

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

const patience = time.Minute

// pulled is a consumer of a stream, and where the answers to its pulls arrive.
type pulled struct {
	*testing.T
	js      jetstream.JetStream
	inbox   string
	answers chan *nats.Msg
}

func newPulled(t *testing.T, config jetstream.ConsumerConfig) *pulled {
	t.Helper()
	p := &pulled{T: t, js: natstest.Start(t).JetStream(), answers: make(chan *nats.Msg, 100)}
	p.inbox = p.js.Conn().NewInbox()
	stream, err := p.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	p.must(err)
	config.Name, config.AckPolicy = "c", jetstream.AckNonePolicy
	_, err = stream.CreateConsumer(t.Context(), config)
	p.must(err)
	_, err = p.js.Conn().ChanSubscribe(p.inbox, p.answers)
	p.must(err)
	return p
}

func (p *pulled) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *pulled) ask(r Request) {
	p.Helper()
	p.must(r.Send(p.js.Conn(), "S", "c", p.inbox))
}

func (p *pulled) answer() *nats.Msg {
	p.Helper()
	select {
	case m := <-p.answers:
		return m
	case <-time.After(patience):
		p.Fatal("no answer")
		return nil
	}
}

// What JetStream says to a pull, in its own words.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name    string
		before  func(*pulled)
		request Request
		status  string
	}{
		{"no more messages", nil, Request{Messages: 1, NoWait: true}, "404"},
		{"its time is over", nil, Request{Messages: 1, Expires: 10 * time.Millisecond}, "408"},
		{"a heartbeat", nil, Request{Messages: 1, Expires: time.Minute, Heartbeat: 10 * time.Millisecond}, "100"},
		{"no consumer", func(p *pulled) {
			p.must(p.js.DeleteConsumer(context.Background(), "S", "c"))
		}, Request{Messages: 1, Expires: time.Minute}, "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPulled(t, jetstream.ConsumerConfig{})
			if c.before != nil {
				c.before(p)
			}
			p.ask(c.request)
			if m := p.answer(); IsMessage(m) || m.Header.Get("Status") != c.status {
				t.Errorf("answer is %q, message %t; want status %s", m.Header, IsMessage(m), c.status)
			}
		})
	}
}

// Whatever the publisher wrote, a message is a message and its payload has the size it has.
func TestHostileHeaders(t *testing.T) {
	headers := []nats.Header{nil, {"Nats-Msg-Size": {"7"}}, {"Nats-Msg-Size": {"", "x"}}, {"Description": {"Consumer Deleted"}}}
	for _, status := range []string{"", "100", "204", "404", "408", "409", "503"} {
		headers = append(headers, nats.Header{"Status": {status}, "Nats-Pending-Messages": {"0"}, "Nats-Last-Consumer": {"0"}})
	}
	for _, headersOnly := range []bool{false, true} {
		t.Run(fmt.Sprintf("headers only %t", headersOnly), func(t *testing.T) {
			p := newPulled(t, jetstream.ConsumerConfig{HeadersOnly: headersOnly})
			for _, h := range headers {
				for _, data := range []string{"", "a record"} {
					_, err := p.js.PublishMsg(t.Context(), &nats.Msg{Subject: "s", Header: h, Data: []byte(data)})
					p.must(err)
					p.ask(Request{Messages: 1, Expires: time.Minute})
					m := p.answer()
					if !IsMessage(m) {
						t.Fatalf("%q is taken for JetStream's own", h)
					}
					if !headersOnly {
						if string(m.Data) != data {
							t.Errorf("%q came with %q", h, m.Data)
						}
						continue
					}
					if size, err := PayloadSize(m.Header); err != nil || size != len(data) || len(m.Data) != 0 {
						t.Errorf("size of %d bytes with %q is %d, %v", len(data), h, size, err)
					}
				}
			}
		})
	}
}

func TestPayloadSize(t *testing.T) {
	for _, c := range []struct {
		name   string
		header nats.Header
		want   int
		ok     bool
	}{
		{"told", nats.Header{"Nats-Msg-Size": {"12"}}, 12, true},
		{"told behind others", nats.Header{"Nats-Msg-Size": {"1", "x", "12"}}, 12, true},
		{"not told", nats.Header{"Status": {"100"}}, 0, false},
		{"no header", nil, 0, false},
		{"no number", nats.Header{"Nats-Msg-Size": {"12", "x"}}, 0, false},
		{"less than nothing", nats.Header{"Nats-Msg-Size": {"-1"}}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := PayloadSize(c.header); got != c.want || (err == nil) != c.ok {
				t.Errorf("size is %d, %v", got, err)
			}
		})
	}
}

// A time that comes from a clock on the wall has no monotonic reading, and counts all the same.
func TestSince(t *testing.T) {
	ago := time.Now().Add(-time.Hour)
	for _, then := range []time.Time{ago, ago.Round(0)} {
		if d := Since(then); d < time.Hour || d > 2*time.Hour {
			t.Errorf("an hour ago is %s ago", d)
		}
	}
}
