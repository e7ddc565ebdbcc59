package s3sink

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
)

// TestStraight delivers from the log without a part in memory, and says how the bytes are checked.
func TestStraight(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var trailer, signed, length, encoding string
	r.s3.Fail("PutObject", -1, func(store httpHandler, w httpWriter, q *httpRequest) {
		encoding = q.Header.Get("Content-Encoding") // which S3 servers may keep with the object
		trailer, signed, length = q.Header.Get("X-Amz-Trailer"), q.Header.Get("X-Amz-Content-Sha256"), q.Header.Get("X-Amz-Decoded-Content-Length")
		store.ServeHTTP(w, q)
	})
	s := r.stream("demo")
	want := s.fill(9 * part / 5)
	d := s.batch()
	destination := r.destination(straight)
	result, err := destination.Deliver(t.Context(), s.attempt(d))
	check(t, err)
	data, object := r.content(result.Location)
	wantEqual(t, "whether the object is what was published", bytes.Equal(data, want), true)
	wantEqual(t, "the batch", object.Metadata[objectstore.MetadataBatch], string(d.ID()))
	wantEqual(t, "whether the object has no encoding", object.ContentEncoding == nil, true)
	wantEqual(t, "the request's encoding", encoding, "")
	wantEqual(t, "the trailer", trailer, "x-amz-checksum-crc32")
	wantEqual(t, "the hash", signed, "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
	wantEqual(t, "the length", length, itoa(len(want)))
	wantEqual(t, "the parts made", destination.buffers.Made(), 0)
	r.wantOne("data")
}

// TestWhatGoesStraight tells by the settings and the batch which objects are assembled first.
func TestWhatGoesStraight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*Config)
		option option
		want   bool
	}{
		{"uncompressed", func(*Config) {}, inFormat(uncompressed), true},
		{"compressed", func(*Config) {}, compressed, false},
		{"larger than allowed", func(c *Config) { c.PutSize = 999 }, inFormat(uncompressed), false},
		{"as large as allowed", func(c *Config) { c.PutSize = 1000 }, inFormat(uncompressed), true},
		{"signed", func(c *Config) { c.S3SignPayload = "always" }, inFormat(uncompressed), false},
		{"without a checksum", func(c *Config) { c.S3Checksums = "required" }, inFormat(uncompressed), false},
		{"to another machine", func(c *Config) { c.S3Endpoint = "http://192.0.2.1:9000" }, inFormat(uncompressed), false},
		{"to another machine, unsigned", func(c *Config) { c.S3Endpoint, c.S3SignPayload = "http://192.0.2.1:9000", "never" }, inFormat(uncompressed), true},
		{"to another machine by https", func(c *Config) { c.S3Endpoint = "https://192.0.2.1:9000" }, inFormat(uncompressed), true},
		{"to AWS", func(c *Config) { c.S3Endpoint = "" }, inFormat(uncompressed), true},
		{"to localhost", func(c *Config) { c.S3Endpoint = "http://localhost:9000" }, inFormat(uncompressed), true},
		{"to this machine, IPv6", func(c *Config) { c.S3Endpoint = "http://[::1]:9000" }, inFormat(uncompressed), true},
		{"to a name that looks like it", func(c *Config) { c.S3Endpoint = "http://localhost.example.com" }, inFormat(uncompressed), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo", c.option)
			s.fill(1000)
			try, err := r.destination(straight, c.change).newTry(s.attempt(s.batch()))
			check(t, err)
			wantEqual(t, "whether it goes straight", try.newWrite(try.whole, try.Batch).Straight != nil, c.want)
		})
	}
}

// TestLostWhileSending loses the batch when nearly all of it is at the server: no object is made of it.
func TestLostWhileSending(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	s.fill(several)
	a := s.attempt(s.batch())
	var asked atomic.Int32
	a.Held = func() error {
		if asked.Add(1) > 1 { // it is asked when the request begins, and before the last of the body
			return delivery.ErrNotHeld
		}
		return nil
	}
	_, err := r.destination(straight).Deliver(t.Context(), a)
	if !errors.Is(err, delivery.ErrNotHeld) {
		t.Errorf("Deliver returned %v, want ErrNotHeld", err)
	}
	wantEqual(t, "the requests", r.s3.Count("PutObject"), 1)
	wantEqual(t, "the objects", len(r.keys("data")), 0)
}

// TestStuckServer takes some of a body and no more: the connection is given up, and the next one delivers.
func TestStuckServer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	want := s.fill(20 << 20) // more than the system's buffers take
	released := make(chan struct{})
	defer close(released)
	r.s3.Fail("PutObject", 1, func(_ httpHandler, _ httpWriter, q *httpRequest) {
		_, _ = io.ReadFull(q.Body, make([]byte, 1000))
		<-released
		panic(http.ErrAbortHandler)
	})
	result, err := r.destination(straight, func(c *Config) { c.S3Timeout = 5 * time.Second }).Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err)
	data, _ := r.content(result.Location)
	wantEqual(t, "whether the object is what was published", bytes.Equal(data, want), true)
	if n := r.s3.Count("PutObject"); n < 2 { // a busy machine may be taken for a stuck one once more
		t.Errorf("%d requests were made, want the stuck one and another", n)
	}
	r.wantOne("data")
}
