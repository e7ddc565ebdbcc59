package buffer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/jspull"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

const (
	// An idle reader costs the server one pull in pullTime and one heartbeat in heartbeat. A reader whose consumer is gone
	// without a word notices after two heartbeats.
	pullTime  = 5 * time.Minute
	heartbeat = 10 * time.Second

	// dueMessages is how many messages a reader has asked for at most. More are asked for when half of them have come, so
	// that JetStream never waits for the reader and the reader never holds more.
	dueMessages = 500
	// ownAnswers is room for what JetStream says meanwhile, which is little: nothing but a message follows a message.
	ownAnswers = 64

	// forgetTime is how long the server keeps the consumer of a reader that is gone without closing.
	forgetTime = time.Minute
	closeTime  = 2 * time.Second
)

var (
	errMute = errors.New("JetStream does not answer a pull") // for two heartbeats
	errHole = errors.New("JetStream has sent more messages than have come")
)

// arrival is what the buffer has to know of a message in the log.
type arrival struct {
	sequence uint64 // in the log
	delivery uint64 // count of what the consumer delivered: 1, 2, 3, …
	pending  uint64 // messages in the log behind it, when it was sent
	time     time.Time
	bytes    int64
	records  int
	format   int // of the message
}

// start is where a reader begins: at a sequence, or, when that is 0, at the first message that arrived at or after since.
type start struct {
	sequence uint64
	since    time.Time
}

// reader reads the headers of a log's messages, from a start to the end and on as they arrive. What JetStream answers is
// on answers, and read says what it means; whoever reads from answers owns the reader.
//
// It never repeats or repairs anything itself: whatever may have cost it a message is an error, after which the cutter
// drops what it filled and begins again at the cursor. That is why it is not nats.go's ordered consumer, whose repairs go
// on in the background, with pauses of seconds, and hold up a stop while NATS is away. And it speaks the protocol of a
// pull itself, because the client takes a message whose publisher wrote a header of the name that JetStream uses, such as
// Status, for JetStream's own word, and never hands it out.
type reader struct {
	conn    *nats.Conn
	log     jetstream.Stream
	name    string
	inbox   string
	sub     *nats.Subscription
	answers chan *nats.Msg
	silence *time.Timer // runs out when nothing has been read for two heartbeats
	due     int         // messages asked for that have not come yet
	last    uint64      // count of what the consumer delivered
	closed  bool
}

// openReader makes an ephemeral consumer in the server's memory and begins to read.
//
// A lost answer leaves a consumer that nobody reads, which the server removes after forgetTime; so does a process that
// wakes late. A consumer changes nothing in the log.
func openReader(ctx context.Context, log jetstream.Stream, conn *nats.Conn, leg names.Leg, from start) (*reader, error) {
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
		conn: conn, log: log, name: config.Name, inbox: conn.NewInbox(),
		answers: make(chan *nats.Msg, dueMessages+ownAnswers), silence: time.NewTimer(2 * heartbeat),
	}
	var err error
	if r.sub, err = conn.ChanSubscribe(r.inbox, r.answers); err == nil {
		err = r.pull()
	}
	if err != nil {
		r.close(ctx)
		return nil, fmt.Errorf("read the record log: %w", err)
	}
	return r, nil
}

// pull asks for the messages that come next, when there is room for many. A request that is lost shows as silence; one
// that is answered late, or after the reader has closed, is an answer to nobody.
func (r *reader) pull() error {
	if r.due > dueMessages/2 {
		return nil
	}
	request := jspull.Request{Messages: dueMessages - r.due, Expires: pullTime, Heartbeat: heartbeat}
	r.due = dueMessages
	return request.Send(r.conn, r.log.CachedInfo().Config.Name, r.name, r.inbox)
}

// read tells what an answer is: a message of the log, or nothing, when JetStream only says how it is.
func (r *reader) read(m *nats.Msg) (a arrival, found bool, err error) {
	r.silence.Reset(2 * heartbeat)
	if found = jspull.IsMessage(m); found {
		a, err = arrivalOf(m)
		r.due--
		r.last = a.delivery
	} else {
		err = r.heed(m)
	}
	if err == nil {
		err = r.pull()
	}
	if err != nil {
		return arrival{}, false, fmt.Errorf("read the record log: %w", err)
	}
	return a, found, nil
}

// heed takes in a word of JetStream's own.
func (r *reader) heed(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "100": // a heartbeat, which counts what was sent before it
		if sent := m.Header.Get("Nats-Last-Consumer"); sent != strconv.FormatUint(r.last, 10) {
			return fmt.Errorf("%w: %s, not %d", errHole, sent, r.last)
		}
		return nil
	case "408": // a pull is over, and some of what it asked for has not come
		left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if err != nil || left < 0 || left > r.due {
			return fmt.Errorf("a pull ended with %q of %d messages left", m.Header.Get("Nats-Pending-Messages"), r.due)
		}
		r.due -= left
		return nil
	default:
		return fmt.Errorf("JetStream answered a pull with %q, %q", status, m.Header.Get("Description"))
	}
}

// silent says whether it is JetStream that was silent, when the timer has run out: a reader that was kept from reading
// finds what came meanwhile.
func (r *reader) silent() error {
	if len(r.answers) == 0 {
		return fmt.Errorf("read the record log: %w", errMute)
	}
	r.silence.Reset(2 * heartbeat)
	return nil
}

func arrivalOf(m *nats.Msg) (arrival, error) {
	meta, err := m.Metadata()
	if err != nil {
		return arrival{}, err
	}
	size, err := jspull.PayloadSize(m.Header)
	if err != nil {
		return arrival{}, fmt.Errorf("message %d: %w", meta.Sequence.Stream, err)
	}
	return arrival{
		sequence: meta.Sequence.Stream,
		delivery: meta.Sequence.Consumer,
		pending:  meta.NumPending,
		time:     meta.Timestamp,
		bytes:    int64(size),
		records:  record.Count(m.Header, size),
		format:   record.FormatOf(m.Header),
	}, nil
}

// close ends the reading. The consumer is removed unless the service stops, which is not held up for it.
func (r *reader) close(ctx context.Context) {
	if r.closed {
		return
	}
	r.closed = true
	r.silence.Stop()
	if r.sub != nil {
		_ = r.sub.Unsubscribe() // fails only where the connection has ended
	}
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	_ = r.log.DeleteConsumer(ctx, r.name)
}
