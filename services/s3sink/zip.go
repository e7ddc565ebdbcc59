package s3sink

import (
	"io"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zip"
)

// zip writes an archive of one deflated entry, which has the batch's UUID as its name and the beginning of ZIP's calendar
// as its time.
//
// The sizes and the checksum are behind the entry (a data descriptor), since they are not known before, and again in the
// directory at the archive's end, from which most readers take them. An entry of 4 GiB or more, which no buffering hint
// allows, would have 64-bit sizes (ZIP64) in both places; readers that read from the front alone may not expect them.
func (e *encoders) zip(t target, out io.Writer) io.WriteCloser {
	z := &zipped{archive: zip.NewWriter(out), name: t.uuid, from: e}
	z.archive.RegisterCompressor(zip.Deflate, z.deflater)
	return z
}

type zipped struct {
	archive *zip.Writer
	name    string
	entry   io.Writer     // nil until there is something to write
	deflate *flate.Writer // lent
	from    *encoders
}

func (z *zipped) Write(p []byte) (int, error) {
	if err := z.begin(); err != nil {
		return 0, err
	}
	return z.entry.Write(p)
}

func (z *zipped) begin() (err error) {
	if z.entry == nil {
		z.entry, err = z.archive.CreateHeader(&zip.FileHeader{
			Name: z.name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC),
		})
	}
	return err
}

// deflater is called by begin.
func (z *zipped) deflater(out io.Writer) (io.WriteCloser, error) {
	d, ok := z.from.deflates.Get().(*flate.Writer)
	if !ok {
		var err error
		if d, err = flate.NewWriter(nil, deflateLevel); err != nil {
			return nil, err
		}
	}
	d.Reset(out)
	z.deflate = d
	return d, nil
}

func (z *zipped) Close() error {
	if err := z.begin(); err != nil {
		return err
	}
	err := z.archive.Close()
	z.deflate.Reset(nil)
	z.from.deflates.Put(z.deflate)
	return err
}
