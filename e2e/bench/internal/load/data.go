// Package load puts records by HTTP as a client of the API does, at little cost: prepared requests on raw connections.
//
// The load generator runs on the cores of what it measures, so what it costs is part of every figure. Bodies are encoded
// once; a call sends one of them behind a header with an invocation id of its own, and looks at the answer.
package load

import (
	"bytes"
	"encoding/base64"
)

// The shape of what is put, as the table has it: 500 × 1 KB.
const (
	BatchRecords = 500
	RecordBytes  = 1024
	// BatchBytes are the records of a batch, which become one message.
	BatchBytes = BatchRecords * RecordBytes
)

// variants are the batches there are. Together they are much longer than what a compressor remembers.
const variants = 16

// Data are records, raw and as the bodies of calls without their beginning, which names the delivery stream.
type Data struct {
	// Batches hold BatchRecords records each, concatenated.
	Batches [][]byte

	batchBodies  [][]byte
	singleBodies [][]byte
}

// NewData returns the same records for the same seed.
func NewData(seed uint64) *Data {
	source := newLines(seed)
	d := &Data{}
	for range variants {
		batch := make([]byte, 0, BatchBytes)
		for range BatchRecords {
			batch = source.next(batch, RecordBytes)
		}
		d.Batches = append(d.Batches, batch)
		d.batchBodies = append(d.batchBodies, batchBody(batch))
		for record := range eachRecord(batch) {
			d.singleBodies = append(d.singleBodies, singleBody(record))
		}
	}
	return d
}

// Record returns one of the records, another for each number up to some thousands.
func (d *Data) Record(n int) []byte {
	batch := d.Batches[n/BatchRecords%len(d.Batches)]
	at := n % BatchRecords * RecordBytes
	return batch[at : at+RecordBytes]
}

// Batch returns one of the batches.
func (d *Data) Batch(n int) []byte { return d.Batches[n%len(d.Batches)] }

func eachRecord(batch []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for at := 0; at < len(batch); at += RecordBytes {
			if !yield(batch[at : at+RecordBytes]) {
				return
			}
		}
	}
}

// batchBody is what follows the name of the delivery stream in the body of PutRecordBatch.
func batchBody(batch []byte) []byte {
	var b bytes.Buffer
	b.WriteString(`,"Records":[`)
	first := true
	for record := range eachRecord(batch) {
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`{"Data":"`)
		b.WriteString(base64.StdEncoding.EncodeToString(record))
		b.WriteString(`"}`)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// singleBody is the same of PutRecord.
func singleBody(record []byte) []byte {
	return []byte(`,"Record":{"Data":"` + base64.StdEncoding.EncodeToString(record) + `"}}`)
}
