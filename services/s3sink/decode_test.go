package s3sink

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os/exec"
	"testing"

	"github.com/golang/snappy"
)

// wantContent checks that an object of a format holds data.
func wantContent(t *testing.T, f format, object, data []byte) {
	t.Helper()
	if got := decode(t, f, object); !bytes.Equal(got, data) {
		t.Errorf("the object holds %d bytes that are not the %d which were written", len(got), len(data))
	}
}

// decode reads an object, with what did not write it as far as the standard library has it.
func decode(t *testing.T, f format, object []byte) []byte {
	t.Helper()
	switch f {
	case formatGzip:
		z, err := gzip.NewReader(bytes.NewReader(object))
		check(t, err)
		if !z.ModTime.IsZero() || z.Name != "" {
			t.Errorf("the header has the time %s and the name %q, want neither", z.ModTime, z.Name)
		}
		return readAll(t, z)
	case formatZip:
		r, err := zipEntry(t, object).Open()
		check(t, err)
		return readAll(t, r)
	case formatSnappy:
		return unframe(t, bytes.TrimPrefix(object, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")), false)
	case formatHadoopSnappy:
		if bytes.Equal(object, make([]byte, 4)) {
			return nil
		}
		return unframe(t, object, true)
	default:
		return object
	}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	check(t, err)
	return data
}

// zipEntry is the only one of an archive.
func zipEntry(t *testing.T, object []byte) *zip.File {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(object), int64(len(object)))
	check(t, err)
	if len(z.File) != 1 {
		t.Fatalf("%d entries, want 1", len(z.File))
	}
	return z.File[0]
}

// unframe reads blocks of one chunk each, preceded by the compressed length, and sized ones by the other before that.
func unframe(t *testing.T, object []byte, sized bool) []byte {
	t.Helper()
	var all []byte
	for len(object) > 0 {
		size := -1
		if sized {
			size = int(binary.BigEndian.Uint32(object))
			object = object[4:]
		}
		packed := int(binary.BigEndian.Uint32(object))
		block, err := snappy.Decode(nil, object[4:4+packed])
		check(t, err)
		if sized && len(block) != size {
			t.Fatalf("a block of %d bytes says it has %d", len(block), size)
		}
		all = append(all, block...)
		object = object[4+packed:]
	}
	return all
}

// TestFormatsReadByOthers has the objects read by programs of another origin than what wrote them: Python's own gzip and
// zipfile, python-snappy for Hadoop's framing, kafka-python for xerial's, both over the Snappy of Rust.
func TestFormatsReadByOthers(t *testing.T) {
	interpreter := python(t)
	inputs := map[string][]byte{
		"nothing": nil, "a record": []byte("one record\n"), "a block": text(xerialBlock), "noise": noise(1<<20, 6), "text": text(1 << 20), "mixed": mixed(),
	}
	for _, f := range formats[1:] {
		for name, data := range inputs {
			t.Run(string(f)+" "+name, func(t *testing.T) {
				var encoders encoders
				command := exec.CommandContext(t.Context(), interpreter, "testdata/decode.py", string(f), testUUID)
				command.Stdin = bytes.NewReader(encoders.object(t, f, data, 1000))
				var complaint bytes.Buffer
				command.Stderr = &complaint
				got, err := command.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, &complaint)
				}
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes were read that are not the %d which were written", len(got), len(data))
				}
			})
		}
	}
}
