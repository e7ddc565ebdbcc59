package faultproxy

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Phase is where a request is when the hook is called.
type Phase string

const (
	// BeforeForward is the phase in which nothing of the request has reached the server.
	BeforeForward Phase = "before forward"
	// BeforeAnswer is the phase in which the server has answered and nothing of it has reached the client. A client that
	// dies here has done what it asked for and does not know it.
	BeforeAnswer Phase = "before answer"
)

// Hook is called for each request that is forwarded, at each phase, with the address that the client has; the request goes on when
// it returns.
type Hook func(phase Phase, kind Kind, client string)

// share is how many of the requests get a fault, from 0 to 1.
type share struct {
	fault Fault
	rate  float64
}

func validate(shares []share, maxHold time.Duration) error {
	sum := 0.0
	for _, share := range shares {
		if err := checkRate(string(share.fault), share.rate); err != nil {
			return err
		}
		sum += share.rate
	}
	if sum > 1 {
		return fmt.Errorf("fault proxy: the rates add up to %v, and may to 1", sum)
	}
	if maxHold < 0 {
		return fmt.Errorf("fault proxy: MaxHold is %v, and has to be 0 or more", maxHold)
	}
	return nil
}

// choose returns the fault that a number drawn from 0 to 1 falls on.
func choose(shares []share, drawn float64) Fault {
	for _, share := range shares {
		if drawn < share.rate {
			return share.fault
		}
		drawn -= share.rate
	}
	return Forwarded
}

// gate decides what happens to each request of a proxy before a server, and counts it.
type gate struct {
	dice  *dice
	tally *tally

	mu      sync.Mutex
	shares  []share
	maxHold time.Duration
	off     bool
	hook    Hook
	open    map[Kind]int // requests that are with the proxy
	forced  []*forced
	// released is closed when what is held has to be let go.
	released chan struct{}
}

func newGate(seed, stream uint64) *gate {
	return &gate{dice: newDice(seed, stream), tally: newTally(), open: make(map[Kind]int), released: make(chan struct{})}
}

// Counts returns what was done up to now.
func (g *gate) Counts() Counts { return g.tally.snapshot() }

// CountsOf returns what was done up to now to requests of a kind.
func (g *gate) CountsOf(kind Kind) Counts { return g.tally.of(kind) }

// Open returns how many requests of a kind are with the proxy: their clients may be waiting for an answer.
func (g *gate) Open(kind Kind) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[kind]
}

// count notes that a request had what was decided for it.
func (g *gate) count(d decision) {
	g.tally.add(d.kind, d.fault)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fell(d)
}

func (g *gate) set(shares []share, maxHold time.Duration) error {
	if err := validate(shares, maxHold); err != nil {
		return err
	}
	if maxHold == 0 {
		maxHold = 30 * time.Second
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shares, g.maxHold = shares, maxHold
	return nil
}

// SetAll switches all faults on or off without changing the settings; they are on at first. Switching them off also
// closes the connections that are held, so that a drain need not wait for them.
func (g *gate) SetAll(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.off == !on {
		return
	}
	g.off = !on
	if g.off {
		close(g.released)
	} else {
		g.released = make(chan struct{})
	}
}

// OnRequest sets the hook; nil removes it. It is called whether faults are on or off.
func (g *gate) OnRequest(hook Hook) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hook = hook
}

// decision is what happens to one request.
type decision struct {
	kind     Kind
	fault    Fault
	hook     Hook
	maxHold  time.Duration
	released <-chan struct{}
}

// decide is called for a request that has come, and over when it has gone.
func (g *gate) decide(kind Kind) decision {
	drawn := g.dice.draw()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[kind]++
	d := decision{kind: kind, fault: Forwarded, hook: g.hook, maxHold: g.maxHold, released: g.released}
	if !g.off {
		d.fault = choose(g.shares, drawn)
		if f := g.nextForced(kind); f != nil {
			d.fault = f.fault
		}
	}
	if d.hook == nil {
		d.hook = func(Phase, Kind, string) {}
	}
	return d
}

func (g *gate) over(d decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[d.kind]--
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
