package s3sink

import (
	"bytes"
	stdgzip "compress/gzip"
	"io"
	"testing"
)

// TestCompression checks that the same bytes come out however the input is cut and whether a compressor is new or used,
// and that the standard library reads them.
func TestCompression(t *testing.T) {
	data := append(noise(300_000, 1), bytes.Repeat([]byte("a line of text\n"), 20_000)...)
	var encoders encoders
	compress := func(piece int) []byte {
		var out bytes.Buffer
		z := encoders.encode(target{gzip: true}, &out)
		for rest := data; len(rest) > 0; {
			n := min(piece, len(rest))
			_, err := z.Write(rest[:n])
			check(t, err)
			rest = rest[n:]
		}
		check(t, z.Close())
		return out.Bytes()
	}
	once, again := compress(1000), compress(77_777)
	if !bytes.Equal(once, again) {
		t.Error("the same records became different objects")
	}
	z, err := stdgzip.NewReader(bytes.NewReader(once))
	check(t, err)
	if !z.ModTime.IsZero() || z.Name != "" {
		t.Errorf("the header has the time %s and the name %q, want neither", z.ModTime, z.Name)
	}
	got, err := io.ReadAll(z)
	check(t, err)
	if !bytes.Equal(got, data) {
		t.Error("what was compressed is not what was written")
	}
}
