package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/pause"
)

// Patience is the setting of how long a tool goes on asking where nobody answers.
type Patience struct {
	Timeout time.Duration `name:"timeout" default:"30s" help:"How long to go on asking where NATS or JetStream does not answer, as while a server is elected or started anew. 0s asks once."`

	// Told receives what is told meanwhile. nil means standard error.
	Told io.Writer `kong:"-"`
}

// Validate finds wrong values.
func (p Patience) Validate() error {
	if p.Timeout < 0 {
		return fmt.Errorf("--timeout (HYDRANT_TIMEOUT): %s is not accepted; use 0s or more, such as 30s", p.Timeout)
	}
	return nil
}

const (
	askAgain   = 500 * time.Millisecond
	tellBehind = time.Second // what lasts no longer nobody is told of
)

// Open connects, and has ask ask what a tool has to know first. Where nobody answers it does so again, until the timeout is over; an
// attempt that has begun by then is ended, since a large installation may take long to read. Its errors are explained. The connection is
// the caller's to close.
//
// What ask does has to be safe to repeat: an attempt that had no answer may have been carried out, or may be yet. Each has a connection
// of its own, since one to a server that is stopped would notice late.
func (p Patience) Open(ctx context.Context, cfg broker.Config, program string, ask func(jetstream.JetStream) error) (jetstream.JetStream, error) {
	begun := time.Now()
	told := false
	for {
		js, err := open(ctx, cfg, program, ask)
		passed := time.Since(begun)
		if err == nil || passed >= p.Timeout || !errors.As(err, new(passing)) {
			return js, err
		}
		if !told && passed >= tellBehind {
			told = true
			p.tell(fmt.Sprintf("%v; asking again for up to %s (--timeout)", err, (p.Timeout - passed).Round(time.Second)))
		}
		if !pause.For(ctx, askAgain) {
			return nil, ctx.Err()
		}
	}
}

func (p Patience) tell(line string) {
	to := p.Told
	if to == nil {
		to = os.Stderr
	}
	_, _ = fmt.Fprintln(to, "hydrant:", line)
}

// passing is an explained error that another attempt may not meet.
type passing struct{ error }

func (p passing) Unwrap() error { return p.error }

func open(ctx context.Context, cfg broker.Config, program string, ask func(jetstream.JetStream) error) (jetstream.JetStream, error) {
	conn, err := connect(ctx, cfg, program)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err == nil {
		err = ask(js)
	}
	if err == nil {
		return js, nil
	}
	conn.Close()
	explained := Explain(err, WithoutUser(cfg.NATSURL))
	if Unanswered(err) {
		return nil, passing{explained}
	}
	return nil, explained
}

// connectionPasses tells what may end by itself from what NATS answered, such as that it does not know the user.
func connectionPasses(err error) bool {
	var network net.Error
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, io.EOF) || errors.As(err, &network)
}

// Unanswered tells that a request had no answer, or the one that there cannot be any for now.
func Unanswered(err error) bool {
	for _, known := range []error{
		nats.ErrNoResponders, nats.ErrTimeout, context.DeadlineExceeded, errStalled, broker.ErrLeaderless, jetstream.ErrJetStreamNotEnabled,
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrDisconnected, nats.ErrConnectionClosed,
		jetstream.ErrConsumerNotFound, // the tool's own, of a server that was started anew
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.Code == unavailable && !errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// unavailable is what a server answers that cannot carry out a request for now.
const unavailable = 503
