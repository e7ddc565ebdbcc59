package faultproxy

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// What the S3 proxy does to a request.
const (
	// InternalError: answered with 500, and not forwarded.
	InternalError Fault = "500 InternalError"
	// SlowDown: answered with 503, and not forwarded.
	SlowDown Fault = "503 SlowDown"
	// ResetBefore: the connection was reset, and the request not forwarded.
	ResetBefore Fault = "reset before"
	// ResetAfter: S3 carried the request out, and the connection was reset.
	ResetAfter Fault = "reset after"
	// HeldAnswer: S3 carried the request out, and the client heard nothing until it gave up.
	HeldAnswer Fault = "answer held"
	// BlackHole: the request was read and not forwarded, and the client heard nothing until it gave up.
	BlackHole Fault = "black hole"
	// StoreLost: the S3 server could not be reached, or the connection to it broke.
	StoreLost Fault = "S3 server lost"
)

// S3Settings are the shares, from 0 to 1, of the requests that get each fault; together they are at most 1.
type S3Settings struct {
	InternalError float64
	SlowDown      float64
	ResetBefore   float64
	ResetAfter    float64
	HeldAnswer    float64
	BlackHole     float64
	// MaxHold bounds how long a client that does not give up hears nothing, until its connection is closed; 30 s if 0.
	MaxHold time.Duration
}

type share struct {
	fault Fault
	rate  float64
}

func (s S3Settings) shares() []share {
	return []share{
		{InternalError, s.InternalError},
		{SlowDown, s.SlowDown},
		{ResetBefore, s.ResetBefore},
		{ResetAfter, s.ResetAfter},
		{HeldAnswer, s.HeldAnswer},
		{BlackHole, s.BlackHole},
	}
}

// Validate returns an error that names what is wrong.
func (s S3Settings) Validate() error {
	sum := 0.0
	for _, share := range s.shares() {
		if err := checkRate(string(share.fault), share.rate); err != nil {
			return err
		}
		sum += share.rate
	}
	if sum > 1 {
		return fmt.Errorf("fault proxy: the rates add up to %v, and may to 1", sum)
	}
	if s.MaxHold < 0 {
		return fmt.Errorf("fault proxy: MaxHold is %v, and has to be 0 or more", s.MaxHold)
	}
	return nil
}

// choose returns the fault that a number drawn from 0 to 1 falls on.
func (s S3Settings) choose(drawn float64) Fault {
	for _, share := range s.shares() {
		if drawn < share.rate {
			return share.fault
		}
		drawn -= share.rate
	}
	return Forwarded
}

// Phase is where a request is when the hook is called.
type Phase string

const (
	// BeforeForward is the phase in which nothing of the request has reached S3.
	BeforeForward Phase = "before forward"
	// BeforeAnswer is the phase in which S3 has answered and nothing of it has reached the client. A client that dies
	// here has uploaded and does not know it.
	BeforeAnswer Phase = "before answer"
)

// Hook is called for each request that is forwarded, at each phase; the request goes on when it returns. It must not
// read the request's body.
type Hook func(phase Phase, kind Kind, r *http.Request)

// S3 is a proxy before an S3 server. What it forwards is carried out even if the client goes away meanwhile, as S3
// does with a request that it has got.
type S3 struct {
	*listener
	backend string
	dice    *dice
	tally   *tally

	mu       sync.Mutex
	settings S3Settings
	off      bool
	hook     Hook
	// released is closed when what is held has to be let go.
	released chan struct{}
}

// NewS3 starts a proxy before the S3 server at backend, given as host:port. It puts in no faults until Set.
func NewS3(seed uint64, backend string) (*S3, error) {
	p := &S3{backend: backend, dice: newDice(seed, 2), tally: newTally(), released: make(chan struct{})}
	var err error
	if p.listener, err = listen(p.serve); err != nil {
		return nil, err
	}
	return p, nil
}

// URL returns the endpoint that sinks are to be pointed at.
func (p *S3) URL() string { return p.url() }

// Close breaks every connection and returns when nothing of the proxy runs any more.
func (p *S3) Close() { p.close() }

// Counts returns what was done up to now.
func (p *S3) Counts() Counts { return p.tally.snapshot() }

// Set replaces the settings for the requests that come from now on.
func (p *S3) Set(settings S3Settings) error {
	if err := settings.Validate(); err != nil {
		return err
	}
	if settings.MaxHold == 0 {
		settings.MaxHold = 30 * time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = settings
	return nil
}

// SetAll switches all faults on or off without changing the settings; they are on at first. Switching them off also
// closes the connections that are held, so that a drain need not wait for them.
func (p *S3) SetAll(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.off == !on {
		return
	}
	p.off = !on
	if p.off {
		close(p.released)
	} else {
		p.released = make(chan struct{})
	}
}

// OnRequest sets the hook; nil removes it. It is called whether faults are on or off.
func (p *S3) OnRequest(hook Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = hook
}

// decision is what happens to one request.
type decision struct {
	fault    Fault
	hook     Hook
	maxHold  time.Duration
	released <-chan struct{}
}

func (p *S3) decide() decision {
	drawn := p.dice.draw()
	p.mu.Lock()
	defer p.mu.Unlock()
	d := decision{fault: Forwarded, hook: p.hook, maxHold: p.settings.MaxHold, released: p.released}
	if !p.off {
		d.fault = p.settings.choose(drawn)
	}
	if d.hook == nil {
		d.hook = func(Phase, Kind, *http.Request) {}
	}
	return d
}

func (p *S3) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	d := p.decide()
	switch d.fault {
	case InternalError:
		p.tally.add(d.fault)
		refuse(w, r, http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
	case SlowDown:
		p.tally.add(d.fault)
		refuse(w, r, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case ResetBefore:
		p.tally.add(d.fault)
		reset(r)
	case BlackHole:
		p.tally.add(d.fault)
		hold(ctx, r, d)
		hangUp(r)
	default:
		p.relay(ctx, w, r, d)
	}
}

// relay forwards the request, and gives the answer to the client unless it is to be lost.
func (p *S3) relay(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	kind := KindOf(r)
	d.hook(BeforeForward, kind, r)
	resp, err := p.forward(ctx, r, p.backend)
	if err != nil {
		p.tally.add(StoreLost)
		hangUp(r)
	}
	defer func() { _ = resp.Body.Close() }()
	d.hook(BeforeAnswer, kind, r)
	p.tally.add(d.fault)
	switch d.fault {
	case ResetAfter:
		discard(resp.Body)
		reset(r)
	case HeldAnswer:
		discard(resp.Body)
		hold(ctx, r, d)
		hangUp(r)
	default:
		pass(w, resp)
	}
}

// hold returns when the client has given up, when it was held for long enough, or when the faults are switched off.
func hold(ctx context.Context, r *http.Request, d decision) {
	// The server notices that the client has gone only after it has read the whole request.
	discard(r.Body)
	limit := time.NewTimer(d.maxHold)
	defer limit.Stop()
	select {
	case <-r.Context().Done():
	case <-limit.C:
	case <-d.released:
	case <-ctx.Done():
	}
}

// refuse answers with an S3 error. It reads the request first: a client that is still sending would see a broken
// connection instead.
func refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	_, _ = io.Copy(io.Discard, r.Body)
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"Error"`
		Code      string
		Message   string
		Resource  string
		RequestID string `xml:"RequestId"`
	}{Code: code, Message: message, Resource: r.URL.Path, RequestID: "FAULTPROXY"})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header+string(body))
}
