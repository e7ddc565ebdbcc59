package recordlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
	"hydrant/shared/record"
)

// Reader reads the messages of one batch, one after the other, at the pace of whoever reads. It belongs to one goroutine
// and has to be closed.
type Reader struct {
	log    *Log
	batch  batch.Descriptor
	stream string
	next   uint64 // the sequence that is to come
	counts Counts
	pull   *pull // nil between two
}

// Open returns a reader of the batch. Nothing is asked of the log before Next.
func (l *Log) Open(d batch.Descriptor) *Reader {
	return &Reader{log: l, batch: d, stream: d.Log().JetStream(), next: d.First}
}

// Counts is what was read so far.
func (r *Reader) Counts() Counts { return r.counts }

// Close gives up what was asked of the log. It may be called again.
func (r *Reader) Close() {
	if r.pull != nil {
		r.pull.close()
		r.pull = nil
	}
}

// Next returns the payload of the next message, which is the caller's from then on. It returns io.EOF, as it is, at the
// batch's end and where the log has no more; that the log does not answer, or that it is not there, is another error.
func (r *Reader) Next(ctx context.Context) ([]byte, error) {
	m, err := r.message(ctx)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// message returns the next message as JetStream sent it.
func (r *Reader) message(ctx context.Context) (*nats.Msg, error) {
	for r.next <= r.batch.Last {
		m, err := r.advance(ctx)
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, errPullOver):
			continue
		case errors.Is(err, errNoMore):
			r.Close()
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF // of the connection, which is not the batch's
		}
		return nil, fmt.Errorf("read %s from %d: %w", r.stream, r.next, err)
	}
	r.Close()
	return nil, io.EOF
}

// How a pull ends well.
var (
	errPullOver = errors.New("the pull is over") // another is to go on where it ended
	errNoMore   = errors.New("the log has no more of the batch")
)

// advance takes the next answer of the pull, which it begins if there is none.
func (r *Reader) advance(ctx context.Context) (*nats.Msg, error) {
	if r.pull == nil {
		var err error
		if r.pull, err = r.log.begin(r.stream, r.next, min(r.batch.Last-r.next+1, pullMessages)); err != nil {
			return nil, err
		}
	}
	m, err := r.pull.answer(ctx)
	if err != nil {
		return nil, r.stalled(ctx, err)
	}
	sequence, found := stored(m)
	if !found {
		return nil, r.ended(m)
	}
	r.pull.messages++
	if sequence < r.next {
		return nil, fmt.Errorf("the log answered with message %d", sequence)
	}
	if err := record.CheckFormat(m.Header); err != nil {
		return nil, fmt.Errorf("message %d: %w", sequence, err)
	}
	r.next = sequence + 1
	if sequence > r.batch.Last {
		return nil, errNoMore
	}
	r.counts.add(sequence, m.Header, len(m.Data))
	return m, nil
}

// ended ends a pull with JetStream's last word of it.
func (r *Reader) ended(m *nats.Msg) error {
	empty := r.pull.messages == 0
	r.Close()
	switch err := endOf(m); {
	case err != nil:
		return err
	case empty:
		return errNoMore
	default:
		return errPullOver
	}
}

// stalled ends a pull that got no answer in time. Should the log have stalled in the middle, what came is a piece as well,
// and the next pull will tell.
func (r *Reader) stalled(ctx context.Context, err error) error {
	began := r.pull.messages > 0
	r.Close()
	if began && errors.Is(err, errStalled) && ctx.Err() == nil {
		return errPullOver
	}
	return err
}

// pull is a bounded piece that was asked of the log.
//
// It speaks JetStream's direct get itself: the clients take a message whose publisher wrote a header of the name that
// JetStream uses, such as Status, for JetStream's own word.
type pull struct {
	answers  chan *nats.Msg
	sub      *nats.Subscription
	patience time.Duration
	messages int // that came
}

// begin asks for a piece that begins at sequence next. It is empty where the log has nothing from there on.
func (l *Log) begin(stream string, next, most uint64) (*pull, error) {
	conn := l.js.Conn()
	p := &pull{answers: make(chan *nats.Msg, most+1), patience: l.patience} // with room for all, none is ever dropped
	inbox := conn.NewInbox()
	var err error
	if p.sub, err = conn.ChanSubscribe(inbox, p.answers); err != nil {
		return nil, err
	}
	request := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, next, most, pullBytes)
	if err := conn.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, request); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close makes the client forget the piece, and with it whatever of it still comes.
func (p *pull) close() { _ = p.sub.Unsubscribe() }

// answer waits for the next message of the piece, or for its end. The time limit is the log's alone: what came while the
// reader was busy is there already.
func (p *pull) answer(ctx context.Context) (*nats.Msg, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case m := <-p.answers:
		return m, nil
	default:
	}
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case m := <-p.answers:
		return m, nil
	case <-late.C:
		return nil, errStalled
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
