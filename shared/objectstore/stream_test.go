package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"hydrant/shared/delivery"
)

// pieces are content that is there, and a failure behind it.
type pieces struct {
	left []string
	end  error
}

func (p *pieces) Next(context.Context) ([]byte, error) {
	if len(p.left) == 0 {
		return nil, p.end
	}
	next := p.left[0]
	p.left = p.left[1:]
	return []byte(next), nil
}

func (p *pieces) Close() {}

// body makes the body of a request with four pieces.
func body(t *testing.T, checksum bool, confirm func() error) *stream {
	t.Helper()
	return bodyThatEnds(t, 13, io.EOF, checksum, confirm)
}

func bodyThatEnds(t *testing.T, size int64, end error, checksum bool, confirm func() error) *stream {
	t.Helper()
	b := newStream(t.Context(), Straight{Size: size, Open: func() Source {
		return &pieces{[]string{"one,", "", "two,", "three"}, end}
	}}, checksum, confirm)
	t.Cleanup(b.close)
	return b
}

func TestStreamBody(t *testing.T) {
	held := func() error { return nil }
	for _, c := range []struct {
		name     string
		checksum bool
		want     string
	}{
		{"plain", false, "one,two,three"},
		{"with a checksum", true, "d\r\none,two,three\r\n0\r\nx-amz-checksum-crc32:FdvzIg==\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := body(t, c.checksum, held)
			for i := range 3 {
				data, err := io.ReadAll(b)
				check(t, err)
				wantEqual(t, fmt.Sprintf("the body, %d", i), string(data), c.want)
				wantEqual(t, "the length", b.Len(), len(data))
				_, err = b.Seek(0, io.SeekStart)
				check(t, err)
			}
		})
	}
}

// TestStreamHoldsBack reads up to the last message and no further while the batch is not known to be held.
func TestStreamHoldsBack(t *testing.T) {
	asked := 0
	b := body(t, true, func() error { asked++; return delivery.ErrNotHeld })
	data, err := io.ReadAll(b)
	if !errors.Is(err, delivery.ErrNotHeld) {
		t.Errorf("reading ended with %v, want ErrNotHeld", err)
	}
	wantEqual(t, "what was given out", string(data), "d\r\none,two,")
	if _, err := b.Seek(0, io.SeekStart); !errors.Is(err, delivery.ErrNotHeld) {
		t.Errorf("it can be repeated: %v", err)
	}
	wantEqual(t, "how often it was asked", asked, 1)
}

// TestStreamClosed gives a transport that reads on after the request an error, and no end that looks like one.
func TestStreamClosed(t *testing.T) {
	b := body(t, true, func() error { return nil })
	_, err := b.Read(make([]byte, 5))
	check(t, err)
	b.close()
	if n, err := b.Read(make([]byte, 5)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a closed body gives %d bytes, %v", n, err)
	}
}

// TestStreamNotWhole gives the last piece to nobody where it is not the whole content, and cannot be repeated.
func TestStreamNotWhole(t *testing.T) {
	gone := errors.New("the rest is gone")
	for _, c := range []struct {
		name string
		size int64
		end  error
		want string
	}{
		{"less than it was to be", 14, io.EOF, "13 bytes came"},
		{"more than it was to be", 12, io.EOF, "13 bytes came"},
		{"the source says so", 13, gone, "the rest is gone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bodyThatEnds(t, c.size, c.end, false, func() error { t.Error("it was asked whether to go on"); return nil })
			data, err := io.ReadAll(b)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("reading ended with %v, want %q", err, c.want)
			}
			if strings.Contains(string(data), "three") {
				t.Errorf("%q was given out", data)
			}
			wantEqual(t, "why it broke off", b.failed(), err)
		})
	}
}
