package load

// Operation is one of the two put calls.
type Operation string

// The put calls, by their name in the API.
const (
	PutRecord      Operation = "PutRecord"
	PutRecordBatch Operation = "PutRecordBatch"
)

// Call is one call, prepared.
type Call struct {
	operation Operation
	start     []byte // of the body, up to the delivery stream's name
	rest      []byte
	// Bytes of records that it puts.
	Bytes int64
}

// Target is a delivery stream that calls go to.
type Target struct{ start []byte }

// NewTarget prepares calls to a delivery stream.
func NewTarget(stream string) Target {
	return Target{start: []byte(`{"DeliveryStreamName":"` + stream + `"`)}
}

// PutBatch is a PutRecordBatch of one of the data's batches.
func (d *Data) PutBatch(t Target, n int) Call {
	return Call{operation: PutRecordBatch, start: t.start, rest: d.batchBodies[n%len(d.batchBodies)], Bytes: BatchBytes}
}

// PutSingle is a PutRecord of one of the data's records.
func (d *Data) PutSingle(t Target, n int) Call {
	return Call{operation: PutRecord, start: t.start, rest: d.singleBodies[n%len(d.singleBodies)], Bytes: RecordBytes}
}

// PutText is a PutRecord of a record made for the occasion.
func PutText(t Target, record []byte) Call {
	return Call{operation: PutRecord, start: t.start, rest: singleBody(record), Bytes: int64(len(record))}
}
