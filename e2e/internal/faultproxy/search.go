package faultproxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What the proxy before a search node does to a request, beside what the one before S3 does.
const (
	// Throttled: answered with 429, and not forwarded.
	Throttled Fault = "429"
	// Unavailable: answered with 503, and not forwarded.
	Unavailable Fault = "503"
	// TooLarge: answered with 413, and not forwarded. Only what is larger than LargestDocument is.
	TooLarge Fault = "413"
	// ItemsThrottled: some of a bulk request's documents were not forwarded, and answered with 429 each.
	ItemsThrottled Fault = "429 for documents"
	// Truncated: the node carried the request out, and the client got the first half of the answer, as if it were all.
	Truncated Fault = "answer truncated"
	// NodeLost: the node could not be reached, or the connection to it broke.
	NodeLost Fault = "node lost"
)

// Bulk is a bulk request; any other request to a search node is Other.
const Bulk Kind = "bulk"

// LargestDocument is a size that every document has room in. A server with a lower limit would refuse documents for good.
const LargestDocument = 1 << 20

// SearchSettings are the shares, from 0 to 1, of the requests that get each fault; together they are at most 1.
type SearchSettings struct {
	Throttled      float64
	Unavailable    float64
	TooLarge       float64
	ItemsThrottled float64
	ResetBefore    float64
	ResetAfter     float64
	HeldAnswer     float64
	BlackHole      float64
	Truncated      float64
	// MaxHold bounds how long a client that does not give up hears nothing, until its connection is closed; 30 s if 0.
	MaxHold time.Duration
}

func (s SearchSettings) shares() []share {
	return []share{
		{Throttled, s.Throttled},
		{Unavailable, s.Unavailable},
		{TooLarge, s.TooLarge},
		{ItemsThrottled, s.ItemsThrottled},
		{ResetBefore, s.ResetBefore},
		{ResetAfter, s.ResetAfter},
		{HeldAnswer, s.HeldAnswer},
		{BlackHole, s.BlackHole},
		{Truncated, s.Truncated},
	}
}

// Validate returns an error that names what is wrong.
func (s SearchSettings) Validate() error { return validate(s.shares(), s.MaxHold) }

// Search is a proxy before a node of Elasticsearch or OpenSearch. What it forwards is carried out even if the client goes
// away meanwhile, and what it answers itself was not forwarded: an answer that the client gets is true.
type Search struct {
	*listener
	*gate
	backend string
}

// NewSearch starts a proxy before the node at backend, given as host:port. It puts in no faults until Set.
func NewSearch(seed uint64, backend string) (*Search, error) {
	p := &Search{backend: backend, gate: newGate(seed, 3)}
	var err error
	if p.listener, err = listen(p.serve); err != nil {
		return nil, err
	}
	return p, nil
}

// URL returns the address that sinks are to be pointed at.
func (p *Search) URL() string { return p.url() }

// Close breaks every connection and returns when nothing of the proxy runs any more.
func (p *Search) Close() { p.close() }

// Set replaces the settings for the requests that come from now on.
func (p *Search) Set(settings SearchSettings) error {
	return p.set(settings.shares(), settings.MaxHold)
}

// SearchKindOf returns what a request to a search node is for.
func SearchKindOf(r *http.Request) Kind {
	if r.Method == http.MethodPost && (r.URL.Path == "/_bulk" || strings.HasSuffix(r.URL.Path, "/_bulk")) {
		return Bulk
	}
	return Other
}

func (p *Search) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	d := p.decide()
	switch d.fault {
	case Throttled:
		p.refuse(w, r, d.fault, http.StatusTooManyRequests, "circuit_breaking_exception", "[parent] Data too large")
	case Unavailable:
		p.refuse(w, r, d.fault, http.StatusServiceUnavailable, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];")
	case ResetBefore:
		p.tally.add(d.fault)
		reset(r)
	case BlackHole:
		p.tally.add(d.fault)
		hold(ctx, r, d)
		hangUp(r)
	case TooLarge, ItemsThrottled:
		p.partly(ctx, w, r, d)
	default:
		p.relay(ctx, w, r, d)
	}
}

// partly does what depends on what is in a request. One that the fault does not fit is forwarded without one.
func (p *Search) partly(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	fault := d.fault
	d.fault = Forwarded
	if SearchKindOf(r) != Bulk || r.Header.Get("Content-Encoding") != "" {
		p.relay(ctx, w, r, d)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		hangUp(r) // the client has gone
	}
	setBody(r, body)
	switch {
	case fault == TooLarge && len(body) > LargestDocument:
		p.refuse(w, r, fault, http.StatusRequestEntityTooLarge, "", "")
	case fault == ItemsThrottled:
		p.withhold(ctx, w, r, d, body)
	default:
		p.relay(ctx, w, r, d)
	}
}

// relay forwards the request, and gives the answer to the client unless it is to be lost.
func (p *Search) relay(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	if d.fault == Truncated {
		r.Header.Del("Accept-Encoding") // half of a packed answer would not even be begun to read
	}
	resp := p.ask(ctx, r, d)
	defer func() { _ = resp.Body.Close() }()
	p.tally.add(d.fault)
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
func (p *Search) ask(ctx context.Context, r *http.Request, d decision) *http.Response {
	kind := SearchKindOf(r)
	d.hook(BeforeForward, kind, r)
	resp, err := p.forward(ctx, r, p.backend)
	if err != nil {
		p.tally.add(NodeLost)
		hangUp(r)
	}
	d.hook(BeforeAnswer, kind, r)
	return resp
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

// refuse answers as Elasticsearch does, or without a word if there is no kind of error. It reads the request first: a client
// that is still sending would see a broken connection instead.
func (p *Search) refuse(w http.ResponseWriter, r *http.Request, fault Fault, status int, kind, reason string) {
	p.tally.add(fault)
	_, _ = io.Copy(io.Discard, r.Body)
	if kind == "" {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "error": searchError{kind, reason}})
}

// searchError is an error in Elasticsearch's answers.
type searchError struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}
