package s3sink

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

var update = flag.Bool("update", false, "write the golden files of the formats instead of comparing with them")

// formats are those that a delivery stream may ask for.
var formats = []format{uncompressed, formatGzip, formatZip, formatSnappy, formatHadoopSnappy}

const testUUID = "f85cb5ba-7384-8d0e-a620-533e07d35f63"

// encode returns the object that data becomes, written in pieces of a size, with empty records between them.
func (e *encoders) object(t *testing.T, f format, data []byte, piece int) []byte {
	t.Helper()
	var out bytes.Buffer
	w := e.encode(target{format: f, uuid: testUUID}, &out)
	for part := range slices.Chunk(data, piece) {
		for _, p := range [][]byte{part, nil} {
			n, err := w.Write(p)
			check(t, err)
			wantEqual(t, "what Write returned", n, len(p))
		}
	}
	check(t, w.Close())
	return out.Bytes()
}

// text is lines that compress well and differ.
func text(size int) []byte {
	var out []byte
	for n := 0; len(out) < size; n++ {
		out = fmt.Appendf(out, `{"number":%07d,"message":"what is the same in every line of a log, so that there is something to compress"}`+"\n", n)
	}
	return out[:size]
}

// mixed is noise that is longer than any block, and text.
func mixed() []byte { return append(noise(250_000, 1), text(250_000)...) }

// TestFormatsGolden holds the bytes of each format, so that a batch which is delivered again, by another build too, is the
// same object. Should a new version of a compressor change them, -update writes them again.
func TestFormatsGolden(t *testing.T) {
	inputs := []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"record", []byte("one record\n")},
		{"text", text(300_000)}, // several blocks of each framing
		{"noise", noise(300_000, 2)},
	}
	for _, f := range formats {
		for _, in := range inputs {
			t.Run(string(f)+" "+in.name, func(t *testing.T) {
				var encoders encoders
				got := encoders.object(t, f, in.data, 1000)
				if len(got) > 50_000 { // only its hash is kept
					got = fmt.Appendf(nil, "%d bytes, SHA-256 %x\n", len(got), sha256.Sum256(got))
				}
				path := filepath.Join("testdata", "formats", in.name+"."+string(f))
				if *update {
					check(t, os.WriteFile(path, got, 0o644))
				}
				want, err := os.ReadFile(path)
				check(t, err)
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes differ from the %d of %s", len(got), len(want), path)
				}
				wantContent(t, f, encoders.object(t, f, in.data, 1000), in.data)
			})
		}
	}
}

// TestFormatsAreTheSameBytes compresses the same records in other pieces, with a compressor that is new, was used for
// something else, or was given up in the middle.
func TestFormatsAreTheSameBytes(t *testing.T) {
	data := mixed()
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			var used encoders
			want := used.object(t, f, data, len(data))
			for _, piece := range []int{333, xerialBlock, 77_777, hadoopBlock + 1} {
				used.object(t, f, noise(50_000, piece), 10_000)
				_, err := used.encode(target{format: f, uuid: testUUID}, io.Discard).Write(data)
				check(t, err)
				for name, e := range map[string]*encoders{"new": {}, "used": &used} {
					if got := e.object(t, f, data, piece); !bytes.Equal(got, want) {
						t.Errorf("%s, pieces of %d: %d bytes that are not the %d of one piece", name, piece, len(got), len(want))
					}
				}
			}
		})
	}
}

// TestFormatsRoundTrip decodes large objects.
func TestFormatsRoundTrip(t *testing.T) {
	for _, f := range formats {
		for name, data := range map[string][]byte{"noise": noise(2<<20+1, 3), "text": text(2<<20 + 1), "zeros": make([]byte, 2<<20+1), "mixed": mixed()} {
			t.Run(string(f)+" "+name, func(t *testing.T) {
				var encoders encoders
				got := encoders.object(t, f, data, 500_000)
				wantContent(t, f, got, data)
				if grown := len(got) - len(data); grown > len(data)/32+1000 { // which sweep relies on
					t.Errorf("%d bytes became %d", len(data), len(got))
				}
			})
		}
	}
}

// TestFormatsStream makes a batch that is much larger than the memory that may be used for it, and looks at how much was
// allocated, and at the pieces that go into parts.
func TestFormatsStream(t *testing.T) {
	const (
		most    = 4 << 20
		largest = 1 << 20
	)
	record := append(noise(500_000, 4), text(500_000)...)
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			var encoders encoders
			longest, total := 0, 0
			out := writerFunc(func(p []byte) error {
				longest, total = max(longest, len(p)), total+len(p)
				return nil
			})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := encoders.encode(target{format: f, uuid: testUUID}, out)
			for range 16 {
				_, err := w.Write(record)
				check(t, err)
			}
			check(t, w.Close())
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > most {
				t.Errorf("%d bytes were allocated for a batch of %d, want no more than %d", allocated, 16*len(record), most)
			}
			if longest > largest {
				t.Errorf("%d bytes were written at once", longest)
			}
			if total < 16*500_000 {
				t.Errorf("%d bytes were written", total)
			}
		})
	}
}

// TestFormatsFail has what is below the encoder fail, at each of its writes: the encoder says so, and its successor is
// not harmed.
func TestFormatsFail(t *testing.T) {
	data := mixed()
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			var encoders encoders
			want := encoders.object(t, f, data, 1000)
			for good := 0; ; good++ {
				writes := 0
				w := encoders.encode(target{format: f, uuid: testUUID}, writerFunc(func([]byte) error {
					if writes++; writes > good {
						return io.ErrClosedPipe
					}
					return nil
				}))
				_, err := w.Write(data)
				if errClose := w.Close(); err == nil {
					err = errClose
				}
				if writes > good && err == nil {
					t.Fatalf("the failure of write %d was lost", good+1)
				}
				if got := encoders.object(t, f, data, 1000); !bytes.Equal(got, want) {
					t.Fatalf("after a failure of write %d another object differs", good+1)
				}
				if err == nil || good == 20 {
					return
				}
			}
		})
	}
}

// TestFormatsTable is what an object of each format says about itself.
func TestFormatsTable(t *testing.T) {
	tests := []struct {
		setting             string
		extension, encoding string
	}{
		{"", "", ""},
		{"UNCOMPRESSED", "", ""},
		{"GZIP", ".gz", "gzip"},
		{"ZIP", ".zip", "zip"},
		{"Snappy", ".snappy", "snappy-java"},
		{"HADOOP_SNAPPY", ".snappy", "hadoop-snappy"},
	}
	for _, tt := range tests {
		t.Run(tt.setting, func(t *testing.T) {
			to := s3Destination("data")
			to.CompressionFormat = types.CompressionFormat(tt.setting)
			got, err := newTarget("inst", goldenBatch(), 3, to, wholeBatch)
			check(t, err)
			wantEqual(t, "the key", got.Key, "2026/03/10/00/web.clicks-3-2026-03-10-00-05-07-"+testUUID+tt.extension)
			wantEqual(t, "the UUID", got.uuid, testUUID)
			wantEqual(t, "the Content-Encoding", got.format.contentEncoding(), tt.encoding)
			wantEqual(t, "whether there is a Content-Encoding", got.format.contentEncoding() != "", tt.encoding != "")
		})
	}
}

// TestZipEntry looks at what is around the data.
func TestZipEntry(t *testing.T) {
	var encoders encoders
	entry := zipEntry(t, encoders.object(t, formatZip, text(1000), 100))
	wantEqual(t, "the name", entry.Name, testUUID)
	wantEqual(t, "the method", entry.Method, 8)
	wantEqual(t, "the time", entry.Modified.UTC().Format("2006-01-02 15:04:05"), "1980-01-01 00:00:00")
	wantEqual(t, "the flags: a data descriptor", entry.Flags, 1<<3)
}

// TestSnappyFraming looks at the framings byte by byte.
func TestSnappyFraming(t *testing.T) {
	const header = "82534e4150505900" + "00000001" + "00000001"
	tests := []struct {
		name   string
		format format
		data   []byte
		want   string // the beginning, in hexadecimal
	}{
		{"xerial, nothing", formatSnappy, nil, header},
		{"xerial, a record", formatSnappy, []byte("abc"), header + "00000005" + "0308616263"},
		{"xerial, zeros", formatSnappy, make([]byte, xerialBlock), header + "00000605" + "808002" + "0000"},
		{"Hadoop, nothing", formatHadoopSnappy, nil, "00000000"},
		{"Hadoop, a record", formatHadoopSnappy, []byte("abc"), "00000003" + "00000005" + "0308616263"},
		{"Hadoop, a block of noise", formatHadoopSnappy, noise(hadoopBlock, 1), "00035536"},
		{"Hadoop, a byte more", formatHadoopSnappy, noise(hadoopBlock+1, 1), "00035536"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var encoders encoders
			got := hex.EncodeToString(encoders.object(t, tt.format, tt.data, 10_000))
			wantEqual(t, "the beginning", got[:min(len(got), len(tt.want))], tt.want)
			if len(tt.data) < 10 {
				wantEqual(t, "the object", got, tt.want)
			}
		})
	}
}

// BenchmarkFormats encodes batches of 16 MB.
func BenchmarkFormats(b *testing.B) {
	for _, f := range formats {
		for name, data := range map[string][]byte{"text": text(1 << 20), "noise": noise(1<<20, 5)} {
			b.Run(string(f)+"/"+name, func(b *testing.B) {
				var encoders encoders
				b.SetBytes(16 << 20)
				for b.Loop() {
					w := encoders.encode(target{format: f, uuid: testUUID}, io.Discard)
					for range 16 {
						if _, err := w.Write(data); err != nil {
							b.Fatal(err)
						}
					}
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
