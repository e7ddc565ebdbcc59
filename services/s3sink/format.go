package s3sink

import (
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// format is what becomes of a batch's bytes in its object. Each is written as it goes, in memory that does not grow with
// the batch, and for one batch it is the same bytes each time, however they come in pieces. Only another version of a
// compressor may differ, which is why a delivery is compared by what it holds and, compressed, not by its size.
type format types.CompressionFormat

const (
	uncompressed       = format(types.CompressionFormatUncompressed)
	formatGzip         = format(types.CompressionFormatGzip)
	formatZip          = format(types.CompressionFormatZip)
	formatSnappy       = format(types.CompressionFormatSnappy)
	formatHadoopSnappy = format(types.CompressionFormatHadoopSnappy)
)

// formatOf reads a configuration. It fails for what this build cannot write, rather than write something else.
func formatOf(c types.CompressionFormat) (format, error) {
	switch f := format(c); f {
	case "":
		return uncompressed, nil
	case uncompressed, formatGzip, formatZip, formatSnappy, formatHadoopSnappy:
		return f, nil
	default:
		return "", fmt.Errorf("the compression %s is not supported", c)
	}
}

// form is what a format looks like from outside, and its encoder.
type form struct {
	extension string // of the object's name
	encoding  string // the object's Content-Encoding, "" for none
	open      func(*encoders, target, io.Writer) io.WriteCloser
}

// form is the table of the formats.
func (f format) form() form {
	switch f {
	case formatGzip:
		return form{".gz", "gzip", (*encoders).gzip}
	case formatZip:
		return form{".zip", "zip", (*encoders).zip}
	case formatSnappy:
		return form{".snappy", "snappy-java", (*encoders).snappy}
	case formatHadoopSnappy:
		return form{".snappy", "hadoop-snappy", (*encoders).hadoopSnappy}
	default:
		return form{"", "", (*encoders).plain}
	}
}

// extension is what the names of such objects end in, unless the delivery stream says otherwise.
func (f format) extension() string { return f.form().extension }

// contentEncoding is the header of such objects, "" for none.
func (f format) contentEncoding() string { return f.form().encoding }
