package ingest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"hydrant/shared/record"
)

// putInput is the input of PutRecord and PutRecordBatch, as far as it was read.
type putInput struct {
	Stream  *string
	Records []putRecord // the first record.MaxBatchRecords
	Count   int         // how many there are; -1 when the member is missing
}

type putRecord struct {
	Data    []byte
	Given   bool // there is a Record, or an element of Records, that is not null
	HasData bool // it has Data that is not null
}

// putReader reads the body of a put. Records are what clients send most of and longest: they are decoded without an
// intermediate form, and no more of them are kept than a call may have, however many a hostile body lists.
type putReader struct {
	json  *jsontext.Decoder
	arena []byte // decoded data, one record after the other
	used  int
	text  []byte // a string without its escapes
	input putInput
}

// readPut reads body, of which list says whether it has Records, or one Record. Decoded data goes to arena, which has
// room for base64's share of body.
func readPut(body, arena []byte, list bool) (putInput, error) {
	r := &putReader{
		json:  jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true)),
		arena: arena,
		input: putInput{Count: -1},
	}
	err := r.readInput(list)
	if err == nil {
		_, err = r.json.ReadToken()
		if errors.Is(err, io.EOF) {
			return r.input, nil
		}
		if err == nil {
			err = errWrongType // something follows
		}
	}
	return putInput{}, r.explain(err)
}

// explain says where a body went wrong, and nothing of what is there.
func (r *putReader) explain(err error) error {
	if isSyntactic(err) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return notReadable(err)
	}
	return refusal(codeSerialization, "The value that ends at byte %d of the request has the wrong JSON type, or is not base64 of the standard alphabet with padding.", r.json.InputOffset())
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
			r.input.Records, r.input.Count = r.input.Records[:0], 1
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
	r.input.Records, r.input.Count = r.input.Records[:0], -1
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
	var read putRecord
	var err error
	switch r.json.PeekKind() {
	case 'n':
		err = r.json.SkipValue()
	case '{':
		read.Given = true
		err = r.members(func(name []byte) error {
			if string(name) != "Data" {
				return r.json.SkipValue()
			}
			return r.readData(&read)
		})
	default:
		err = r.wrongType()
	}
	r.input.Records = append(r.input.Records, read)
	return err
}

func (r *putReader) readData(into *putRecord) error {
	switch r.json.PeekKind() {
	case 'n':
		into.Data, into.HasData = nil, false
		return r.json.SkipValue()
	case '"':
		text, err := r.readString()
		if err != nil {
			return err
		}
		into.Data, err = r.decode(text)
		into.HasData = true
		return err
	default:
		return r.wrongType()
	}
}

var errNotBase64 = errors.New("not base64")

// decode appends text's data to the arena. The package base64 skips line breaks, which are not of the alphabet.
func (r *putReader) decode(text []byte) ([]byte, error) {
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return nil, errNotBase64
	}
	room := r.arena[r.used:]
	n, err := base64.StdEncoding.Decode(room, text)
	if err != nil {
		return nil, errNotBase64
	}
	r.used += n
	return room[:n:n], nil
}
