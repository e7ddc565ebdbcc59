package ingest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"hydrant/services/ingest/internal/putbody"
	"hydrant/shared/record"
)

// checkScanned checks that what the fast reader of puts reads is what the complete one reads. It returns whether it reads body.
func checkScanned(t *testing.T, body []byte, list bool) bool {
	t.Helper()
	room := base64.StdEncoding.DecodedLen(len(body))
	in, ok := putbody.Scan(body, make([]byte, room), nil, list)
	if !ok {
		return false
	}
	want, err := readAnyPut(body, make([]byte, room), nil, list)
	if err != nil {
		t.Fatalf("%q was read, and is refused: %v", body, err)
	}
	if want.Count != len(in.Lengths) || want.Stream == nil || *want.Stream != string(in.Stream) {
		t.Fatalf("%q: %d records for %q; want %+v", body, len(in.Lengths), in.Stream, want)
	}
	if !slices.Equal(want.Lengths, in.Lengths) || !bytes.Equal(want.Bytes, in.Data) {
		t.Fatalf("%q: %v, %q; want %v, %q", body, in.Lengths, in.Data, want.Lengths, want.Bytes)
	}
	return true
}

func TestScanReadsWhatClientsWrite(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		list bool
	}{
		"Go":               {`{"DeliveryStreamName":"s","Record":{"Data":"QUI="}}`, false},
		"Go, sorted":       {`{"Record":{"Data":"QUI="},"DeliveryStreamName":"s"}`, false},
		"Python":           {`{"DeliveryStreamName": "s", "Record": {"Data": "QUI="}}`, false},
		"batch, Go":        {batchOf(record.MaxBatchRecords, 1000), true},
		"batch, Python":    {`{"DeliveryStreamName": "s", "Records": [{"Data": "QUI="}, {"Data": ""}]}`, true},
		"batch, by a line": {"{\n\"DeliveryStreamName\": \"s\",\n\"Records\": [\n{\"Data\": \"QR==\"},\n{\"Data\": \"QUJD\"}\n]\n}\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			if !checkScanned(t, []byte(test.body), test.list) {
				t.Error("was left to the slow reader")
			}
		})
	}
}

// TestScanLeavesTheLimitToOthers has one more record than a call may have.
func TestScanLeavesTheLimitToOthers(t *testing.T) {
	if checkScanned(t, []byte(batchOf(record.MaxBatchRecords+1, 1)), true) {
		t.Error("a batch that is too long was read")
	}
}

// FuzzScanned compares the two readers of puts. What the fast one leaves to the other needs no comparing.
func FuzzScanned(f *testing.F) {
	for _, one := range []string{
		`{"Data":"QUJD"}`, `{"Data": "QUI="}`, `{"Data":""}`, `{"Data":"QR=="}`, ` { "Data" : "QQ==" } `,
		`{"Data":"QUJ\/"}`, `{"Data":"\u0051UJD"}`, `{"Data":null}`, `null`, `{}`, `{"Data":"QUJD","Data":"QQ=="}`, `{"Data":"QUJD","More":1}`,
		`{"Data":"QQ"}`, `{"Data":"QQ==QQ=="}`, `{"Data":"-_-_"}`, "{\"Data\":\"QUJD\nQUJD\"}", `{"data":"QUJD"}`,
		`{"Data":"` + strings.Repeat("QUJD", 30) + `QQ=="}`,
	} {
		f.Add([]byte(`{"DeliveryStreamName":"s","Record":`+one+`}`), false)
		f.Add([]byte(`{"DeliveryStreamName":"s","Records":[`+one+`,{"Data":"QUJD"},`+one+`]}`), true)
		f.Add([]byte(`{"Records":[`+one+`],"DeliveryStreamName":"a\"b","DeliveryStreamName":"s"}`), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, list bool) {
		checkScanned(t, body, list)
	})
}

// BenchmarkReaders compares the two readers of puts.
func BenchmarkReaders(b *testing.B) {
	for _, size := range []struct{ records, bytes int }{{500, 1000}, {1, 1000}, {500, 100}} {
		body := []byte(batchOf(size.records, size.bytes))
		data, lengths := make([]byte, len(body)), make([]int, 0, record.MaxBatchRecords)
		for _, way := range []struct {
			name string
			read func() bool
		}{
			{"scan", func() bool { _, ok := putbody.Scan(body, data, lengths, true); return ok }},
			{"jsontext", func() bool { _, err := readAnyPut(body, data, lengths, true); return err == nil }},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", size.records, size.bytes, way.name), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if !way.read() {
						b.Fatal("not read")
					}
				}
			})
		}
	}
}
