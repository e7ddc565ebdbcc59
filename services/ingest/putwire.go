package ingest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"hydrant/services/ingest/internal/putbody"
	"hydrant/shared/record"
)

// putInput is the input of PutRecord and PutRecordBatch, as far as it was read.
type putInput struct {
	Stream *string
	putData
	Count int // how many records there are; -1 when the member is missing
}

// putData is the data of a call's records, the first record.MaxBatchRecords of them.
type putData struct {
	Bytes   []byte // the records' data, one after the other
	Lengths []int  // of each; or one of those below
}

// What is in place of a length where a put is not to be accepted.
const (
	noRecord = -1 // there is no Record, or the element of Records is null
	noData   = -2 // the record has no Data, or it is null
)

// readPut reads body, of which list says whether it has Records, or one Record. Decoded data goes to room, which has room
// for base64's share of body, and lengths to the beginning of lengths.
//
// What clients write is read in one pass; all that is unusual, or wrong, the JSON package reads once more from its start.
func readPut(body, room []byte, lengths []int, list bool) (putInput, error) {
	if in, ok := putbody.Scan(body, room, lengths, list); ok {
		name := string(in.Stream)
		return putInput{Stream: &name, putData: putData{in.Data, in.Lengths}, Count: len(in.Lengths)}, nil
	}
	return readAnyPut(body, room, lengths, list)
}

// readAnyPut is readPut for any body.
func readAnyPut(body, room []byte, lengths []int, list bool) (putInput, error) {
	r := &putReader{
		json:  jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true)),
		room:  room,
		input: putInput{putData: putData{Lengths: lengths[:0]}, Count: -1},
	}
	err := r.readInput(list)
	if err == nil {
		_, err = r.json.ReadToken()
		if errors.Is(err, io.EOF) {
			r.input.Bytes = room[:r.used]
			return r.input, nil
		}
		if err == nil {
			err = errWrongType // something follows
		}
	}
	return putInput{}, r.explain(err)
}

// putReader reads the body of a put. Records are decoded without an intermediate form, and no more of them are kept than a
// call may have, however many a hostile body lists.
type putReader struct {
	json  *jsontext.Decoder
	room  []byte // for decoded data
	used  int
	text  []byte // a string without its escapes
	input putInput
}

// explain says where a body went wrong, and nothing of what is there.
func (r *putReader) explain(err error) error {
	if isSyntactic(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return notReadable(err)
	}
	return refusal(codeSerialization, "The value that ends at byte %d of the request has the wrong JSON type, or is not base64 of the standard alphabet with padding.", r.json.InputOffset())
}

// forget drops the records read so far: of members given twice, the last one counts.
func (r *putReader) forget(count int) {
	r.input.Lengths, r.input.Count, r.used = r.input.Lengths[:0], count, 0
}

func (r *putReader) readInput(list bool) error {
	if r.json.PeekKind() != '{' {
		return r.wrongType()
	}
	return r.members(func(name []byte) error {
		switch {
		case string(name) == "DeliveryStreamName":
			return r.readName()
		case list && string(name) == "Records":
			return r.readRecords()
		case !list && string(name) == "Record":
			r.forget(1)
			return r.readRecord()
		}
		return r.json.SkipValue()
	})
}

// wrongType reads past the value that comes next, so that a syntax error in it is reported as such.
func (r *putReader) wrongType() error {
	if err := r.json.SkipValue(); err != nil {
		return err
	}
	return errWrongType
}

// members calls read with the name of each member of the object that comes next; read reads its value.
func (r *putReader) members(read func(name []byte) error) error {
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for r.json.PeekKind() == '"' {
		name, err := r.readString()
		if err != nil {
			return err
		}
		if err := read(name); err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return err
}

// readString returns the string that comes next, which is valid until the next is read.
func (r *putReader) readString() ([]byte, error) {
	quoted, err := r.json.ReadValue()
	if err != nil {
		return nil, err
	}
	if plain := quoted[1 : len(quoted)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return plain, nil
	}
	r.text, err = jsontext.AppendUnquote(r.text[:0], quoted)
	return r.text, err
}

func (r *putReader) readName() error {
	switch r.json.PeekKind() {
	case 'n':
		r.input.Stream = nil
		return r.json.SkipValue()
	case '"':
		text, err := r.readString()
		if err == nil {
			name := string(text)
			r.input.Stream = &name
		}
		return err
	default:
		return r.wrongType()
	}
}

func (r *putReader) readRecords() error {
	r.forget(-1)
	switch r.json.PeekKind() {
	case 'n':
		return r.json.SkipValue()
	case '[':
	default:
		return r.wrongType()
	}
	if _, err := r.json.ReadToken(); err != nil {
		return err
	}
	for r.input.Count = 0; ; r.input.Count++ {
		kind := r.json.PeekKind()
		if kind == ']' {
			break
		}
		var err error
		if r.input.Count < record.MaxBatchRecords {
			err = r.readRecord()
		} else {
			err = r.json.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	_, err := r.json.ReadToken()
	return err
}

func (r *putReader) readRecord() error {
	length, start := noRecord, r.used
	var err error
	switch r.json.PeekKind() {
	case 'n':
		err = r.json.SkipValue()
	case '{':
		length = noData
		err = r.members(func(name []byte) error {
			if string(name) != "Data" {
				return r.json.SkipValue()
			}
			r.used = start
			var err error
			length, err = r.readData()
			return err
		})
	default:
		err = r.wrongType()
	}
	r.input.Lengths = append(r.input.Lengths, length)
	return err
}

// readData returns the length of the data that comes next.
func (r *putReader) readData() (int, error) {
	switch r.json.PeekKind() {
	case 'n':
		return noData, r.json.SkipValue()
	case '"':
		text, err := r.readString()
		if err != nil {
			return 0, err
		}
		return r.decode(text)
	default:
		return 0, r.wrongType()
	}
}

var errNotBase64 = errors.New("not base64")

// decode adds text's data to what was decoded before. The package base64 skips line breaks, which are not of the alphabet.
func (r *putReader) decode(text []byte) (int, error) {
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return 0, errNotBase64
	}
	n, err := base64.StdEncoding.Decode(r.room[r.used:], text)
	if err != nil {
		return 0, errNotBase64
	}
	r.used += n
	return n, nil
}
