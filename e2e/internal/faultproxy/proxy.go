// Package faultproxy puts faults between a client and an HTTP server that neither of them can tell from real ones.
//
// API stands where a load balancer would, before the ingest replicas, and loses answers. S3 stands before an S3 server
// and answers as a bad day would: errors, resets, silence, and success that the client never hears of; Search does so before
// a node of Elasticsearch or OpenSearch. All pass on what they get byte for byte (the Host header, the raw path and query,
// every header), because the requests are signed over them, and stream bodies of any size.
//
// What happens to the n-th request follows from the seed. Rates can be changed at any time, and each fault is counted.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// connKey is the key of a request's connection in its context.
type connKey struct{}

// listener is an HTTP server on a random port of 127.0.0.1 and the transport to what is behind it.
type listener struct {
	server    *http.Server
	transport *http.Transport
	address   string
	cancel    context.CancelFunc
	served    chan struct{}

	mu       sync.Mutex
	closed   bool
	handlers sync.WaitGroup
}

// listen starts the server. The context that serve gets ends with the proxy, unlike the request's, which ends with
// the client's connection.
func listen(serve func(ctx context.Context, w http.ResponseWriter, r *http.Request)) (*listener, error) {
	ctx, cancel := context.WithCancel(context.Background())
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	l := &listener{
		transport: newTransport(),
		address:   socket.Addr().String(),
		cancel:    cancel,
		served:    make(chan struct{}),
	}
	l.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !l.enter() {
				return
			}
			defer l.handlers.Done()
			serve(ctx, w, r)
		}),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ReadHeaderTimeout: 30 * time.Second,
		// The server would log each connection that a fault breaks.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(l.served)
		_ = l.server.Serve(socket)
	}()
	return l, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   64,
		ExpectContinueTimeout: time.Second,
		// Without this the transport asks for gzip and unpacks it, and the client sees other bytes than were sent.
		DisableCompression: true,
	}
}

// enter registers a handler, so that close can wait for it.
func (l *listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.handlers.Add(1)
	return true
}

func (l *listener) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	_ = l.server.Close()
	l.handlers.Wait()
	<-l.served
	l.transport.CloseIdleConnections()
}

// url returns the address that clients are to be pointed at.
func (l *listener) url() string {
	return "http://" + l.address
}

// forward sends the request on to a host and returns its answer.
func (l *listener) forward(ctx context.Context, r *http.Request, host string) (*http.Response, error) {
	out := r.Clone(ctx)
	path, query, hasQuery := strings.Cut(r.RequestURI, "?")
	// Opaque is the only way to send a path as it came: parsed and written again, an escape may change.
	out.URL = &url.URL{Scheme: "http", Host: host, Opaque: path, RawQuery: query, ForceQuery: hasQuery}
	out.RequestURI = ""
	out.Close = false
	out.Body = http.NoBody
	if r.ContentLength != 0 {
		// The transport closes the body when it cannot connect, and the next backend still needs it.
		out.Body = io.NopCloser(r.Body)
	}
	dropHopHeaders(out.Header)
	if _, ok := r.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil
	}
	resp, err := l.transport.RoundTrip(out)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", host, err)
	}
	return resp, nil
}

// dropHopHeaders removes what concerns the connection and not the message; each side's library sets its own.
func dropHopHeaders(h http.Header) {
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Transfer-Encoding", "Upgrade"} {
		h.Del(name)
	}
}

// pass gives an answer to the client as it came.
func pass(w http.ResponseWriter, resp *http.Response) {
	// A backend may answer before it has read the request; without this the server would drop a part of the rest.
	_ = http.NewResponseController(w).EnableFullDuplex()
	dropHopHeaders(resp.Header)
	for _, absent := range []string{"Content-Type", "Date"} {
		// A nil value keeps the server from making one up.
		w.Header()[absent] = nil
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// hangUp closes the client's connection without an answer. It does not return.
//
// The connection is closed below the server rather than hijacked from it, because the transport may still be reading
// the request's body, which a hijacked connection does not allow.
func hangUp(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// reset closes the client's connection with a TCP reset. It does not return.
func reset(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*net.TCPConn); ok {
		_ = conn.SetLinger(0)
	}
	hangUp(r)
}

// discard reads a body to its end and closes it.
func discard(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, body)
	_ = body.Close()
}

// isDialError tells whether a request was not sent at all.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// dice draws from a seed, one number a request.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(seed, stream uint64) *dice {
	return &dice{rng: rand.New(rand.NewPCG(seed, stream))}
}

// draw returns a number from 0 up to but not including 1.
func (d *dice) draw() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64()
}

// Counts is how often each fault was put in, and under Forwarded how many requests were passed on without one.
type Counts map[Fault]int

// String returns the counts on one line.
func (c Counts) String() string {
	parts := make([]string, 0, len(c))
	for _, fault := range slices.Sorted(maps.Keys(c)) {
		parts = append(parts, fmt.Sprintf("%s %d", fault, c[fault]))
	}
	return strings.Join(parts, ", ")
}

// tally counts faults, by the kind of request.
type tally struct {
	mu     sync.Mutex
	counts map[Kind]Counts
}

func newTally() *tally {
	return &tally{counts: make(map[Kind]Counts)}
}

func (t *tally) add(kind Kind, fault Fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts[kind] == nil {
		t.counts[kind] = make(Counts)
	}
	t.counts[kind][fault]++
}

// snapshot are the counts of all kinds together.
func (t *tally) snapshot() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(Counts)
	for _, counts := range t.counts {
		for fault, n := range counts {
			all[fault] += n
		}
	}
	return all
}

func (t *tally) of(kind Kind) Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := make(Counts)
	maps.Copy(of, t.counts[kind])
	return of
}

// Fault is what a proxy did to a request.
type Fault string

// Forwarded is no fault: the request and its answer were passed on.
const Forwarded Fault = "forwarded"

// checkRate refuses what is no probability.
func checkRate(name string, rate float64) error {
	if rate >= 0 && rate <= 1 {
		return nil
	}
	return fmt.Errorf("fault proxy: rate of %s is %v, and has to be from 0 to 1", name, rate)
}
