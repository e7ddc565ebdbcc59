package delivery

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/jspull"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// puller is a durable consumer of the batches of one delivery stream.
type puller struct {
	*installation
	conn     *nats.Conn
	consumer jetstream.Consumer
	name     string
}

func newPuller(t *testing.T) *puller {
	t.Helper()
	i := install(t)
	stream := i.stream("a")
	r := &Runner{cfg: testConfig(), js: i.js, log: quiet}
	config := r.consumerConfig("a", stream.ID)
	consumer, err := i.js.CreateOrUpdateConsumer(t.Context(), names.BatchesStream, config)
	if err != nil {
		t.Fatal(err)
	}
	return &puller{i, i.server.Conn(), consumer, config.Durable}
}

func (p *puller) put(data string, header nats.Header) {
	p.t.Helper()
	m := &nats.Msg{Subject: names.BatchesSubject(names.LegS3, "a", 0), Data: []byte(data), Header: header}
	if _, err := p.js.PublishMsg(p.t.Context(), m); err != nil {
		p.t.Fatal(err)
	}
}

// pulls returns how many pulls JetStream knows of.
func (p *puller) pulls() int {
	p.t.Helper()
	info, err := p.consumer.Info(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return info.NumWaiting
}

func (p *puller) pending() int {
	p.t.Helper()
	info, err := p.consumer.Info(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return info.NumAckPending
}

func TestPull(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	before := p.conn.NumSubscriptions()
	p.put("first", nil)
	m, err := pull(t.Context(), p.conn, p.name, time.Minute)
	if err != nil || string(m.Data) != "first" || m.attempt() != 1 {
		t.Fatalf("got %v, %v", m, err)
	}
	if err := m.handBack(0); err != nil {
		t.Fatal(err)
	}
	if m, err = pull(t.Context(), p.conn, p.name, time.Minute); err != nil || string(m.Data) != "first" || m.attempt() != 2 {
		t.Fatalf("after it was handed back: %v, %v", m, err)
	}
	if err := m.inProgress(t.Context()); err != nil {
		t.Error(err)
	}
	if err := m.acknowledge(t.Context()); err != nil {
		t.Error(err)
	}
	if n := p.pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}
	if n := p.conn.NumSubscriptions(); n > before+1 { // one for answers to requests
		t.Errorf("%d subscriptions, were %d", n, before)
	}
}

func TestPullWaits(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	pulled := make(chan error, 1)
	go func() {
		m, err := pull(t.Context(), p.conn, p.name, time.Minute)
		if err == nil && string(m.Data) != "late" {
			err = fmt.Errorf("got %q", m.Data)
		}
		pulled <- err
	}()
	natstest.WaitFor(t, "it waits", func() bool { return p.pulls() == 1 })
	p.put("late", nil)
	if err := <-pulled; err != nil {
		t.Error(err)
	}
}

// Headers that JetStream uses for its own messages do not hide a batch.
func TestPullOfHostileHeaders(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	headers := []nats.Header{
		{"Description": {"Consumer Deleted"}},
		{"Nats-Pending-Messages": {"0"}, "Nats-Pending-Bytes": {"0"}},
		{"Nats-Sequence": {"1"}, "Nats-Last-Consumer": {"0"}},
	}
	for _, status := range []string{"", "100", "404", "408", "409", "423", "503"} {
		headers = append(headers, nats.Header{"Status": {status}}, nats.Header{"Status": {status}, "Description": {"Consumer Deleted"}})
	}
	for _, h := range headers {
		for _, data := range []string{"", "batch"} {
			p.put(data, h)
			m, err := pull(t.Context(), p.conn, p.name, time.Minute)
			if err != nil || string(m.Data) != data || m.attempt() != 1 {
				t.Fatalf("with %q: %v, %v", h, m, err)
			}
			if err := m.acknowledge(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPullOfNoConsumer(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	if m, err := pull(t.Context(), p.conn, "absent", time.Minute); !errors.Is(err, jspull.ErrGone) || m != nil {
		t.Errorf("without a consumer: %v, %v", m, err)
	}
	pulled := make(chan error, 1)
	go func() {
		_, err := pull(t.Context(), p.conn, p.name, time.Minute)
		pulled <- err
	}()
	natstest.WaitFor(t, "it waits", func() bool { return p.pulls() == 1 })
	if err := p.js.DeleteConsumer(t.Context(), names.BatchesStream, p.name); err != nil {
		t.Fatal(err)
	}
	if err := <-pulled; !errors.Is(err, jspull.ErrGone) {
		t.Errorf("of a consumer that is deleted: %v", err)
	}
}

// Asking while NATS is away leaves nothing behind in the client.
func TestPullWithoutNATS(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	before := p.conn.NumSubscriptions()
	p.server.Stop()
	natstest.WaitFor(t, "the client knows", func() bool { return !p.conn.IsConnected() })
	for range 20 {
		if m, err := pull(t.Context(), p.conn, p.name, time.Minute); err == nil || m != nil {
			t.Errorf("without NATS: %v, %v", m, err)
		}
	}
	if n := p.conn.NumSubscriptions(); n != before {
		t.Errorf("%d subscriptions, were %d", n, before)
	}
}

// A server that was started again knows of no pull; the client does not wait for it.
func TestPullOverARestart(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	pulled := make(chan error, 1)
	go func() {
		_, err := pull(t.Context(), p.conn, p.name, time.Minute)
		pulled <- err
	}()
	natstest.WaitFor(t, "it waits", func() bool { return p.pulls() == 1 })
	p.server.Restart()
	if err := <-pulled; err == nil {
		t.Error("a batch came")
	}
}

// A pull that is given up takes what was handed out to it: nobody else gets that before the ack wait is over.
func TestPullThatIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		pulled := make(chan *message, 1)
		go func() {
			m, err := pull(ctx, p.conn, p.name, time.Minute)
			if (m == nil) != errors.Is(err, context.Canceled) {
				t.Errorf("got %v, %v", m, err)
			}
			pulled <- m
		}()
		go cancel()
		p.put("batch", nil)
		m := <-pulled
		if m == nil { // then it is still to be had: JetStream takes back what it hands out to nobody
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			var err error
			if m, err = pull(ctx, p.conn, p.name, time.Minute); err != nil {
				t.Fatalf("the batch is nobody's: %v", err)
			}
			cancel()
		}
		if err := m.acknowledge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPullFromAServerThatHangs(t *testing.T) {
	t.Parallel()
	p := newPuller(t)
	proxy := p.server.Proxy()
	conn := proxy.Conn()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	proxy.Stall()
	ctx, cancel := context.WithCancel(t.Context())
	pulled := make(chan error, 1)
	go func() {
		_, err := pull(ctx, conn, p.name, time.Minute)
		pulled <- err
	}()
	cancel()
	if err := <-pulled; !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
