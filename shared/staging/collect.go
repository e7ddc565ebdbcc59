package staging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
	"hydrant/shared/jspull"
	"hydrant/shared/pause"
)

const (
	// gatherTime is how long, after the first object, a pull for more waits for what does not come. JetStream has no
	// other end for it: one that is not to wait is refused while other clients wait for their turn.
	gatherTime = 100 * time.Millisecond

	// lateAnswer is when a pull counts as over whose end was not told.
	lateAnswer = 2 * time.Second

	// discardDelay is how long one rests of which it is not known whether it is anybody's.
	discardDelay = time.Second
)

// Collect waits for the turn and for an object, and returns all that wait then, up to a bound. They are held until they are
// acknowledged or handed back. It returns an error when ctx ends, or ErrLost; while NATS is away it waits.
func (q *Queue) Collect(ctx context.Context, most Bound) ([]*Object, error) {
	most.Objects = max(most.Objects, 1)
	for ctx.Err() == nil {
		if err := q.fetch(ctx, most); err != nil {
			return nil, err
		}
		if objects := q.take(most); len(objects) > 0 {
			return objects, nil
		}
	}
	return nil, ctx.Err()
}

// fetch waits for an object, unless there is one from an earlier pull, and gathers what waits beside it.
func (q *Queue) fetch(ctx context.Context, most Bound) error {
	if q.room(most) == most.Objects {
		if n, err := q.pull(ctx, 1, q.cfg.AckWait/4); n == 0 || err != nil {
			return err
		}
	}
	for {
		room := q.room(most)
		if room == 0 {
			return nil
		}
		if n, err := q.pull(ctx, room, gatherTime); n < room || err != nil {
			return err
		}
	}
}

// room is how many objects more may be collected: none when there are enough, in number or in bytes.
func (q *Queue) room(most Bound) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes := int64(0)
	for _, o := range q.rest {
		bytes += o.Bytes
	}
	if most.Bytes > 0 && bytes >= most.Bytes {
		return 0
	}
	return max(most.Objects-len(q.rest), 0)
}

// take returns what has been pulled, within the bound. The rest stays for the next time, but for what may be another's by
// then.
func (q *Queue) take(most Bound) (objects []*Object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes := int64(0)
	for i, o := range q.rest {
		if q.stale(o) {
			q.letGo(o)
			continue
		}
		bytes += o.Bytes
		if len(objects) > 0 && (len(objects) == most.Objects || most.Bytes > 0 && bytes > most.Bytes) {
			q.rest = slices.Clone(q.rest[i:])
			return objects
		}
		objects = append(objects, o)
	}
	q.rest = nil
	return objects
}

// pull asks for so many objects and waits for them, and returns how many messages came. That the consumer is gone is an
// error; what else ends it early passes.
func (q *Queue) pull(ctx context.Context, n int, wait time.Duration) (came int, err error) {
	asked := time.Now()
	messages, err := q.receive(ctx, n, wait)
	for _, m := range messages {
		q.admit(ctx, m, asked)
	}
	if errors.Is(err, jspull.ErrGone) {
		return len(messages), ErrLost
	}
	if disturbed(err) && ctx.Err() == nil {
		q.log.Debug("pull of staged objects ended", "error", err)
		pause.For(ctx, 100*time.Millisecond)
	}
	return len(messages), nil
}

// disturbed tells a pull that ended in another way than pulls do.
func disturbed(end error) bool {
	return end != nil && !errors.Is(end, jspull.ErrOver) && !errors.Is(end, jspull.ErrUnpinned)
}

// receive asks for n messages and returns those that came until JetStream said that the pull is over, or for too long said
// nothing. It speaks JetStream's protocol itself, for the reasons that package jspull gives.
func (q *Queue) receive(ctx context.Context, n int, wait time.Duration) (messages []*nats.Msg, err error) {
	conn := q.js.Conn()
	answers := make(chan *nats.Msg, n+1)
	inbox := conn.NewInbox()
	sub, err := conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	connected := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(connected)
	pin, err := q.ask(jspull.Request{Messages: n, Expires: wait}, inbox)
	if err != nil {
		return nil, err
	}
	silence := time.NewTimer(wait + lateAnswer)
	defer silence.Stop()
	for len(messages) < n && err == nil {
		select {
		case m := <-answers:
			if jspull.IsMessage(m) {
				messages = append(messages, m)
				q.haveTurn(jspull.Pin(m.Header))
			} else {
				err = jspull.Answer(m)
			}
		case <-connected: // anew, and a server that was started again knows of no pull
			err = jspull.ErrOver
		case <-silence.C:
			err = jspull.ErrOver
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	switch {
	case errors.Is(err, jspull.ErrUnpinned):
		q.lostTurn(pin)
	case ctx.Err() != nil:
		jspull.Settle(conn, sub)
		messages = append(messages, drained(answers)...)
	}
	return messages, err
}

// drained returns the messages that came meanwhile.
func drained(answers <-chan *nats.Msg) (messages []*nats.Msg) {
	for {
		select {
		case m := <-answers:
			if jspull.IsMessage(m) {
				messages = append(messages, m)
			}
		default:
			return messages
		}
	}
}

// admit holds what a message announces, which JetStream handed out after the pull was sent. An object that is held already, in
// hand or not, gets one message more.
func (q *Queue) admit(ctx context.Context, m *nats.Msg, asked time.Time) {
	meta, err := m.Metadata()
	if err != nil {
		q.unreadable(m, err)
		return
	}
	d, err := decode(m.Data)
	switch {
	case err != nil:
		q.unreadable(m, err)
		return
	case d.StreamID != q.id:
		q.discard(ctx, m, d)
		return
	}
	q.view.Refused.Read(q.thing(), q.cfg.Rest)
	q.mu.Lock()
	defer q.mu.Unlock()
	o := q.held[d.Batch]
	if o == nil {
		o = &Object{Delivery: d, Attempt: int(meta.NumDelivered)}
		q.held[d.Batch] = o
		q.rest = append(q.rest, o)
	}
	o.join(m, meta, asked)
}

// thing is what those who run the service know the announcements as.
func (q *Queue) thing() string { return fmt.Sprintf("staged objects of delivery stream %s", q.stream) }

func (q *Queue) unreadable(m *nats.Msg, err error) {
	q.log.Error("announcement of a staged object handed back: it cannot be read", "error", err)
	q.view.Refused.Note(q.thing(), err)
	q.putBack(m, q.cfg.Rest)
}

// discard removes what an earlier delivery stream of the same name has announced: by a sink that had stalled and woke after
// its deletion. It stays while it is not known that it is the earlier one.
func (q *Queue) discard(ctx context.Context, m *nats.Msg, d batch.Delivery) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := q.confirm(ctx)
	if err == nil {
		err = q.say(ctx, []*nats.Msg{m}, ack)
	}
	if err != nil {
		q.log.Warn("announcement of another delivery stream's object handed back", "batch", d.Batch, "error", err)
		q.putBack(m, discardDelay)
		return
	}
	q.log.Info("announcement of a deleted delivery stream's object discarded", "batch", d.Batch, "location", d.Location)
}
