package putbody

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
)

// BenchmarkScan compares with encoding/json, and with the hash of the body that every signed call needs.
func BenchmarkScan(b *testing.B) {
	for _, size := range []struct{ records, bytes int }{{500, 1000}, {1, 1000}, {500, 100}} {
		body := []byte(batchOf(size.records, size.bytes))
		data, lengths := make([]byte, len(body)), make([]int, 0, maxRecords)
		ways := map[string]func() bool{
			"scan": func() bool { _, ok := Scan(body, data, lengths, true); return ok },
			"json": func() bool {
				var in struct {
					DeliveryStreamName string
					Records            []struct{ Data []byte }
				}
				return json.Unmarshal(body, &in) == nil
			},
			"sha256": func() bool { return sha256.Sum256(body) != [32]byte{} },
		}
		for _, way := range []string{"scan", "json", "sha256"} {
			b.Run(fmt.Sprintf("%dx%d/%s", size.records, size.bytes, way), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if !ways[way]() {
						b.Fatal("not read")
					}
				}
			})
		}
	}
}
