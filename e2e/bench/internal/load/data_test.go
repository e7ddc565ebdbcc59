package load

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"sync"
	"testing"
)

// data is made once: it takes a while with the race detector.
var data = sync.OnceValue(func() *Data { return NewData(1) })

func TestRecordsAreLogLines(t *testing.T) {
	d := data()
	for n := range 1000 {
		record := d.Record(n * 7)
		if len(record) != RecordBytes || record[RecordBytes-1] != '\n' || bytes.IndexByte(record, '\n') != RecordBytes-1 {
			t.Fatalf("record %d has %d bytes, or is not one line: %q", n, len(record), record)
		}
		var line struct {
			Level, Message string
			HTTP           struct{ Status int }
		}
		if err := json.Unmarshal(record, &line); err != nil || line.Level == "" || line.Message == "" || line.HTTP.Status == 0 {
			t.Fatalf("record %d is %s: %v", n, record, err)
		}
	}
}

func TestLinesAreTheSameForTheSameSeed(t *testing.T) {
	first := func(seed uint64) string { return string(newLines(seed).next(nil, RecordBytes)) }
	one := first(1)
	if one != first(1) {
		t.Error("the same seed makes other records")
	}
	if one == first(2) {
		t.Error("another seed makes the same records")
	}
}

// Real logs are compressed to a tenth up to a third.
func TestDataIsCompressedAsLogsAre(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	d := data()
	for n := range 2 {
		_, _ = z.Write(d.Batch(n))
	}
	_ = z.Close()
	if share := float64(packed.Len()) / (2 * BatchBytes); share < 0.1 || share > 0.35 {
		t.Errorf("compressed, %.0f %% are left", 100*share)
	}
}

func TestBodies(t *testing.T) {
	d := data()
	target := NewTarget("demo")
	for _, c := range []struct {
		name string
		call Call
		want []byte
	}{
		{"batch", d.PutBatch(target, 18), d.Batch(2)},
		{"single", d.PutSingle(target, 501), d.Record(501)},
		{"text", PutText(target, []byte("hello\n")), []byte("hello\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			type record struct{ Data []byte }
			var body struct {
				DeliveryStreamName string
				Record             *record
				Records            []record
			}
			if err := json.Unmarshal(append(bytes.Clone(c.call.start), c.call.rest...), &body); err != nil {
				t.Fatal(err)
			}
			if body.Record != nil {
				body.Records = append(body.Records, *body.Record)
			}
			var got []byte
			for _, r := range body.Records {
				got = append(got, r.Data...)
			}
			if body.DeliveryStreamName != "demo" || !bytes.Equal(got, c.want) || c.call.Bytes != int64(len(c.want)) {
				t.Errorf("the call puts %d bytes to %s, and says %d; want %d", len(got), body.DeliveryStreamName, c.call.Bytes, len(c.want))
			}
		})
	}
}
