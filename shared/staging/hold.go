package staging

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/jspull"
	"hydrant/shared/pause"
)

// What is said to JetStream of a message.
const (
	ack        = "+ACK"
	inProgress = "+WPI"
)

// Held returns nil if the objects are nobody else's, and ErrNotHeld if one of them may be: so much of the ack wait has passed
// since JetStream was last told of it that another may have it soon.
func (q *Queue) Held(objects ...*Object) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range objects {
		if q.held[o.Batch] != o || q.stale(o) {
			return fmt.Errorf("%w: %s, of which JetStream was not told for %s", ErrNotHeld, o.Batch, jspull.Since(o.told).Round(time.Millisecond))
		}
	}
	return nil
}

func (q *Queue) stale(o *Object) bool { return jspull.Since(o.told) > q.cfg.AckWait*3/4 }

// Acknowledge removes objects that are loaded, or set aside. It returns nil when JetStream has said that they are gone; after
// an error some may be, all are held on, and it is safe to repeat.
func (q *Queue) Acknowledge(ctx context.Context, objects ...*Object) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := q.say(ctx, q.messages(objects), ack); err != nil {
		return fmt.Errorf("acknowledge staged objects: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range objects {
		q.letGo(o)
	}
	return nil
}

func (q *Queue) messages(objects []*Object) (all []*nats.Msg) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range objects {
		all = append(all, o.messages...)
	}
	return all
}

// letGo forgets an object. The caller has the lock.
func (q *Queue) letGo(o *Object) {
	if q.held[o.Batch] == o {
		delete(q.held, o.Batch)
	}
}

// HandBack returns objects to JetStream, to be handed out again, to whoever has the turn then, after delay. Those that may be
// another's are only let go.
func (q *Queue) HandBack(delay time.Duration, objects ...*Object) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range objects {
		if q.held[o.Batch] != o {
			continue
		}
		q.letGo(o)
		if q.stale(o) {
			continue
		}
		for _, m := range o.messages {
			q.putBack(m, delay) // under the lock: a word of work in progress that came after it would undo the delay
		}
	}
}

// putBack hands one message back. If that is lost, the ack wait does the same.
func (q *Queue) putBack(m *nats.Msg, delay time.Duration) {
	err := q.js.Conn().Publish(m.Reply, fmt.Appendf(nil, `-NAK {"delay":%d}`, max(delay, 0)))
	if err != nil {
		q.log.Debug("staged object not handed back, its ack wait will do so", "error", err)
	}
}

// keepTelling tells JetStream that the work on what is held goes on, until ctx ends.
func (q *Queue) keepTelling(ctx context.Context) {
	wait := q.cfg.AckWait / 4
	for pause.For(ctx, wait) {
		wait = q.cfg.AckWait / 4
		if err := q.tell(ctx); err != nil && ctx.Err() == nil {
			q.log.Debug("JetStream not told of the work on staged objects", "error", err)
			wait /= 4
		}
	}
}

// tell tells JetStream that there is still somebody at work.
func (q *Queue) tell(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, q.cfg.AckWait/4)
	defer cancel()
	if err := q.tellOfObjects(ctx); err != nil {
		return err
	}
	return q.keepTurn(ctx)
}

// tellOfObjects tells JetStream of each object that is held beyond doubt. Telling it of what another client holds would be
// taken for that client's word, and make Held say otherwise here.
func (q *Queue) tellOfObjects(ctx context.Context) error {
	at := time.Now()
	told, words, err := q.sendWords()
	if err != nil || len(told) == 0 {
		return err
	}
	defer words.end()
	if err := words.await(ctx); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, o := range told {
		if o.told.Before(at) {
			o.told = at
		}
	}
	return nil
}

// sendWords sends a word of each object that is held, under the lock, so that none follows the word that hands the object
// back.
func (q *Queue) sendWords() (told []*Object, sent *words, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var messages []*nats.Msg
	for _, o := range q.held {
		if !q.stale(o) {
			told, messages = append(told, o), append(messages, o.messages...)
		}
	}
	if len(told) == 0 {
		return nil, nil, nil
	}
	sent, err = q.send(messages, inProgress)
	return told, sent, err
}
