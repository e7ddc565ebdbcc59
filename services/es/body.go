package es

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// body is a request's body, in memory that is used again. net/http may go on reading a body when the request is over for its
// caller, because it was given up or answered early; what it then sent would be parts of two requests. So the body is shut
// before its memory is used for another.
type body struct {
	data *bytes.Reader
	gate *gate
}

type gate struct {
	mu   sync.Mutex
	shut bool
}

var errShut = errors.New("the request is over")

func newBody(data []byte) *body { return &body{bytes.NewReader(data), new(gate)} }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	if b.gate.shut {
		return 0, errShut
	}
	return b.data.Read(p)
}

// Close implements io.Closer. The memory is not net/http's, and stays.
func (b *body) Close() error { return nil }

// shut ends all reading, of what again returned too.
func (b *body) shut() {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	b.gate.shut = true
}

// again is the body from its beginning.
func (b *body) again() (io.ReadCloser, error) {
	again := *b.data
	_, err := again.Seek(0, io.SeekStart)
	return &body{&again, b.gate}, err
}

// measured tells net/http of bodies what it finds out of a bytes.Reader by itself: their length, and how to begin again where
// a connection was closed before it took anything.
type measured struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (m measured) RoundTrip(r *http.Request) (*http.Response, error) {
	if b, ok := r.Body.(*body); ok {
		r = r.WithContext(r.Context()) // a copy: the request is the caller's
		r.ContentLength, r.GetBody = b.data.Size(), b.again
	}
	return m.next.RoundTrip(r)
}
