package faultproxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// What the proxy before a search node does to a request, beside what every front does.
const (
	// Throttled: answered with 429, and not forwarded.
	Throttled Fault = "429"
	// Unavailable: answered with 503, and not forwarded.
	Unavailable Fault = "503"
	// TooLarge: answered with 413, and not forwarded. Only what is larger than SmallestTooLarge is, and no document alone, since
	// it would be refused for good.
	TooLarge Fault = "413"
	// ItemsThrottled: some of a bulk request's documents were not forwarded, and answered with 429 each.
	ItemsThrottled Fault = "429 for documents"
	// NodeLost: the node could not be reached, or the connection to it broke.
	NodeLost Fault = "node lost"
)

// Bulk is a bulk request; any other request to a search node is Other.
const Bulk Kind = "bulk"

// SmallestTooLarge bounds how small requests become that are refused for their size. It is less than what a sink's requests
// shrink to because a node is busy.
const SmallestTooLarge = 200 << 10

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
type Search struct{ *front }

// NewSearch starts a proxy before the node at backend, given as host:port. It puts in no faults until Set.
func NewSearch(seed uint64, backend string) (*Search, error) {
	p := &Search{&front{gate: newGate(seed, 3), backend: backend, kindOf: SearchKindOf, lost: NodeLost}}
	return p, p.start(p.serve)
}

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

func (p *Search) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	switch d.fault {
	case Throttled:
		p.refuse(w, r, d, http.StatusTooManyRequests, "circuit_breaking_exception", "[parent] Data too large")
	case Unavailable:
		p.refuse(w, r, d, http.StatusServiceUnavailable, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];")
	case TooLarge, ItemsThrottled:
		p.partly(ctx, w, r, d)
	case Truncated:
		r.Header.Del("Accept-Encoding") // half of a packed answer would not even be begun to read
		p.relay(ctx, w, r, d)
	default:
		p.relay(ctx, w, r, d)
	}
}

// partly does what depends on what is in a request. One that the fault does not fit is forwarded without one.
func (p *Search) partly(ctx context.Context, w http.ResponseWriter, r *http.Request, d decision) {
	without := d
	without.fault = Forwarded
	if d.kind != Bulk || r.Header.Get("Content-Encoding") != "" {
		p.relay(ctx, w, r, without)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		hangUp(r) // the client has gone
	}
	setBody(r, body)
	items, ok := splitBulk(body)
	switch several := ok && len(items) > 1; {
	case several && d.fault == ItemsThrottled:
		p.withhold(ctx, w, r, d, items)
	case several && len(body) > SmallestTooLarge:
		p.refuse(w, r, d, http.StatusRequestEntityTooLarge, "", "")
	default:
		p.relay(ctx, w, r, without)
	}
}

// refuse answers as Elasticsearch does, or without a word if there is no kind of error. It reads the request first: a client
// that is still sending would see a broken connection instead.
func (p *Search) refuse(w http.ResponseWriter, r *http.Request, d decision, status int, kind, reason string) {
	p.count(d)
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
