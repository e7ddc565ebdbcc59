package redshiftstandin

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// bytesReader reads an object byte by byte, keeps what it read since the last mark, and counts lines.
type bytesReader struct {
	in      *bufio.Reader
	line    int64 // of the next byte, from 1
	raw     []byte
	tooLong bool // more than a row's bytes were read since the mark; the rest is not kept
	err     error
}

func newBytesReader(r io.Reader) *bytesReader {
	return &bytesReader{in: bufio.NewReaderSize(r, 64<<10), line: 1}
}

// mark begins a row.
func (r *bytesReader) mark() { r.raw, r.tooLong = r.raw[:0], false }

// next returns a byte, and false at the end or after an error, which err then is.
func (r *bytesReader) next() (byte, bool) {
	c, err := r.in.ReadByte()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			r.err = err
		}
		return 0, false
	}
	if c == '\n' {
		r.line++
	}
	if r.tooLong = r.tooLong || len(r.raw) >= maxRow; !r.tooLong {
		r.raw = append(r.raw, c)
	}
	return c, true
}

// pass passes bytes up to the first of those in stops, as far as they are in memory, and returns them. They hold until the next
// call of anything.
func (r *bytesReader) pass(stops string) []byte {
	waiting, _ := r.in.Peek(r.in.Buffered())
	if end := bytes.IndexAny(waiting, stops); end >= 0 {
		waiting = waiting[:end]
	}
	r.line += int64(bytes.Count(waiting, []byte{'\n'}))
	if r.tooLong = r.tooLong || len(r.raw)+len(waiting) > maxRow; !r.tooLong {
		r.raw = append(r.raw, waiting...)
	}
	_, _ = r.in.Discard(len(waiting))
	return waiting
}

// back undoes the last next.
func (r *bytesReader) back(c byte) {
	_ = r.in.UnreadByte()
	if c == '\n' {
		r.line--
	}
	if !r.tooLong && len(r.raw) > 0 {
		r.raw = r.raw[:len(r.raw)-1]
	}
}

// end is what ends the rows: the error there was, or io.EOF.
func (r *bytesReader) end() error {
	if r.err != nil {
		return r.err
	}
	return io.EOF
}
