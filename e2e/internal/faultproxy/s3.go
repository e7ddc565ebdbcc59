package faultproxy

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"time"
)

// What the S3 proxy does to a request, beside what every front does.
const (
	// InternalError: answered with 500, and not forwarded.
	InternalError Fault = "500 InternalError"
	// SlowDown: answered with 503, and not forwarded.
	SlowDown Fault = "503 SlowDown"
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
type S3 struct{ *front }

// NewS3 starts a proxy before the S3 server at backend, given as host:port. It puts in no faults until Set.
func NewS3(seed uint64, backend string) (*S3, error) {
	p := &S3{&front{gate: newGate(seed, 2), backend: backend, kindOf: KindOf, lost: StoreLost}}
	return p, p.start(p.serve)
}

// Set replaces the settings for the requests that come from now on.
func (p *S3) Set(settings S3Settings) error { return p.set(settings.shares(), settings.MaxHold) }

func (p *S3) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	switch d.fault {
	case InternalError:
		p.count(d)
		refuse(w, r, http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
	case SlowDown:
		p.count(d)
		refuse(w, r, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	default:
		p.relay(ctx, w, r, d)
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
