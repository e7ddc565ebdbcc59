package s3sink

import (
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// deflateLevel is fixed, of GZIP and ZIP, since the level decides the bytes. DESIGN.md has the figures.
const deflateLevel = 2

// encoders lends compressors, whose tables and blocks of up to about a megabyte are worth keeping.
type encoders struct {
	gzips, deflates, snappies, hadoopSnappies sync.Pool
}

// encode returns a writer of the object's bytes into out. Close ends the object, not out; without it the writer is dropped.
// Nothing is written by encode itself, and a batch without a byte is an object when the writer is closed.
func (e *encoders) encode(t target, out io.Writer) io.WriteCloser {
	return t.format.form().open(e, t, out)
}

func (*encoders) plain(_ target, out io.Writer) io.WriteCloser { return plain{out} }

// gzip writes no time and no name.
func (e *encoders) gzip(_ target, out io.Writer) io.WriteCloser {
	z, ok := e.gzips.Get().(*gzip.Writer)
	if !ok {
		z, _ = gzip.NewWriterLevel(nil, deflateLevel) // fails only for a level that does not exist
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
	g.from.gzips.Put(g.Writer)
	return err
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
