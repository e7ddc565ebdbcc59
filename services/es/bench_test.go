package es

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkBulk makes requests of 5 MiB out of records of 1 KB.
func BenchmarkBulk(b *testing.B) {
	record := []byte(fmt.Sprintf(`{"time":"2016-02-25T13:00:00Z","level":"info","n":12345,"nested":{"a":[1,2,3],"b":null},"text":%q}`+"\n", strings.Repeat("word ", 180)))
	at := time.Date(2016, 2, 25, 13, 0, 0, 0, time.UTC)
	n := naming{index: "logs", rotation: day, ids: true, stream: "abcdefghijklmnop"}
	r := &request{body: make([]byte, 0, 6<<20)}
	const count = 4500
	b.SetBytes(int64(len(record)) * count)
	for b.Loop() {
		r.reset()
		for i := range count {
			var id span
			r.body, id = n.appendAction(r.body, at, uint64(i/500), i%500)
			var err error
			if r.body, err = appendDocument(r.body, record); err != nil {
				b.Fatal(err)
			}
			r.body = append(r.body, '\n')
			r.items = append(r.items, item{ordinal: uint32(i), id: id})
		}
	}
	b.ReportMetric(float64(count*b.N)/b.Elapsed().Seconds(), "documents/s")
}

// BenchmarkReadAnswer reads the answer to a request of 4,500 documents.
func BenchmarkReadAnswer(b *testing.B) {
	n := naming{ids: true, stream: "abcdefghijklmnop"}
	r := &request{}
	var body bytes.Buffer
	body.WriteString(`{"items":[`)
	const count = 4500
	for i := range count {
		var id span
		r.body, id = n.appendAction(r.body, time.Time{}, uint64(i), 0)
		r.items = append(r.items, item{ordinal: uint32(i), id: id})
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"create":{"_id":%q,"status":201}}`, r.id(i))
	}
	body.WriteString(`]}`)
	var answers []itemAnswer
	b.SetBytes(int64(body.Len()))
	for b.Loop() {
		var err error
		if answers, err = readAnswer(bytes.NewReader(body.Bytes()), r, answers); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(count*b.N)/b.Elapsed().Seconds(), "documents/s")
}
