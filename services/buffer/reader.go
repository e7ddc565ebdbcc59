package buffer

import (
	"context"
	"fmt"
	"strconv"
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

	// forgetTime is how long the server keeps the consumer of a reader that is gone without closing.
	forgetTime = time.Minute
	closeTime  = 2 * time.Second
)

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
// repairs go on in the background, with pauses of seconds, and hold up a stop while NATS is away.
type reader struct {
	log      jetstream.Stream
	name     string
	consume  jetstream.ConsumeContext
	arrivals chan arrival
	failed   chan error
	done     chan struct{} // closed by close
}

// openReader makes an ephemeral consumer in the server's memory and begins to read.
//
// A lost answer leaves a consumer that nobody reads, which the server removes after forgetTime; so does a process that
// wakes late. A consumer changes nothing in the log.
func openReader(ctx context.Context, log jetstream.Stream, leg names.Leg, from start) (*reader, error) {
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
	consumer, err := log.CreateConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("make a consumer of the record log: %w", err)
	}
	r := &reader{
		log: log, name: config.Name,
		arrivals: make(chan arrival, 64), failed: make(chan error, 1), done: make(chan struct{}),
	}
	r.consume, err = consumer.Consume(r.receive,
		jetstream.PullExpiry(pullTime), jetstream.PullHeartbeat(heartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { r.fail(err) }))
	if err != nil {
		return nil, fmt.Errorf("consume the record log: %w", err)
	}
	return r, nil
}

func (r *reader) receive(m jetstream.Msg) {
	a, err := arrivalOf(m)
	if err != nil {
		r.fail(err)
		return
	}
	select {
	case r.arrivals <- a:
	case <-r.done:
	}
}

// fail keeps the first error; one is enough to begin again.
func (r *reader) fail(err error) {
	select {
	case r.failed <- fmt.Errorf("read the record log: %w", err):
	default:
	}
}

func arrivalOf(m jetstream.Msg) (arrival, error) {
	meta, err := m.Metadata()
	if err != nil {
		return arrival{}, err
	}
	size, err := strconv.Atoi(m.Headers().Get(nats.MsgSize))
	if err != nil {
		return arrival{}, fmt.Errorf("size of message %d: %w", meta.Sequence.Stream, err)
	}
	return arrival{
		sequence: meta.Sequence.Stream,
		delivery: meta.Sequence.Consumer,
		pending:  meta.NumPending,
		time:     meta.Timestamp,
		bytes:    int64(size),
		records:  record.Count(m.Headers(), size),
	}, nil
}

// close ends the reading. The consumer is removed unless the service stops, which is not held up for it.
func (r *reader) close(ctx context.Context) {
	close(r.done)
	r.consume.Stop()
	if ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	_ = r.log.DeleteConsumer(ctx, r.name)
}
