package es

import (
	"bytes"
	"compress/gzip"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/elastic/go-elasticsearch/v8/esapi"

	"hydrant/shared/faultpoint"
)

// slowest is the rate in bytes a second below which a request counts as stuck.
const slowest = 64 << 10

// sending is a request on its way, with what it needs.
type sending struct {
	*request
	packed  []byte // the body, if it is compressed
	answers []itemAnswer
	to      version
	timeout time.Duration // for an answer, when all is sent
	gzip    bool

	failure error // nil, or a refusal
}

// filter leaves out of the answer what nobody reads: it would be as large as the request. The ids stay, to compare.
func filter() []string {
	return []string{
		"items.*._id", "items.*.status", "items.*.error.type", "items.*.error.reason", "items.*.error.caused_by.type", "items.*.error.caused_by.reason",
	}
}

func (s *sending) bulk(body *body) esapi.BulkRequest {
	b := esapi.BulkRequest{
		FilterPath: filter(),
		// The server answers in time even if a shard is not there, and says so, rather than be given up with nothing known. Where
		// it makes an index whose shard finds no place, as when a disk is nearly full, it waits 30 seconds for that before.
		Timeout: s.timeout / 3,
		Header:  http.Header{"Content-Type": {"application/x-ndjson"}},
		Body:    body,
	}
	if s.gzip {
		b.Header.Set("Content-Encoding", "gzip")
	}
	if s.to.hidesSource() {
		b.IncludeSourceOnError = aws.Bool(false)
	}
	return b
}

// run sends the request to its end. It changes nothing but what is of this sending.
func (s *sending) run(ctx context.Context, to *server, packers *packers) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout+time.Duration(len(s.body))*time.Second/slowest)
	defer cancel()
	sent := s.body
	if s.gzip {
		s.packed = packers.pack(s.packed[:0], s.body)
		sent = s.packed
	}
	body := newBody(sent)
	defer body.shut()
	faultpoint.Hit("es.before-bulk")
	answers, err := to.send(ctx, s, body)
	faultpoint.Hit("es.after-bulk")
	s.answers, s.failure = answers, err
}

// packers keeps compressors, which are large.
type packers struct{ pool sync.Pool }

func (p *packers) pack(to, body []byte) []byte {
	out := bytes.NewBuffer(to)
	w, _ := p.pool.Get().(*gzip.Writer)
	if w == nil {
		w, _ = gzip.NewWriterLevel(out, gzip.BestSpeed) // its error is a wrong level
	} else {
		w.Reset(out)
	}
	defer p.pool.Put(w)
	_, _ = w.Write(body) // into memory
	_ = w.Close()
	return out.Bytes()
}

// aLine is more than the line before a document, and the end of it, can take.
const aLine = 4 << 10

// buffers are the memory of requests, of all workers together. There are as many as were needed at once, and never more. Each is
// made as large as a request can be: one that grew would be copied again and again, and its old forms left to the collector.
type buffers struct {
	free chan struct{} // one for each that may be taken
	size int

	mu   sync.Mutex
	made []*sending // and not lent. The last is the one that was used last: little work stays in few of them
}

func newBuffers(count, size int) *buffers {
	b := &buffers{free: make(chan struct{}, count), size: size + aLine}
	for range count {
		b.free <- struct{}{}
	}
	return b
}

// take returns one, for who took its turn out of free.
func (b *buffers) take() *sending {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.made) - 1
	if last < 0 {
		return &sending{request: &request{body: make([]byte, 0, b.size)}}
	}
	s := b.made[last]
	b.made = b.made[:last]
	s.reset()
	s.answers, s.failure = s.answers[:0], nil
	return s
}

// give gives one back.
func (b *buffers) give(s *sending) {
	b.mu.Lock()
	b.made = append(b.made, s)
	b.mu.Unlock()
	b.free <- struct{}{}
}

// lent is how many are in use.
func (b *buffers) lent() int { return cap(b.free) - len(b.free) }
