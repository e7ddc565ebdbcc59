package checker_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/golang/snappy"

	"hydrant/e2e/internal/checker"
)

var encodings = []string{"", "gzip", "zip", "snappy-java", "hadoop-snappy"}

const (
	xerialHeader = "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
	smallBlock   = 100 // so that small objects have several
)

// encode makes an object of a Content-Encoding.
func encode(t testing.TB, encoding string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	switch encoding {
	case "gzip":
		w := gzip.NewWriter(&out)
		write(t, w, plain)
		must(t, w.Close())
	case "zip":
		archive := zip.NewWriter(&out)
		w, err := archive.Create("f85cb5ba-7384-8d0e-a620-533e07d35f63")
		must(t, err)
		write(t, w, plain)
		must(t, archive.Close())
	case "snappy-java":
		out.WriteString(xerialHeader)
		for block := range slices.Chunk(plain, smallBlock) {
			out.Write(chunk(block))
		}
	case "hadoop-snappy":
		if len(plain) == 0 {
			return make([]byte, 4)
		}
		for block := range slices.Chunk(plain, 3*smallBlock) { // of several chunks, which Hadoop allows
			out.Write(length(len(block)))
			for c := range slices.Chunk(block, smallBlock) {
				out.Write(chunk(c))
			}
		}
	default:
		return plain
	}
	return out.Bytes()
}

func write(t testing.TB, w io.Writer, p []byte) {
	t.Helper()
	_, err := w.Write(p)
	must(t, err)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func length(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func chunk(plain []byte) []byte {
	packed := snappy.Encode(nil, plain)
	return append(length(len(packed)), packed...)
}

func decode(encoding string, object []byte) ([]byte, error) {
	r, err := checker.Decode(encoding, bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func lines(n int) []byte {
	var out []byte
	for i := range n {
		out = fmt.Appendf(out, "%d is a line\n", i*i)
	}
	return out
}

func TestDecode(t *testing.T) {
	for _, encoding := range encodings {
		for name, plain := range map[string][]byte{"nothing": {}, "a byte": {'x'}, "several blocks": lines(100)} {
			t.Run(encoding+" "+name, func(t *testing.T) {
				got, err := decode(encoding, encode(t, encoding, plain))
				must(t, err)
				if !bytes.Equal(got, plain) {
					t.Errorf("%q, want %q", got, plain)
				}
			})
		}
	}
}

// Wherever an object is cut off that is found. Between two blocks of Snappy's framings it shows by what is missing.
func TestDecodeFindsTruncation(t *testing.T) {
	plain := lines(60)
	for _, encoding := range encodings[1:] {
		t.Run(encoding, func(t *testing.T) {
			object := encode(t, encoding, plain)
			unnoticed := 0
			for n := range object {
				got, err := decode(encoding, object[:n])
				if err != nil {
					continue
				}
				unnoticed++
				if len(got) >= len(plain) || encoding == "gzip" || encoding == "zip" {
					t.Errorf("cut off after %d of %d bytes, it was taken for an object of %d bytes", n, len(object), len(got))
				}
			}
			if unnoticed > len(plain)/smallBlock+1 {
				t.Errorf("cut off at %d places it was taken for an object", unnoticed)
			}
		})
	}
}

func TestDecodeFindsDamage(t *testing.T) {
	plain := lines(60)
	zipped := func(method uint16, names ...string) []byte {
		var out bytes.Buffer
		archive := zip.NewWriter(&out)
		for _, name := range names {
			w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: method})
			must(t, err)
			write(t, w, plain)
		}
		must(t, archive.Close())
		return out.Bytes()
	}
	block := chunk([]byte("hello"))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, test := range map[string]struct {
		encoding string
		object   []byte
	}{
		"an unknown encoding":                {"br", plain},
		"ZIP without an entry":               {"zip", zipped(zip.Deflate)},
		"ZIP with two entries":               {"zip", zipped(zip.Deflate, "a", "b")},
		"ZIP that is not compressed":         {"zip", zipped(zip.Store, "a")},
		"something before the ZIP archive":   {"zip", join([]byte("x"), encode(t, "zip", plain))},
		"something behind the ZIP archive":   {"zip", join(encode(t, "zip", plain), []byte("x"))},
		"something behind the gzip file":     {"gzip", join(encode(t, "gzip", plain), []byte("x"))},
		"xerial without a header":            {"snappy-java", block},
		"raw Snappy":                         {"snappy-java", snappy.Encode(nil, plain)},
		"two xerial streams":                 {"snappy-java", join(encode(t, "snappy-java", plain), encode(t, "snappy-java", plain))},
		"a huge xerial block":                {"snappy-java", join([]byte(xerialHeader), length(1<<30), block)},
		"a block that says it is huge":       {"snappy-java", join([]byte(xerialHeader), length(5), binary.AppendUvarint(nil, 1<<31))},
		"xerial of Hadoop":                   {"snappy-java", encode(t, "hadoop-snappy", plain)},
		"Hadoop of xerial":                   {"hadoop-snappy", encode(t, "snappy-java", plain)},
		"no byte at all of Hadoop":           {"hadoop-snappy", nil},
		"a Hadoop chunk beyond its block":    {"hadoop-snappy", join(length(4), block)},
		"a Hadoop block with a chunk less":   {"hadoop-snappy", join(length(10), block)},
		"an empty chunk":                     {"hadoop-snappy", join(length(5), chunk(nil), block)},
		"an empty block behind another":      {"hadoop-snappy", join(length(5), block, length(0))},
		"something behind an empty block":    {"hadoop-snappy", join(length(0), length(5), block)},
		"something behind the Hadoop blocks": {"hadoop-snappy", join(length(5), block, []byte("x"))},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := decode(test.encoding, test.object); err == nil {
				t.Errorf("it was taken for an object of %d bytes", len(got))
			}
		})
	}
	// Single bits: gzip and ZIP have checksums.
	for _, encoding := range []string{"gzip", "zip"} {
		object := encode(t, encoding, plain)
		damaged := slices.Clone(object)
		damaged[len(object)/3] ^= 1
		if _, err := decode(encoding, damaged); err == nil {
			t.Errorf("%s: a bit that was changed was not noticed", encoding)
		}
	}
}

// TestCheckEveryEncoding checks deliveries in each format, whole and cut off, under keys whose ending says nothing.
func TestCheckEveryEncoding(t *testing.T) {
	for _, encoding := range encodings[1:] {
		t.Run(encoding, func(t *testing.T) {
			plan := func() *delivery {
				d := healthy(t)
				for i, object := range d.objects {
					object.encoding, object.key = encoding, object.key+[]string{"", ".gz", ".json"}[i%3]
				}
				return d
			}
			report, err := plan().check(t)
			must(t, err)
			must(t, report.Err())

			cut := plan()
			content := cut.first(orders).content(t)
			cut.first(orders).stored = content[:len(content)-5]
			report, err = cut.check(t)
			must(t, err)
			if report.Count(checker.Unparsable) == 0 {
				t.Errorf("cut off by five bytes, the report says\n%s", report)
			}
		})
	}
}

// FuzzDecode gives the decoders anything. They return, without an end to what they hold in memory.
func FuzzDecode(f *testing.F) {
	for i, encoding := range encodings {
		f.Add(uint8(i), encode(f, encoding, lines(50)))
		f.Add(uint8(i), encode(f, encoding, nil))
	}
	f.Fuzz(func(t *testing.T, i uint8, object []byte) {
		encoding := encodings[int(i)%len(encodings)]
		r, err := checker.Decode(encoding, bytes.NewReader(object))
		if err != nil {
			return
		}
		plain, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err != nil || len(plain) == 1<<20 {
			return
		}
		again, err := decode(encoding, encode(t, encoding, plain))
		if err != nil || !bytes.Equal(again, plain) {
			t.Errorf("what %s held is not what it holds when it is written again: %v", encoding, err)
		}
	})
}
