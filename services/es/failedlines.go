package es

import (
	"bufio"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hydrant/shared/recordlog"
)

// failedDocument is a line of a file of failed documents, in the guide's form (docs/operations.md).
type failedDocument struct {
	AttemptsMade           int    `json:"attemptsMade"`
	ArrivalTimestamp       int64  `json:"arrivalTimestamp"` // milliseconds since 1970
	ErrorCode              string `json:"errorCode"`
	ErrorMessage           string `json:"errorMessage"`
	AttemptEndingTimestamp int64  `json:"attemptEndingTimestamp"`
	ESDocumentID           string `json:"esDocumentId"`
	ESIndexName            string `json:"esIndexName"`
	ESTypeName             string `json:"esTypeName"`
	RawData                []byte `json:"rawData"`
}

// failedLines writes failed documents, one line each.
type failedLines struct {
	w      *bufio.Writer
	ledger *ledger
	named  naming
	ended  time.Time
	rest   reason // of documents that were never sent, since others before them got no answer
	count  int
}

func (f *failedLines) write(m recordlog.Message, ordinal, index int, record []byte) error {
	why := f.rest
	if r := f.ledger.reason(ordinal); r != nil {
		why = *r
	}
	if !why.Final {
		why.Attempts = f.ledger.tries // it was to be sent in each of them
	}
	id := f.named.id(m.Sequence, index)
	line := failedDocument{
		AttemptsMade: why.Attempts, ArrivalTimestamp: m.Arrived.UnixMilli(), AttemptEndingTimestamp: f.ended.UnixMilli(),
		ErrorCode: why.code(), ErrorMessage: why.message(id),
		ESDocumentID: id, ESIndexName: f.named.indexOf(m.Arrived), ESTypeName: f.named.typeName, RawData: record,
	}
	f.count++
	return writeLine(f.w, &line)
}

// writeLine writes one line. A server's words need not be UTF-8, and are not worth the line.
func writeLine(w *bufio.Writer, line *failedDocument) error {
	if err := json.MarshalWrite(w, line, jsontext.AllowInvalidUTF8(true)); err != nil {
		return err
	}
	return w.WriteByte('\n')
}
