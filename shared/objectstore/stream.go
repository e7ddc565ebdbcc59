package objectstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"
)

// Straight is content that is sent as it comes, in one request, without a part of it in memory.
type Straight struct {
	Size int64         // in bytes, which S3 is told first
	Open func() Source // from the beginning; again for each repeat
}

// Source is content, piece by piece, in order. A piece may be kept until the next but one is asked for. Its end is io.EOF only
// if all that the object is to hold was given. One that gives more than Size, or ends before, is an error in any case.
type Source interface {
	Next(ctx context.Context) ([]byte, error)
	Close()
}

// stream is the body of a PutObject that is sent as it comes from a Source: no part of it is assembled in memory, and the
// store writes it once. S3 makes an object of a body only when it has all of it, so the last piece is held back until
//   - the source has said that this was all, and it is the number of bytes that it is to be, and
//   - confirm returned no error.
//
// If either fails the request breaks off and there is no object.
//
// With a checksum the body is one chunk of S3's own chunked encoding, and behind it CRC-32 of what was read.
//
// It is an io.Seeker for the SDK, which goes back to its beginning to repeat a request: then the source is opened once more.
type stream struct {
	ctx      context.Context //nolint:containedctx // of one request; an io.Reader gets none
	end      context.CancelFunc
	content  Straight
	checksum bool
	confirm  func() error

	mu      sync.Mutex // the SDK may go back while the transport of the last attempt still reads
	source  Source
	ready   []byte // what Read gives next
	tail    []byte // and what comes after it, at the end
	ahead   []byte // the piece after what is ready, held back
	sum     uint32
	size    int64
	ended   bool
	failure error       // of the source or of confirm: the request is not to be repeated
	late    *time.Timer // runs out when the other side takes nothing
	patient time.Duration
}

func newStream(ctx context.Context, content Straight, checksum bool, confirm func() error) *stream {
	ctx, end := context.WithCancel(ctx)
	return &stream{ctx: ctx, end: end, content: content, checksum: checksum, confirm: confirm}
}

// Len is the length of the body, which the SDK asks for.
func (s *stream) Len() int {
	return len(s.head()) + int(s.content.Size) + len(s.foot(0))
}

func (s *stream) head() []byte {
	if !s.checksum {
		return nil
	}
	return fmt.Appendf(nil, "%x\r\n", s.content.Size)
}

func (s *stream) foot(sum uint32) []byte {
	if !s.checksum {
		return nil
	}
	foot := append([]byte("\r\n0\r\n"), checksumTrailer+":"...)
	foot = base64.StdEncoding.AppendEncode(foot, binary.BigEndian.AppendUint32(nil, sum))
	return append(foot, "\r\n\r\n"...)
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved()
	defer s.moved()
	for len(s.ready) == 0 {
		if s.ended && s.tail == nil {
			return 0, io.EOF
		}
		if s.failure == nil {
			s.failure = s.advance()
		}
		if s.failure != nil {
			return 0, s.failure
		}
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// advance makes more ready, or nothing and is to be called again.
func (s *stream) advance() error {
	if s.ended {
		s.ready, s.tail = s.tail, nil
		return nil
	}
	if s.source == nil {
		s.source = s.content.Open()
		s.ready = s.head()
		return nil
	}
	piece, err := s.source.Next(s.ctx)
	if errors.Is(err, io.EOF) {
		return s.finish()
	}
	if err != nil {
		return err
	}
	s.sum = crc32.Update(s.sum, crc32.IEEETable, piece)
	s.ready, s.ahead = s.ahead, piece
	if s.size += int64(len(piece)); s.size > s.content.Size {
		return s.wrong()
	}
	return nil
}

// finish gives out what was held back.
func (s *stream) finish() error {
	if s.size != s.content.Size {
		return s.wrong()
	}
	if err := s.confirm(); err != nil {
		return err
	}
	s.ended = true
	s.ready, s.ahead, s.tail = s.ahead, nil, s.foot(s.sum)
	return nil
}

func (s *stream) wrong() error {
	return fmt.Errorf("%d bytes came of what was said to be %d", s.size, s.content.Size)
}

// Seek implements io.Seeker, for the two places that are asked for: where it stands at first, and the beginning.
func (s *stream) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence == io.SeekEnd {
		return 0, errors.New("content can be sent from its beginning only")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return 0, s.failure
	}
	if whence == io.SeekStart {
		s.forget()
	}
	return 0, nil
}

// forget goes back to the beginning.
func (s *stream) forget() {
	if s.source != nil {
		s.source.Close()
	}
	s.source, s.ready, s.ahead, s.tail = nil, nil, nil, nil
	s.sum, s.size, s.ended = 0, 0, false
}

// failed is why the body broke off by itself, or nil. Whatever became of the request, the store did not get all of it.
func (s *stream) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// close ends the body: a transport that still reads it gets an error.
func (s *stream) close() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if s.failure == nil {
		s.failure = errClosed
	}
}

var errClosed = errors.New("the request is over")

// watch calls stuck when the other side takes nothing for a time; it ends when the returned function is called.
func (s *stream) watch(patience time.Duration, stuck func()) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	timer := time.AfterFunc(patience, stuck)
	s.late, s.patient = timer, patience
	return func() { timer.Stop() }
}

// moved says that something was taken, or was waited for by the other side.
func (s *stream) moved() {
	if s.late != nil {
		s.late.Reset(s.patient)
	}
}
