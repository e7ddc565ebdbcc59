package staging

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/jspull"
	"hydrant/shared/names"
)

// ask sends a pull, in the name of who has the turn if that is this Queue, and returns that name.
func (q *Queue) ask(r jspull.Request, inbox string) (pin string, err error) {
	q.mu.Lock()
	r.Group, r.Pin = turns, q.pin
	if q.pin != "" {
		q.pinned = time.Now()
	}
	q.mu.Unlock()
	return r.Pin, r.Send(q.js.Conn(), names.StagingStream, q.consumer, inbox)
}

// haveTurn notes the name that came with a message.
func (q *Queue) haveTurn(pin string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if pin != q.pin {
		q.pin, q.pinned = pin, time.Now()
	}
}

// lostTurn forgets a name that another has the turn under by now. The next pull waits for the turn as everybody's does.
func (q *Queue) lostTurn(pin string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pin == pin {
		q.pin = ""
	}
}

// inTurn tells whether there is a turn to keep.
func (q *Queue) inTurn() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pin != "" && len(q.held) > 0
}

// keepTurn keeps the turn while nothing is pulled, because what is held is being loaded. JetStream counts the time from the
// last pull, so this is one that nothing fits into: what waits stays where it is.
func (q *Queue) keepTurn(ctx context.Context) error {
	if !q.inTurn() {
		return nil
	}
	conn := q.js.Conn()
	answers := make(chan *nats.Msg, 1)
	inbox := conn.NewInbox()
	sub, err := conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	pin, err := q.ask(jspull.Request{Messages: 1, NoWait: true, MaxBytes: 1}, inbox)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case m := <-answers:
		if errors.Is(jspull.Answer(m), jspull.ErrUnpinned) {
			q.lostTurn(pin)
			q.log.Debug("turn lost")
		}
		return nil
	}
}

// giveUpTurn lets another have the turn at once. It is for who has it beyond doubt: JetStream does not ask whose it is.
func (q *Queue) giveUpTurn() {
	q.mu.Lock()
	have := q.pin != "" && jspull.Since(q.pinned) < q.cfg.AckWait*3/4
	q.pin = ""
	q.mu.Unlock()
	if !have || !q.js.Conn().IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stream, err := q.js.Stream(ctx, names.StagingStream)
	if err == nil {
		err = stream.UnpinConsumer(ctx, q.consumer, turns)
	}
	if err != nil {
		q.log.Debug("turn not given up: another has it after the ack wait", "error", err)
	}
}
