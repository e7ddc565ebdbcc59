package staging

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
)

// words are what was said to JetStream of messages, of which it answers each.
type words struct {
	answers chan *nats.Msg
	sub     *nats.Subscription
	inbox   string
	due     int
}

// say sends a word of each message, and waits for JetStream's answers: a connection that is dead without knowing it takes
// whatever it is given.
func (q *Queue) say(ctx context.Context, messages []*nats.Msg, word string) error {
	w, err := q.send(messages, word)
	if err != nil {
		return err
	}
	defer w.end()
	return w.await(ctx)
}

func (q *Queue) send(messages []*nats.Msg, word string) (*words, error) {
	conn := q.js.Conn()
	w := &words{answers: make(chan *nats.Msg, len(messages)+1), inbox: conn.NewInbox(), due: len(messages)}
	var err error
	if w.sub, err = conn.ChanSubscribe(w.inbox, w.answers); err != nil {
		return nil, err
	}
	for _, m := range messages {
		if err := conn.PublishRequest(m.Reply, w.inbox, []byte(word)); err != nil {
			w.end()
			return nil, err
		}
	}
	return w, nil
}

// await returns nil when every word is answered.
func (w *words) await(ctx context.Context) error {
	for w.due > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of the answers did not come: %w", w.due, ctx.Err())
		case m := <-w.answers:
			switch m.Header.Get("Status") {
			case "":
				w.due--
			case "503":
				return nats.ErrNoResponders
			}
		}
	}
	return nil
}

func (w *words) end() { _ = w.sub.Unsubscribe() }
