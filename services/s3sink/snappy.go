package s3sink

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/golang/snappy"
)

const (
	// xerialBlock is the block of snappy-java's SnappyOutputStream, unless it is told another.
	xerialBlock = 32 << 10

	// hadoopBlock is the most that Hadoop's SnappyCodec puts into a block: its buffer of 256 KiB, unless configured otherwise,
	// without the sixth and 32 bytes that Snappy may need beyond the input. So the reader's buffer of the same size has room
	// for a block, compressed or not.
	hadoopBuffer = 256 << 10
	hadoopBlock  = hadoopBuffer - hadoopBuffer/6 - 32

	lengthSize = 4
)

// snappy writes the stream of snappy-java (xerial): a header, then blocks, each preceded by its compressed length. A batch
// without a byte is the header.
func (e *encoders) snappy(_ target, out io.Writer) io.WriteCloser {
	// The magic bytes, the version, and the oldest version that can read it.
	return blocksOf(&e.snappies, out, framing{
		block: xerialBlock, head: lengthSize, start: "\x82SNAPPY\x00" + "\x00\x00\x00\x01" + "\x00\x00\x00\x01",
	})
}

// hadoopSnappy writes the stream of Hadoop's BlockCompressorStream: blocks, each preceded by its length before compression,
// of chunks preceded by their compressed length. As Hadoop does with its own buffer size, each block is one chunk. A batch
// without a byte is, as there, an empty block.
func (e *encoders) hadoopSnappy(_ target, out io.Writer) io.WriteCloser {
	return blocksOf(&e.hadoopSnappies, out, framing{block: hadoopBlock, head: 2 * lengthSize, empty: "\x00\x00\x00\x00"})
}

// framing is what is around the compressed blocks. Lengths are big endian.
type framing struct {
	block int    // size of all blocks but the last, before compression
	head  int    // size of the lengths before a block: the compressed one, and before it the other if there is room
	start string // before the first block
	empty string // instead of blocks
}

// blocks compresses in blocks of one size, whatever the pieces that it is given.
type blocks struct {
	framing
	out    io.Writer
	plain  []byte // the block that is being filled
	packed []byte // room for one with its head
	begun  bool
	from   *sync.Pool
}

// blocksOf lends one from a pool of that framing.
func blocksOf(pool *sync.Pool, out io.Writer, f framing) *blocks {
	b, ok := pool.Get().(*blocks)
	if !ok {
		b = &blocks{framing: f, from: pool, plain: make([]byte, 0, f.block), packed: make([]byte, f.head+snappy.MaxEncodedLen(f.block))}
	}
	b.out, b.plain, b.begun = out, b.plain[:0], false
	return b
}

func (b *blocks) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n := min(len(p)-written, b.block-len(b.plain))
		b.plain = append(b.plain, p[written:written+n]...)
		written += n
		if len(b.plain) < b.block {
			break
		}
		if err := b.flush(); err != nil {
			return written, err
		}
	}
	return written, nil
}

// flush writes the block that is being filled.
func (b *blocks) flush() error {
	if err := b.begin(); err != nil {
		return err
	}
	packed := len(snappy.Encode(b.packed[b.head:], b.plain)) // in place: there is room for whatever it becomes
	binary.BigEndian.PutUint32(b.packed, uint32(len(b.plain)))
	binary.BigEndian.PutUint32(b.packed[b.head-lengthSize:], uint32(packed))
	b.plain = b.plain[:0]
	_, err := b.out.Write(b.packed[:b.head+packed])
	return err
}

// begin writes what is before the first block.
func (b *blocks) begin() error {
	if b.begun {
		return nil
	}
	b.begun = true
	_, err := io.WriteString(b.out, b.start)
	return err
}

func (b *blocks) Close() error {
	err := b.end()
	b.out = nil
	b.from.Put(b)
	return err
}

func (b *blocks) end() error {
	if len(b.plain) > 0 {
		return b.flush()
	}
	if b.begun {
		return nil
	}
	if err := b.begin(); err != nil {
		return err
	}
	_, err := io.WriteString(b.out, b.empty)
	return err
}
