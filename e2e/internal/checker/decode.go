package checker

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/golang/snappy"
)

const (
	xerialHeader = "\x82SNAPPY\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x01" // magic, version, oldest compatible version

	// maxBlock is more than a block of either framing of Snappy holds, compressed or not.
	maxBlock = 1 << 20

	// directoryEnd is the size of the last record of a ZIP archive without a comment.
	directoryEnd = 22
)

// Decode returns a reader of what an object of a Content-Encoding holds. It shares no framing and no decompressor with what
// wrote the object, and takes only what is to be written: anything cut off, and anything before, between or behind, is an
// error. Snappy's framings have no checksum and no end: what is cut off between two blocks shows in the object's counts only.
func Decode(encoding string, r io.Reader) (io.Reader, error) {
	switch encoding {
	case "":
		return r, nil
	case "gzip":
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("not a gzip file: %w", err)
		}
		return unzipped, nil
	case "zip":
		return unzip(r)
	case "snappy-java":
		return xerial(r)
	case "hadoop-snappy":
		return &blocks{next: (&hadoop{source: r}).block}, nil
	default:
		return nil, fmt.Errorf("the Content-Encoding %q is of no format that is known", encoding)
	}
}

// unzip reads the whole archive, since its directory is at its end.
func unzip(r io.Reader) (io.Reader, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("not a ZIP archive: %w", err)
	}
	// The reader looks for an archive inside a file; this file is to be nothing else.
	if !bytes.HasPrefix(data, []byte("PK\x03\x04")) || !bytes.HasPrefix(data[len(data)-directoryEnd:], []byte("PK\x05\x06")) {
		return nil, errors.New("something is before or behind the ZIP archive")
	}
	if len(archive.File) != 1 || archive.File[0].Method != zip.Deflate {
		return nil, fmt.Errorf("%d entries in the ZIP archive, of which one deflated is expected", len(archive.File))
	}
	return archive.File[0].Open()
}

// blocks reads one block after the other.
type blocks struct {
	next func() ([]byte, error)
	rest []byte // of the block
}

func (b *blocks) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		block, err := b.next()
		if err != nil {
			return 0, err
		}
		b.rest = block
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// xerial reads the stream of snappy-java.
func xerial(r io.Reader) (io.Reader, error) {
	header := make([]byte, len(xerialHeader))
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, fmt.Errorf("not a stream of snappy-java: %w", noEnd(err))
	}
	if string(header) != xerialHeader {
		return nil, fmt.Errorf("not a stream of snappy-java: it begins with %q", header)
	}
	return &blocks{next: func() ([]byte, error) { return chunk(r) }}, nil
}

// hadoop reads blocks of chunks, as Hadoop's BlockCompressorStream writes them.
type hadoop struct {
	source io.Reader
	begun  bool
	left   int // of the block's size before compression
}

// block returns the next chunk.
func (h *hadoop) block() ([]byte, error) {
	if h.left == 0 {
		if err := h.begin(); err != nil {
			return nil, err
		}
	}
	plain, err := chunk(h.source)
	if err != nil {
		return nil, noEnd(err)
	}
	if len(plain) == 0 || len(plain) > h.left {
		return nil, fmt.Errorf("a chunk of %d bytes in a block that has %d left", len(plain), h.left)
	}
	h.left -= len(plain)
	return plain, nil
}

// begin reads the size of a block. An empty one stands for an object that holds nothing, and is alone.
func (h *hadoop) begin() error {
	size, err := length(h.source)
	if err != nil {
		if !h.begun {
			return noEnd(err)
		}
		return err
	}
	if size == 0 && !h.begun {
		h.begun = true
		if _, err := io.ReadFull(h.source, make([]byte, 1)); err != nil {
			return err // which is its end
		}
		return errors.New("something is behind an empty block")
	}
	if size == 0 {
		return errors.New("an empty block is behind another")
	}
	h.begun, h.left = true, size
	return nil
}

// chunk reads a length and as much of Snappy's raw format.
func chunk(r io.Reader) ([]byte, error) {
	size, err := length(r)
	if err != nil {
		return nil, err
	}
	packed := make([]byte, size)
	if _, err := io.ReadFull(r, packed); err != nil {
		return nil, noEnd(err)
	}
	plain, err := snappy.DecodedLen(packed)
	if err != nil {
		return nil, err
	}
	if plain > maxBlock {
		return nil, fmt.Errorf("a block of %d bytes", plain)
	}
	return snappy.Decode(nil, packed)
}

// length reads a big-endian length, io.EOF if there is nothing any more.
func length(r io.Reader) (int, error) {
	var field [4]byte
	if _, err := io.ReadFull(r, field[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(field[:])
	if n > maxBlock {
		return 0, fmt.Errorf("a block of %d bytes", n)
	}
	return int(n), nil
}

// noEnd is for an end where something has to follow.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
