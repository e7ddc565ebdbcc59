package es

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"hydrant/shared/recordlog"
)

// giveUpAfter is after how many requests in a row without an answer a pass ends: the others would not get one either.
const giveUpAfter = 3

// pass sends once what is pending. One goroutine, the worker's, reads the log, makes requests and reads what came of them;
// each request is sent by a goroutine of its own.
type pass struct {
	*try
	to      *server
	is      version
	named   naming
	line    []byte        // the one before a document, made anew for each
	sent    chan *sending // back from the server
	flying  int
	filling *sending // nil between two

	answered   bool  // some document was
	unanswered int   // requests, in a row
	delivered  int   // documents
	already    int   // of those, that were there before
	worst      error // a refusal
	over       bool  // nothing more is to be sent
}

// feed gives a pass the documents that are pending, one add each.
type feed func(ctx context.Context, p *pass, requests *sync.WaitGroup) error

// run makes the pass. Its error ends the attempt; what the server refuses is in the ledger and in worst.
func (p *pass) run(ctx context.Context, from feed) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var requests sync.WaitGroup
	defer requests.Wait()
	p.sent = make(chan *sending, p.inFlight)
	p.ledger.tries++
	err := from(ctx, p, &requests)
	if err == nil && !p.over {
		err = p.flush(ctx, &requests)
	}
	if errors.Is(err, errOver) {
		err = nil
	}
	if p.filling != nil {
		p.free(p.filling)
	}
	if err != nil {
		cancel()
	}
	for p.flying > 0 {
		p.take(<-p.sent)
	}
	return err
}

// errOver ends the reading of a pass.
var errOver = errors.New("nothing more is sent")

// fromLog is the feed of a batch.
func fromLog(ctx context.Context, p *pass, requests *sync.WaitGroup) error {
	return p.read(ctx, p.ledger.pending, func(m recordlog.Message, start int) error {
		return p.addMessage(ctx, m, start, requests)
	})
}

// addMessage adds what is pending of a message.
func (p *pass) addMessage(ctx context.Context, m recordlog.Message, start int, requests *sync.WaitGroup) error {
	from := 0
	for i, length := range m.Lengths {
		if p.ledger.pending(start + i) {
			d := document{ordinal: start + i, record: m.Payload[from : from+length]}
			d.action, d.id = p.named.appendAction(p.line[:0], m.Arrived, m.Sequence, i)
			p.line = d.action
			if err := p.add(ctx, d, requests); err != nil {
				return err
			}
		}
		from += length
	}
	return nil
}

// document is one that is to be sent.
type document struct {
	ordinal int    // in the ledger
	action  []byte // the line before it
	id      span   // in that line
	record  []byte
}

// add adds a record to the request that is being made, and sends that when it is full. A record that is no document fails.
func (p *pass) add(ctx context.Context, d document, requests *sync.WaitGroup) error {
	if p.filling == nil {
		if err := p.begin(ctx); err != nil {
			return err
		}
	}
	r := p.filling.request
	before, size := len(r.body), p.to.pace.requestSize()
	if before > 0 && before+len(d.record) > size {
		return p.addToNext(ctx, d, requests)
	}
	r.body = append(r.body, d.action...)
	var err error
	if r.body, err = appendDocument(r.body, d.record); err != nil {
		r.cut(before)
		p.ledger.fail(d.ordinal, unsent(err))
		return nil
	}
	r.body = append(r.body, '\n')
	if before > 0 && len(r.body) > size { // by the line before it
		r.cut(before)
		return p.addToNext(ctx, d, requests)
	}
	r.items = append(r.items, item{ordinal: uint32(d.ordinal), size: uint32(len(d.record)), id: d.id.behind(before)})
	if len(r.items) >= p.mostItems || len(r.body) >= size {
		return p.flush(ctx, requests)
	}
	return nil
}

// addToNext sends the request that is being made, and adds a record to the next.
func (p *pass) addToNext(ctx context.Context, d document, requests *sync.WaitGroup) error {
	if err := p.flush(ctx, requests); err != nil {
		return err
	}
	return p.add(ctx, d, requests)
}

// unsent is the reason of a record that is no document. The code is the one that Elasticsearch answers such a document with.
func unsent(err error) reason {
	return reason{Final: true, Status: 400, Text: "not sent: " + err.Error()}
}

// begin takes memory for a request.
func (p *pass) begin(ctx context.Context) error {
	for {
		select {
		case <-p.buffers.free:
			p.filling = p.buffers.take()
			return nil
		case s := <-p.sent:
			p.take(s)
			if p.over {
				return errOver
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// flush sends the request that is being made, as soon as the server's pace and the batch's own allow one more.
func (p *pass) flush(ctx context.Context, requests *sync.WaitGroup) error {
	if p.filling == nil || len(p.filling.items) == 0 {
		return nil
	}
	if err := p.turn(ctx); err != nil {
		return err
	}
	if err := p.Held(); err != nil {
		p.to.pace.end()
		return err
	}
	s := p.filling
	p.filling = nil
	s.to, s.timeout, s.gzip = p.is, p.timeout, p.gzip
	p.flying++
	requests.Go(func() {
		s.run(ctx, p.to, p.packers)
		p.sent <- s // there is room for all that fly
	})
	return nil
}

// turn waits until one more request may fly.
func (p *pass) turn(ctx context.Context) error {
	for {
		var wait <-chan struct{}
		if p.flying < p.inFlight {
			var ok bool
			if ok, wait = p.to.pace.begin(); ok {
				return nil
			}
		}
		select {
		case s := <-p.sent:
			p.take(s)
			if p.over {
				return errOver
			}
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// free gives the memory of a request back.
func (p *pass) free(s *sending) {
	p.buffers.give(s)
	if s == p.filling {
		p.filling = nil
	}
}

// take reads what became of a request.
func (p *pass) take(s *sending) {
	p.flying--
	p.to.pace.end()
	defer p.free(s)
	var refused *refusal
	if errors.As(s.failure, &refused) {
		p.refuse(s, refused)
		return
	}
	p.answered, p.unanswered = true, 0
	tooMuch := false
	for i, a := range s.answers {
		tooMuch = p.settle(s, i, a) || tooMuch
	}
	if tooMuch {
		p.to.pace.slower()
	} else {
		p.to.pace.faster()
	}
}

// settle notes the answer for one document, and tells whether it says that the server is busy.
func (p *pass) settle(s *sending, i int, a itemAnswer) bool {
	it := s.items[i]
	switch verdict := judge(a); verdict {
	case delivered:
		p.ledger.states[it.ordinal] = done
		p.ledger.bytes += int64(it.size)
		p.delivered++
		if a.status == http.StatusConflict {
			p.already++
		}
	default:
		p.ledger.fail(int(it.ordinal), reasonOf(a, string(s.id(i)), verdict == never, p.ledger.tries))
	}
	return busy(a)
}

// refuse notes that a request was not carried out, or that nobody knows.
func (p *pass) refuse(s *sending, r *refusal) {
	p.to.doubt()
	if r.tooLarge() {
		p.to.pace.smaller(len(s.body))
		if len(s.items) == 1 {
			p.ledger.fail(int(s.items[0].ordinal), reason{
				Final: true, Status: r.status, Attempts: p.ledger.tries,
				Text: fmt.Sprintf("the server takes no request as large as this document alone: %s", r),
			})
			return
		}
	}
	for _, it := range s.items {
		p.ledger.fail(int(it.ordinal), reason{Status: statusOf(r), Text: r.Error()})
	}
	p.worst = r
	if r.tooLarge() {
		return
	}
	if !r.lasting() {
		p.to.pace.slower()
	}
	if p.unanswered++; r.lasting() || p.unanswered >= giveUpAfter {
		p.over = true
	}
}
