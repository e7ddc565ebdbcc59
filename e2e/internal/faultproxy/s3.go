package faultproxy

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
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
func (s S3Settings) Validate() error { return validate(s.shares(), s.MaxHold) }

// S3 is a proxy before an S3 server. What it forwards is carried out even if the client goes away meanwhile, as S3
// does with a request that it has got.
type S3 struct {
	*listener
	*gate
	backend string
}

// NewS3 starts a proxy before the S3 server at backend, given as host:port. It puts in no faults until Set.
func NewS3(seed uint64, backend string) (*S3, error) {
	p := &S3{backend: backend, gate: newGate(seed, 2)}
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

// Set replaces the settings for the requests that come from now on.
func (p *S3) Set(settings S3Settings) error { return p.set(settings.shares(), settings.MaxHold) }

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
