package buffer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
	"hydrant/shared/record"
)

const (
	// An idle reader costs the server one pull in pullTime and one heartbeat in heartbeat. A reader whose consumer is gone
	// without a word notices after two heartbeats.
	pullTime  = 5 * time.Minute
	heartbeat = 10 * time.Second

	// pullMessages are asked for at a time. The channel of answers has room for all of them, and for what the server says
	// itself meanwhile, so nothing is ever dropped.
	pullMessages = 512
	ownAnswers   = 64

	// forgetTime is how long the server keeps the consumer of a reader that is gone without closing.
	forgetTime = time.Minute
	closeTime  = 2 * time.Second
)

var errMute = errors.New("JetStream is silent")

// arrival is what the buffer has to know of a message in the log.
type arrival struct {
	sequence uint64 // in the log
	delivery uint64 // count of what the consumer delivered: 1, 2, 3, …
	pending  uint64 // messages in the log behind it, when it was sent
	time     time.Time
	bytes    int64
	records  int
}

// start is where a reader begins: at a sequence, or, when that is 0, at the first message that arrived at or after since.
type start struct {
	sequence uint64
	since    time.Time
}

// reader reads the headers of a log's messages, from a start to the end and on as they arrive.
//
// It never repeats or repairs anything itself: whatever may have cost it a message is an error on failed, after which the
// cutter drops what it filled and begins again at the cursor. That is why it is not nats.go's ordered consumer, whose
// repairs go on in the background, with pauses of seconds, and hold up a stop while NATS is away. And it speaks the
// protocol of a pull itself, because the client takes a record whose publisher gave it a header "Status" for a word of the
// server's own, and would never hand it out.
type reader struct {
	log      jetstream.Stream
	name     string
	conn     *nats.Conn
	inbox    string
	answers  chan *nats.Msg
	sub      *nats.Subscription
	arrivals chan arrival
	failed   chan error
	done     chan struct{} // closed by close
	ended    chan struct{} // closed when run has returned
}

// openReader makes an ephemeral consumer in the server's memory and begins to read.
//
// A lost answer leaves a consumer that nobody reads, which the server removes after forgetTime; so does a process that
// wakes late. A consumer changes nothing in the log.
func openReader(ctx context.Context, conn *nats.Conn, log jetstream.Stream, leg names.Leg, from start) (*reader, error) {
	config := jetstream.ConsumerConfig{
		Name:              "buffer_" + string(leg) + "_" + string(names.NewStreamID()),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from.sequence,
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: forgetTime,
	}
	if from.sequence == 0 {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &from.since
	}
	if _, err := log.CreateConsumer(ctx, config); err != nil {
		return nil, fmt.Errorf("make a consumer of the record log: %w", err)
	}
	r := &reader{
		log: log, name: config.Name, conn: conn, inbox: conn.NewInbox(),
		answers: make(chan *nats.Msg, pullMessages+ownAnswers), arrivals: make(chan arrival, 64),
		failed: make(chan error, 1), done: make(chan struct{}), ended: make(chan struct{}),
	}
	var err error
	if r.sub, err = conn.ChanSubscribe(r.inbox, r.answers); err != nil {
		return nil, fmt.Errorf("read the record log: %w", err)
	}
	go r.run()
	return r, nil
}

// run pulls until the reader is closed or anything is in doubt.
func (r *reader) run() {
	defer close(r.ended)
	silence := time.NewTimer(2 * heartbeat)
	defer silence.Stop()
	for due := 0; ; {
		if due == 0 {
			if err := r.pull(); err != nil {
				r.fail(err)
				return
			}
			due = pullMessages
		}
		select {
		case <-r.done:
			return
		case <-silence.C:
			r.fail(errMute)
			return
		case m := <-r.answers:
			silence.Reset(2 * heartbeat)
			left, err := r.take(m, due)
			if err != nil {
				r.fail(err)
				return
			}
			due = left
		}
	}
}

// pull asks for the next messages, as they come. A lost request shows as silence.
func (r *reader) pull() error {
	subject := "$JS.API.CONSUMER.MSG.NEXT." + r.log.CachedInfo().Config.Name + "." + r.name
	request := fmt.Appendf(nil, `{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, pullMessages, pullTime, heartbeat)
	return r.conn.PublishRequest(subject, r.inbox, request)
}

// fail keeps the first error; one is enough to begin again.
func (r *reader) fail(err error) {
	select {
	case r.failed <- fmt.Errorf("read the record log: %w", err):
	default:
	}
}

// take deals with an answer to a pull of which so many messages are due, and returns how many are after it: a message of
// the log, which alone can be acknowledged, whatever headers its publisher gave it, or a word of the server's own.
func (r *reader) take(m *nats.Msg, due int) (left int, err error) {
	if strings.HasPrefix(m.Reply, "$JS.ACK.") {
		a, err := arrivalOf(m)
		if err != nil {
			return 0, err
		}
		select {
		case r.arrivals <- a:
		case <-r.done:
		}
		return due - 1, nil
	}
	switch status := m.Header.Get("Status"); status {
	case "100": // a heartbeat
		return due, nil
	case "404", "408": // the pull is over
		return 0, nil
	default:
		return 0, fmt.Errorf("JetStream answered a pull with %q, %q", status, m.Header.Get("Description"))
	}
}

func arrivalOf(m *nats.Msg) (arrival, error) {
	meta, err := m.Metadata()
	if err != nil {
		return arrival{}, err
	}
	size, err := strconv.Atoi(m.Header.Get(nats.MsgSize))
	if err != nil {
		return arrival{}, fmt.Errorf("size of message %d: %w", meta.Sequence.Stream, err)
	}
	return arrival{
		sequence: meta.Sequence.Stream,
		delivery: meta.Sequence.Consumer,
		pending:  meta.NumPending,
		time:     meta.Timestamp,
		bytes:    int64(size),
		records:  record.Count(m.Header, size),
	}, nil
}

// close ends the reading. The consumer is removed unless the service stops, which is not held up for it.
func (r *reader) close(ctx context.Context) {
	close(r.done)
	<-r.ended
	_ = r.sub.Unsubscribe() // fails only where the connection has ended
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	_ = r.log.DeleteConsumer(ctx, r.name)
}
