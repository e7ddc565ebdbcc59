package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"strconv"
)

const largestAnswer = 1 << 20

// errNotHTTP is what comes back where no answer of HTTP/1.1 does.
var errNotHTTP = errors.New("not an answer of HTTP/1.1")

// read reads one answer. It looks at the status and the length alone: reading all of the header, as package net/http does,
// would cost as much as the rest of a call. The body is valid until the next answer is read.
func (c *Conn) read() (status int, body []byte, err error) {
	if status, err = c.readStatus(); err != nil {
		return 0, nil, err
	}
	length, chunked, err := c.readHeader()
	if err != nil {
		return status, nil, err
	}
	body, err = c.readBody(length, chunked)
	return status, body, err
}

func (c *Conn) readStatus() (int, error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	rest, found := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !found || len(rest) < 3 {
		return 0, fmt.Errorf("%w: %.100q", errNotHTTP, line)
	}
	status, err := strconv.Atoi(string(rest[:3]))
	if err != nil {
		return 0, fmt.Errorf("%w: %.100q", errNotHTTP, line)
	}
	return status, nil
}

// readHeader returns the length of the body, or whether it comes in chunks.
func (c *Conn) readHeader() (length int, chunked bool, err error) {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, chunked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || length < 0 || length > largestAnswer {
				return 0, false, fmt.Errorf("%w: %.100q", errNotHTTP, line)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked"))
		}
	}
}

func (c *Conn) readBody(length int, chunked bool) ([]byte, error) {
	if chunked {
		return c.readChunks()
	}
	if cap(c.answer) < length {
		c.answer = make([]byte, length)
	}
	c.answer = c.answer[:length]
	_, err := io.ReadFull(c.reader, c.answer)
	return c.answer, err
}

func (c *Conn) readChunks() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(httputil.NewChunkedReader(c.reader), largestAnswer))
	if err != nil {
		return nil, err
	}
	// The line behind the last chunk is left to its reader's caller.
	_, err = c.reader.ReadSlice('\n')
	return body, err
}
