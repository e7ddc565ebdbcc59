package faultproxy

import (
	"context"
	"io"
	"net/http"
	"strconv"
)

// What a proxy before one server does to a request, whatever the server is.
const (
	// ResetBefore: the connection was reset, and the request not forwarded.
	ResetBefore Fault = "reset before"
	// ResetAfter: the server carried the request out, and the connection was reset.
	ResetAfter Fault = "reset after"
	// HeldAnswer: the server carried the request out, and the client heard nothing until it gave up.
	HeldAnswer Fault = "answer held"
	// Truncated: the server carried the request out, and the client got the first half of the answer, as if it were all.
	Truncated Fault = "answer truncated"
	// BlackHole: the request was read and not forwarded, and the client heard nothing until it gave up.
	BlackHole Fault = "black hole"
)

// front stands before one server. It has what does not depend on how that server is spoken to.
type front struct {
	*listener
	*gate
	backend string
	kindOf  func(*http.Request) Kind
	lost    Fault // that the server could not be reached, or the connection to it broke
}

// start has serve do to each request what was decided.
func (f *front) start(serve func(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision)) error {
	var err error
	f.listener, err = listen(func(ctx context.Context, w http.ResponseWriter, r *http.Request) {
		d := f.decide(f.kindOf(r))
		defer f.over(d)
		serve(ctx, w, r, d)
	})
	return err
}

// URL returns the address that sinks are to be pointed at.
func (f *front) URL() string { return f.url() }

// Close breaks every connection and returns when nothing of the proxy runs any more.
func (f *front) Close() { f.close() }

// relay does what can be done to a request to any server: it is lost, or its answer, or neither.
func (f *front) relay(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	switch d.fault {
	case ResetBefore:
		f.count(d)
		reset(r)
	case BlackHole:
		f.count(d)
		hold(ctx, r, d)
		hangUp(r)
	default:
		f.carryOut(ctx, w, r, d)
	}
}

// carryOut forwards the request, and gives the answer to the client unless that is to be lost.
func (f *front) carryOut(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	resp := f.ask(ctx, r, d)
	defer func() { _ = resp.Body.Close() }()
	f.count(d)
	switch d.fault {
	case ResetAfter:
		discard(resp.Body)
		reset(r)
	case HeldAnswer:
		discard(resp.Body)
		hold(ctx, r, d)
		hangUp(r)
	case Truncated:
		cut(w, r, resp)
	default:
		pass(w, resp)
	}
}

// ask forwards the request, and calls the hook before and after.
func (f *front) ask(ctx context.Context, r *http.Request, d decision) *http.Response {
	d.hook(BeforeForward, d.kind, r.RemoteAddr)
	resp, err := f.forward(ctx, r, f.backend)
	if err != nil {
		f.lose(r, d)
	}
	d.hook(BeforeAnswer, d.kind, r.RemoteAddr)
	return resp
}

// lose counts that nothing, or nothing of use, came from the server. It does not return.
func (f *front) lose(r *http.Request, d decision) {
	d.fault = f.lost
	f.count(d)
	hangUp(r)
}

// cut gives the client the first half of an answer, framed as if it were the whole.
func cut(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		hangUp(r)
	}
	body = body[:len(body)/2]
	dropHopHeaders(resp.Header)
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	give(w, resp, body)
}
