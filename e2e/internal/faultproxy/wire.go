package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// What the proxy before a database does to a COPY, beside ResetBefore, ResetAfter, HeldAnswer and Truncated: of those the last
// breaks the connection in the middle of the answer.
const (
	// CutInside: the query reached the database, and both connections were reset before it was carried out, or while.
	CutInside Fault = "cut inside"
	// DatabaseLost: the database could not be reached, or the connection to it broke.
	DatabaseLost Fault = "database lost"
	// CopierLost: the client went away before it had the answer.
	CopierLost Fault = "client lost"
)

// Copy is a simple query with a COPY in it. Whatever else is said to a database has no fault.
const Copy Kind = "COPY"

// WireSettings are the shares, from 0 to 1, of the COPYs that get each fault; together they are at most 1.
type WireSettings struct {
	ResetBefore float64
	CutInside   float64
	ResetAfter  float64
	HeldAnswer  float64
	Truncated   float64
	// MaxHold bounds how long a client that does not give up hears nothing, until its connection is closed; 30 s if 0.
	MaxHold time.Duration
}

func (s WireSettings) shares() []share {
	return []share{
		{ResetBefore, s.ResetBefore}, {CutInside, s.CutInside}, {ResetAfter, s.ResetAfter}, {HeldAnswer, s.HeldAnswer}, {Truncated, s.Truncated},
	}
}

// Wire is a proxy before a server of PostgreSQL's protocol, without TLS. What it forwards it forwards byte for byte. A client that goes
// away takes its connection to the database along.
type Wire struct {
	*gate
	socket  net.Listener
	backend string
	cancel  context.CancelFunc
	served  chan struct{}

	joining sync.Mutex
	lines   map[*line]bool
}

// NewWire starts a proxy before the database at backend, given as host:port. It puts in no faults until Set.
func NewWire(seed uint64, backend string) (*Wire, error) {
	ctx, cancel := context.WithCancel(context.Background())
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	w := &Wire{gate: newGate(seed, 4), socket: socket, backend: backend, cancel: cancel, served: make(chan struct{}), lines: make(map[*line]bool)}
	go w.serve(ctx)
	return w, nil
}

// Addr is where clients are to be pointed at, as host:port.
func (w *Wire) Addr() string { return w.socket.Addr().String() }

// Set sets the rates, from the next COPY on.
func (w *Wire) Set(settings WireSettings) error { return w.set(settings.shares(), settings.MaxHold) }

// Cut resets every connection with a COPY that has no answer, as CutInside does.
func (w *Wire) Cut() {
	w.joining.Lock()
	defer w.joining.Unlock()
	for l := range w.lines {
		if l.waiting() != nil {
			l.settle(CutInside)
			l.reset()
		}
	}
}

// Close breaks every connection and returns when nothing of the proxy runs any more.
func (w *Wire) Close() {
	w.cancel()
	_ = w.socket.Close()
	<-w.served
}

func (w *Wire) serve(ctx context.Context) {
	defer close(w.served)
	var lines sync.WaitGroup
	defer lines.Wait()
	for {
		client, err := w.socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			lines.Go(func() { w.join(ctx, client) })
		}
	}
}

// join passes on what a client and the database say, until one of them goes, or a fault has them part.
func (w *Wire) join(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	backend, err := dialer.DialContext(ctx, "tcp", w.backend)
	if err != nil {
		return
	}
	defer func() { _ = backend.Close() }()
	l := &line{wire: w, client: client, backend: backend, gone: make(chan struct{})}
	w.keep(l, true)
	defer w.keep(l, false)
	defer context.AfterFunc(ctx, l.part)()
	var listening sync.WaitGroup
	listening.Go(l.answers)
	l.questions()
	listening.Wait()
}

func (w *Wire) keep(l *line, joined bool) {
	w.joining.Lock()
	defer w.joining.Unlock()
	if joined {
		w.lines[l] = true
	} else {
		delete(w.lines, l)
	}
}
