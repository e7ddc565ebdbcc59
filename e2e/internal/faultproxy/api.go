package faultproxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// What the API proxy does to a request.
const (
	// Swallowed: the backend answered, and the client's connection was closed without one byte of it.
	Swallowed Fault = "answer swallowed"
	// NoBackend: no backend could be connected to, and the client got ServiceUnavailableException.
	NoBackend Fault = "no backend"
	// BackendLost: the connection to a backend broke after the request went out, and so did the client's.
	BackendLost Fault = "backend lost"
	// ClientLost: the client gave up before the backend answered.
	ClientLost Fault = "client lost"
)

// API is a load balancer before the ingest replicas that swallows a share of the answers. It goes round the backends,
// and on to the next when one cannot be connected to.
type API struct {
	*listener
	dice  *dice
	tally *tally
	next  atomic.Uint64

	mu       sync.Mutex
	rate     float64
	off      bool
	backends []string
}

// NewAPI starts a proxy before the backends, given as host:port. It swallows nothing until SetSwallow.
func NewAPI(seed uint64, backends ...string) (*API, error) {
	p := &API{dice: newDice(seed, 1), tally: newTally(), backends: backends}
	var err error
	if p.listener, err = listen(p.serve); err != nil {
		return nil, err
	}
	return p, nil
}

// URL returns the endpoint that producers are to be pointed at.
func (p *API) URL() string { return p.url() }

// Close breaks every connection and returns when nothing of the proxy runs any more.
func (p *API) Close() { p.close() }

// Counts returns what was done up to now.
func (p *API) Counts() Counts { return p.tally.snapshot() }

// SetSwallow sets which share of the answers, from 0 to 1, is swallowed.
func (p *API) SetSwallow(rate float64) error {
	if err := checkRate(string(Swallowed), rate); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = rate
	return nil
}

// SetAll switches the faults on or off without changing the rate; they are on at first.
func (p *API) SetAll(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = !on
}

// SetBackends replaces the backends.
func (p *API) SetBackends(backends ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backends = backends
}

func (p *API) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	swallow := p.decide()
	if !swallow {
		// As behind any load balancer, a backend learns when the client has gone.
		ctx = r.Context()
	}
	resp, err := p.balance(ctx, r)
	switch {
	case errors.Is(err, errNoBackend):
		p.tally.add(Other, NoBackend)
		unavailable(w)
	case err != nil && r.Context().Err() != nil:
		p.tally.add(Other, ClientLost)
		hangUp(r)
	case err != nil:
		// This is what the client would see without a proxy in between.
		p.tally.add(Other, BackendLost)
		hangUp(r)
	case swallow:
		discard(resp.Body)
		p.tally.add(Other, Swallowed)
		hangUp(r)
	default:
		defer func() { _ = resp.Body.Close() }()
		p.tally.add(Other, Forwarded)
		pass(w, resp)
	}
}

func (p *API) decide() bool {
	drawn := p.dice.draw()
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.off && drawn < p.rate
}

var errNoBackend = errors.New("no backend can be connected to")

// balance forwards to the next backend that can be connected to. A request that went out goes to no other: whether it
// took effect is the client's to find out, by trying again.
func (p *API) balance(ctx context.Context, r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	backends := p.backends
	p.mu.Unlock()
	turn := p.next.Add(1)
	for i := range uint64(len(backends)) {
		resp, err := p.forward(ctx, r, backends[(turn+i)%uint64(len(backends))])
		if err == nil || !isDialError(err) {
			return resp, err
		}
	}
	return nil, errNoBackend
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusServiceUnavailable)
	const body = `{"__type":"ServiceUnavailableException","message":"no ingest replica can be connected to"}`
	_, _ = strings.NewReader(body).WriteTo(w)
}
