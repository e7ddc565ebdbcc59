package ingest

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"hydrant/shared/names"
)

// limits bound what a client can hold, and how long.
type limits struct {
	header time.Duration // to send a request's header
	body   time.Duration // to send its body
	idle   time.Duration // a connection without a request
	call   time.Duration // to serve a request once its body is there
	answer time.Duration // to take the answer
	linger time.Duration // after an answer that ends a connection, for the client to read it
	drain  time.Duration // at the end, for requests in flight

	putBody     int // bytes
	controlBody int
	headerBytes int
}

func defaultLimits() limits {
	return limits{
		header: 10 * time.Second,
		body:   60 * time.Second,
		idle:   2 * time.Minute,
		call:   10 * time.Second,
		answer: 30 * time.Second,
		linger: time.Second,
		drain:  10 * time.Second,

		putBody:     8 << 20,
		controlBody: 1 << 20,
		headerBytes: 32 << 10,
	}
}

const (
	targetPrefix = "Firehose_20150804."
	contentType  = "application/x-amz-json-1.1"

	unknownName = "unknown" // an operation's label in metrics
)

// webServer is the HTTP side: it reads a request within its limits, hands it to its operation, and writes the answer. It
// listens from the start, and answers ServiceUnavailableException until there are operations.
type webServer struct {
	limits     limits
	memory     *memory
	operations atomic.Pointer[map[string]operation]
	answers    sync.Pool // buffers, as *[]byte
	metrics    *apiMetrics
	log        *slog.Logger
}

// request is one call, read and not yet parsed.
type request struct {
	id     string
	name   string // of the operation
	stream names.Stream
	caller caller
	body   []byte
	data   []byte // the buffer with what was decoded of it
	lease  *lease
}

// run serves on listener until ctx ends, then lets the requests in flight finish. Those that have not by the end of the
// drain time are told so.
func (s *webServer) run(ctx context.Context, listener net.Listener) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	web := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.limits.header,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    s.limits.headerBytes,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	err := s.end(web, s.limits.drain)
	if err != nil {
		cancel()
		err = s.end(web, 2*s.limits.linger)
	}
	if err != nil {
		err = web.Close()
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		return errors.Join(err, ended)
	}
	return err
}

func (s *webServer) end(web *http.Server, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return web.Shutdown(ctx)
}

// ServeHTTP answers one request.
func (s *webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	call := &request{id: newRequestID(), name: unknownName, lease: s.memory.lease()}
	defer call.lease.close()
	w.Header().Set("x-amzn-RequestId", call.id)
	output, err := s.serve(w, r, call)
	failure := s.answer(w, call, output, err)
	s.metrics.observe(call, time.Since(began), failure)
}

// serve does what r asks for. A panic is answered like any other failure: one bad request must not end the others.
func (s *webServer) serve(w http.ResponseWriter, r *http.Request, call *request) (output any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("panic", "request", call.id, "operation", call.name, "panic", fault, "stack", string(debug.Stack()))
			output, err = nil, internalFailure(fmt.Errorf("panic: %v", fault))
		}
	}()
	http := http.NewResponseController(w)
	now := time.Now()
	_ = http.SetReadDeadline(now.Add(s.limits.body))
	_ = http.SetWriteDeadline(now.Add(s.limits.body + s.limits.call + s.limits.answer))

	op, err := s.find(r, call)
	if err != nil {
		return nil, err
	}
	if err := s.readBody(r, http, op.most(s.limits), call); err != nil {
		return nil, err
	}
	call.caller = readCaller(r.Header, call.body)
	input, err := op.parse(call)
	if err != nil {
		return nil, err
	}
	call.stream = streamOf(input)
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.call)
	defer cancel()
	return op.serve(ctx, call, input)
}

// find returns the operation that r names.
func (s *webServer) find(r *http.Request, call *request) (operation, error) {
	target := r.Header.Get("X-Amz-Target")
	if r.Method != http.MethodPost || r.URL.Path != "/" || len(target) <= len(targetPrefix) || target[:len(targetPrefix)] != targetPrefix {
		return operation{}, unknownOperation()
	}
	operations := s.operations.Load()
	if operations == nil {
		return operation{}, serviceUnavailable("Hydrant is starting: it waits for NATS.", nil)
	}
	op, known := (*operations)[target[len(targetPrefix):]]
	if !known {
		return operation{}, unknownOperation()
	}
	call.name = target[len(targetPrefix):]
	return op, nil
}

// readBody reads the body within the bounds of size, time and memory. Over one of them the rest is not read, and the
// connection ends with the answer.
func (s *webServer) readBody(r *http.Request, http *http.ResponseController, most int, call *request) error {
	if r.ContentLength > int64(most) {
		return refuseBody("The request body has %d bytes; Hydrant reads up to %d.", r.ContentLength, most)
	}
	// The end of ctx, which is that of the server or of the connection, ends the reading too.
	stop := context.AfterFunc(r.Context(), func() { _ = http.SetReadDeadline(time.Now()) })
	body, err := call.lease.read(r.Body, r.ContentLength, most)
	stop()
	switch {
	case err == nil:
		call.body = body
		return http.SetReadDeadline(time.Time{})
	case errors.Is(err, errTooLarge):
		return refuseBody("The request body has more than the %d bytes that Hydrant reads.", most)
	case errors.Is(err, errOverBudget):
		return refuseBody("Slow down. Too many bytes of requests are in flight (--request-memory).")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refuseBody("The request body did not arrive within %s.", s.limits.body)
	default:
		return refuseBody("The request body could not be read to its end.")
	}
}

// answer writes output or err, and returns the failure that it has written, if any.
func (s *webServer) answer(w http.ResponseWriter, call *request, output any, err error) *apiFailure {
	room, ok := s.answers.Get().(*[]byte)
	if !ok {
		room = new([]byte)
	}
	data := (*room)[:0]
	if err == nil {
		if data, err = appendAnswer(data, output); err != nil {
			err = internalFailure(fmt.Errorf("encode the answer: %w", err))
		}
	}
	status := http.StatusOK
	var failure *apiFailure
	if err != nil {
		failure = asFailure(err)
		status, data = failure.status, append(data[:0], encodeError(failure)...)
		s.report(call, failure)
	}
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(data)))
	if failure != nil && failure.hangUp {
		// The server reads a little of what is still coming, so that the client gets to reading the answer.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.limits.linger))
		header.Set("Connection", "close")
	}
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that is gone is no failure of the service
	*room = data
	s.answers.Put(room)
	return failure
}

func appendAnswer(b []byte, output any) ([]byte, error) {
	if put, ok := output.(jsonAppender); ok {
		return put.appendJSON(b), nil
	}
	data, err := encodeJSON(output)
	return append(b, data...), err
}

// report logs what its caller cannot know. The request's contents are never logged.
func (s *webServer) report(call *request, failure *apiFailure) {
	switch {
	case failure.code == codeInternalFailure:
		s.log.Error("request failed", "request", call.id, "operation", call.name, "error", failure.cause)
	case failure.cause != nil:
		s.log.Warn("request refused", "request", call.id, "operation", call.name, "answer", failure.message, "error", failure.cause)
	}
}

// newRequestID returns a random UUID. It tells calls apart and guards nothing, so it need not be hard to guess.
func newRequestID() string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(b[8:], rand.Uint64())
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var id [36]byte
	from := 0
	for i := range b {
		switch i {
		case 4, 6, 8, 10:
			id[from] = '-'
			from++
		}
		hex.Encode(id[from:], b[i:i+1])
		from += 2
	}
	return string(id[:])
}
