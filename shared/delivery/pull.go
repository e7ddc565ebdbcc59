package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/jspull"
	"hydrant/shared/names"
)

const (
	// longestPull is how long one pull waits for a batch at most.
	longestPull = 10 * time.Second
	// lateAnswer is when a pull counts as over whose end was not told.
	lateAnswer = 5 * time.Second
)

// errMute is what a pull may end with other than a batch, or an answer of JetStream's own.
var errMute = errors.New("JetStream does not answer a pull")

// message is a batch as JetStream handed it out.
type message struct {
	*nats.Msg
	conn *nats.Conn

	// asked is when the pull was sent. The ack wait may run from any time since: a process that was stopped, or whose network
	// was, receives long after JetStream sent.
	asked time.Time
}

// pullTime is how long a pull waits, so that a batch that comes at its end is still held for a good part of the ack wait.
func pullTime(ackWait time.Duration) time.Duration { return min(ackWait/4, longestPull) }

// pull waits for a batch of a durable consumer, as long as JetStream lets it.
//
// It speaks JetStream's protocol itself. The client's own Next leaves a subscription behind whenever NATS is away, and when
// its context ends it may drop a batch that has arrived already, which then is nobody's until the ack wait is over.
func pull(ctx context.Context, conn *nats.Conn, consumer string, wait time.Duration) (*message, error) {
	answers := make(chan *nats.Msg, 2) // a batch, or why there is none
	inbox := conn.NewInbox()
	sub, err := conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	connected := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(connected)
	asked := time.Now()
	request := jspull.Request{Messages: 1, Expires: wait}
	if err := request.Send(conn, names.BatchesStream, consumer, inbox); err != nil {
		return nil, err
	}
	m, err := answer(ctx, answers, connected, wait+lateAnswer)
	if m == nil && ctx.Err() != nil {
		m = settle(conn, sub, answers)
	}
	if m == nil {
		return nil, err
	}
	return &message{m, conn, asked}, nil
}

func answer(ctx context.Context, answers <-chan *nats.Msg, connected <-chan nats.Status, most time.Duration) (*nats.Msg, error) {
	silence := time.NewTimer(most)
	defer silence.Stop()
	for {
		select {
		case m := <-answers:
			if jspull.IsMessage(m) {
				return m, nil
			}
			if err := jspull.Answer(m); err != nil {
				return nil, err
			}
		case <-connected: // anew, and a server that was started again knows of no pull
			return nil, jspull.ErrOver
		case <-silence.C:
			return nil, errMute
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// settle gives a pull up, and returns a batch that came until JetStream had heard of it.
func settle(conn *nats.Conn, sub *nats.Subscription, answers <-chan *nats.Msg) *nats.Msg {
	jspull.Settle(conn, sub)
	for {
		select {
		case m := <-answers:
			if jspull.IsMessage(m) {
				return m
			}
		default:
			return nil
		}
	}
}

// attempt is how often the batch was handed out, as far as JetStream remembers.
func (m *message) attempt() int {
	meta, err := m.Metadata()
	if err != nil {
		return 1
	}
	return int(meta.NumDelivered)
}

// sequence is what JetStream knows the batch by.
func (m *message) sequence() uint64 {
	meta, err := m.Metadata()
	if err != nil {
		return 0
	}
	return meta.Sequence.Stream
}

// acknowledge waits for JetStream's word that the acknowledgement arrived.
func (m *message) acknowledge(ctx context.Context) error {
	_, err := m.conn.RequestWithContext(ctx, m.Reply, []byte("+ACK"))
	return err
}

// inProgress tells JetStream that the work goes on, and waits for its answer: a connection that is dead without knowing it
// takes every message.
func (m *message) inProgress(ctx context.Context) error {
	_, err := m.conn.RequestWithContext(ctx, m.Reply, []byte("+WPI"))
	return err
}

// handBack returns the batch, to be handed out again after delay. Nobody waits for an answer: the ack wait does the same.
func (m *message) handBack(delay time.Duration) error {
	return m.conn.Publish(m.Reply, fmt.Appendf(nil, `-NAK {"delay":%d}`, max(delay, 0)))
}
