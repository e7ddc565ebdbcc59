// Package staging hands out the objects that are staged in S3 and wait to be loaded: the messages of STAGING, which the S3
// sink announces, to the service that loads them.
//
// Guarantees:
//   - An object leaves STAGING by Acknowledge alone, whatever its age, or with its delivery stream.
//   - Of the open Queues of a delivery stream, in whatever process, one has the turn: it alone is handed what waits. It keeps the
//     turn while it collects, and while it holds objects. When it dies, stops or closes another has it, after Config.AckWait
//     or at once.
//   - What a Queue holds is nobody else's as long as Held says so: JetStream is told of the work while it lasts.
//   - An object that is announced twice is one Object as long as it is held.
//
// Not guaranteed: that an object is handed out once. One that was announced again after it was acknowledged comes as
// another Object of the same batch id, and one whose holder stalled, or whose acknowledgement was lost, comes again: who loads
// it must find that out. Nor that one client loads at a time: who had the turn and stalled may wake in the middle of a step,
// and does not know it before it asks Held. Nor that the turn is somebody's at once: JetStream may give it to a Queue that has
// just died or closed while it waited, and then nobody has it for Config.AckWait.
//
// What each request does when its answer is lost, when it is repeated, and when its process wakes after a minute:
//   - A pull: what it was handed comes again after the ack wait; who wakes asks Held, which counts from before the pull.
//   - An acknowledgement: it is repeated, which changes nothing, or the object comes again. It is right whoever holds the
//     object by then, since only what is loaded, or set aside, is acknowledged.
//   - A word of work in progress: Held counts it as not said. It is not sent when Held fails, since JetStream would take it
//     for a word of the present holder.
//   - What hands an object back: the ack wait does the same. It is not sent when Held fails.
package staging

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// Errors of a Queue.
var (
	// ErrSuperseded says that the catalog no longer has the delivery stream that the Queue is of.
	ErrSuperseded = errors.New("the delivery stream was deleted or made anew meanwhile")
	// ErrLost says that the consumer is gone: open the Queue anew.
	ErrLost = errors.New("the consumer of staged objects is not there")
	// ErrNotHeld says that an object may be another client's by now.
	ErrNotHeld = errors.New("the staged object may be another client's by now")
)

// Config says how staged objects are held.
type Config struct {
	// AckWait is how long a Queue may be silent before its objects, and its turn, are another's. All Queues of a delivery
	// stream should have the same.
	AckWait time.Duration
	// Rest is how long an announcement rests that cannot be read. A newer version may have written it.
	Rest time.Duration
}

// Bound is how much is collected at once. One object is, whatever its size.
type Bound struct {
	Objects int
	Bytes   int64 // of records, before compression; 0 means any
}

// Queue is the staged objects of one delivery stream. Collect is for one goroutine at a time, the rest for any.
type Queue struct {
	js       jetstream.JetStream
	view     *catalog.View
	stream   names.Stream
	id       names.StreamID
	consumer string
	cfg      Config
	log      *slog.Logger

	end     context.CancelFunc
	telling sync.WaitGroup

	mu     sync.Mutex
	held   map[batch.ID]*Object
	rest   []*Object // held, and for the next Collect
	pin    string    // of the turn; empty without it
	pinned time.Time // when the turn was last asked for under the pin
}

// Open returns the Queue of a delivery stream. It makes the consumer, or finds that of an earlier run or another process. The
// view must be followed by whoever made it.
//
// A consumer that is made late, for a delivery stream that is deleted meanwhile, is removed when one of the same name
// has staged objects.
func Open(ctx context.Context, js jetstream.JetStream, view *catalog.View, stream *catalog.DeliveryStream, cfg Config, log *slog.Logger) (*Queue, error) {
	q := &Queue{
		js: js, view: view, stream: stream.Name, id: stream.ID, cfg: cfg, log: log.With("stream", stream.Name),
		consumer: names.SinkConsumer(names.LegRedshift, stream.Name, stream.ID),
		held:     map[batch.ID]*Object{},
	}
	if err := q.openConsumer(ctx); err != nil {
		return nil, err
	}
	telling, end := context.WithCancel(context.WithoutCancel(ctx))
	q.end = end
	q.telling.Go(func() { q.keepTelling(telling) })
	return q, nil
}

// Close hands back what is held, gives up the turn, and returns when nothing of the Queue runs any more.
func (q *Queue) Close() {
	q.end()
	q.telling.Wait()
	q.HandBack(0, q.holding()...)
	q.giveUpTurn()
	q.view.Refused.Note(q.thing(), nil)
}

// holding returns what is held.
func (q *Queue) holding() []*Object {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]*Object, 0, len(q.held))
	for _, o := range q.held {
		all = append(all, o)
	}
	return all
}
