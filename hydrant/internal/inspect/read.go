package inspect

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/jspull"
	"hydrant/shared/names"
	"hydrant/shared/pause"
)

// Everything is the limit of a read that has none.
const Everything = math.MaxUint64

const (
	chunk       = 4096             // messages asked for at once
	forgotten   = 15 * time.Second // after which the server drops a consumer whose reader was killed
	goodbyeTime = time.Second
	patience    = 10 * time.Second // with the server between two messages
	soon        = 50 * time.Millisecond
)

// errStalled means that the server has messages and does not send them.
var errStalled = errors.New("the server stopped answering")

// Read calls each for the messages that config selects of a stream, in order, up to limit, and returns how many there
// were when it began. Messages that arrive later are left out.
//
// It reads through a consumer in the server's memory that takes nothing from anybody and that it deletes at the end. If
// that is lost, or the process is killed, the server forgets the consumer by itself.
func Read(ctx context.Context, js jetstream.JetStream, stream string, config jetstream.ConsumerConfig, limit uint64, each func(*nats.Msg, *nats.MsgMetadata) error) (uint64, error) {
	config.Name = "hydrant_inspect_" + string(names.NewStreamID())
	config.AckPolicy = jetstream.AckNonePolicy
	config.MemoryStorage = true
	config.Replicas = 1
	config.InactiveThreshold = forgotten
	consumer, err := js.CreateConsumer(ctx, stream, config)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", stream, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
		defer cancel()
		_ = js.DeleteConsumer(ctx, stream, config.Name)
	}()
	total := consumer.CachedInfo().NumPending
	if err := drain(ctx, js.Conn(), consumer, min(total, limit), each); err != nil {
		return 0, fmt.Errorf("read %s: %w", stream, err)
	}
	return total, nil
}

// drain reads n messages, or fewer if some expire meanwhile.
func drain(ctx context.Context, conn *nats.Conn, consumer jetstream.Consumer, n uint64, each func(*nats.Msg, *nats.MsgMetadata) error) error {
	known := time.Now().Add(patience)
	for n > 0 {
		want := min(n, chunk)
		got, err := fetch(ctx, conn, consumer.CachedInfo(), want, each)
		if got == 0 && errors.Is(err, nats.ErrNoResponders) && time.Now().Before(known) && pause.For(ctx, soon) {
			continue // a server of a cluster learns a little later of a consumer that another one has made
		}
		if err != nil {
			return err
		}
		n -= got
		if got == want {
			continue
		}
		info, err := consumer.Info(ctx)
		if err != nil {
			return err
		}
		if info.NumPending == 0 {
			return nil
		}
		if got == 0 {
			return errStalled
		}
	}
	return nil
}

// fetch reads n messages, or fewer if there are no more. It pulls by itself, because the client takes a record whose publisher
// wrote a header Status for JetStream's own word.
func fetch(ctx context.Context, conn *nats.Conn, from *jetstream.ConsumerInfo, n uint64, each func(*nats.Msg, *nats.MsgMetadata) error) (got uint64, err error) {
	answers := make(chan *nats.Msg, n+1) // with room for all, none is ever dropped
	inbox := conn.NewInbox()
	sub, err := conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := (jspull.Request{Messages: int(n), NoWait: true}).Send(conn, from.Stream, from.Name, inbox); err != nil {
		return 0, err
	}
	silence := time.NewTimer(patience)
	defer silence.Stop()
	for got < n {
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-silence.C:
			return got, errStalled
		case m := <-answers:
			silence.Reset(patience)
			if !jspull.IsMessage(m) {
				return got, endOf(m)
			}
			meta, err := m.Metadata()
			if err != nil {
				return got, err
			}
			if err := each(m, meta); err != nil {
				return got, err
			}
			got++
		}
	}
	return got, nil
}

// endOf reads JetStream's answer behind the last message.
func endOf(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "404", "408": // no more messages
		return nil
	case "503":
		return nats.ErrNoResponders
	default:
		return fmt.Errorf("JetStream answered a pull with %q, %q", status, m.Header.Get("Description"))
	}
}

// LastOfEach calls each for the newest message on each subject that matches one of the filters.
func LastOfEach(ctx context.Context, js jetstream.JetStream, stream string, filters []string, each func(*nats.Msg)) error {
	config := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubjects: filters}
	_, err := Read(ctx, js, stream, config, Everything, func(m *nats.Msg, _ *nats.MsgMetadata) error {
		each(m)
		return nil
	})
	return err
}
