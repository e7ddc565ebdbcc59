package s3sink

import (
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipLevel is fixed, and no time or name is written, so that a batch is the same bytes each time it is compressed. Only
// another version of the compressor may differ, which is why deliveries are compared by what they hold and not by size.
const gzipLevel = 6

// encoders lends compressors, whose tables of about a megabyte are worth keeping.
type encoders struct {
	idle sync.Pool
}

// encode returns a writer of the object's bytes into out. Close ends the object, not out; without it the writer is dropped.
func (e *encoders) encode(t target, out io.Writer) io.WriteCloser {
	if !t.gzip {
		return plain{out}
	}
	z, ok := e.idle.Get().(*gzip.Writer)
	if !ok {
		z, _ = gzip.NewWriterLevel(nil, gzipLevel) // fails only for a level that does not exist
	}
	z.Reset(out)
	z.ModTime = time.Unix(0, 0) // which gzip takes for none; this package writes the zero Time as some year
	return &gzipped{Writer: z, from: e}
}

type gzipped struct {
	*gzip.Writer
	from *encoders
}

func (g *gzipped) Close() error {
	err := g.Writer.Close()
	g.Reset(nil)
	g.from.idle.Put(g.Writer)
	return err
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// writerFunc is a function as an io.Writer that takes everything or fails.
type writerFunc func(p []byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
