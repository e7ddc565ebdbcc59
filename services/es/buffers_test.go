package es

import (
	"strings"
	"testing"
)

// Requests stay in memory that was made for the largest, and as many as are needed at once.
func TestBuffersDoNotGrow(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := r.destination(func(c *Config) { c.BulkInFlight = 2 })
	check(t, deliverAll(t, s, d, 1, 20))
	wantEqual(t, "the buffers for a little", len(d.buffers.made), 1)
	for range 3 {
		check(t, deliverAll(t, s, d, 1, 20))
	}
	wantEqual(t, "the buffers for a little, again and again", len(d.buffers.made), 1)
	check(t, deliverAll(t, s, d, 9, 1_000_000)) // one to a request, and near the end of it
	check(t, deliverAll(t, s, d, 150, 20_000))
	if n := len(d.buffers.made); n < 2 || n > 3 {
		t.Errorf("%d buffers were made: one is filled while two fly", n)
	}
	for _, b := range d.buffers.made {
		wantEqual(t, "the memory of a request", cap(b.body), leastBulkSize+aLine)
	}
}

// deliverAll puts documents and delivers everything in the log.
func deliverAll(t *testing.T, s *deliveryStream, d *destination, n, size int) error {
	t.Helper()
	for range n {
		s.put(`{"text":"` + strings.Repeat("x", size) + `"}`)
	}
	_, err := d.Deliver(t.Context(), s.attempt(s.batch()))
	return err
}
