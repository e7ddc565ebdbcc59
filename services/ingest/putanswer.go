package ingest

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"hydrant/shared/record"
)

// jsonAppender is an answer that writes itself: the answers to puts are as frequent as puts, and as long as they have records.
type jsonAppender interface {
	appendJSON(b []byte) []byte
}

var _, _ jsonAppender = putRecordAnswer{}, putRecordBatchAnswer{}

// putRecordAnswer is firehose.PutRecordOutput.
type putRecordAnswer struct{ *putResults }

func (a putRecordAnswer) appendJSON(b []byte) []byte {
	b = append(b, `{"RecordId":"`...)
	b = a.recordID(0, 0).Append(b)
	return append(b, `","Encrypted":false}`...)
}

// putRecordBatchAnswer is firehose.PutRecordBatchOutput.
type putRecordBatchAnswer struct{ *putResults }

func (a putRecordBatchAnswer) appendJSON(b []byte) []byte {
	stored, _ := a.stored()
	failed := a.records - stored
	b = append(b, `{"FailedPutCount":`...)
	b = strconv.AppendInt(b, int64(failed), 10)
	b = append(b, `,"RequestResponses":[`...)
	for part := range a.parts {
		for index := range a.parts[part].records {
			b = append(b, `{"RecordId":"`...)
			b = a.recordID(part, index).Append(b)
			b = append(b, `"},`...)
		}
	}
	if failed > 0 {
		entry := failedEntry(a.err)
		for range failed {
			b = append(b, entry...)
		}
	}
	b = b[:len(b)-1] // the last comma: there is a record in every put
	return append(b, `],"Encrypted":false}`...)
}

// failedEntry is the answer for a record that is not known to be stored.
func failedEntry(err error) []byte {
	b := append([]byte(nil), `{"ErrorCode":"`+codeServiceUnavailable+`","ErrorMessage":`...)
	b, _ = jsontext.AppendQuote(b, slowDown(err)) // fails for invalid UTF-8, which it replaces all the same
	return append(b, `},`...)
}

func (r *putResults) recordID(part, index int) record.ID {
	return record.ID{Stream: r.log.ID, Shard: r.log.Shard, Sequence: r.parts[part].seq, Index: index}
}
