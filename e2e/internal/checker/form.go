package checker

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Form is how a record is written. What a search node must make of a record can be told from it.
type Form int

const (
	// Plain is no JSON.
	Plain Form = iota
	// Document is a JSON object that indices take.
	Document
	// List is JSON, and no object.
	List
	// Mismatch is a JSON object with a field that Mapping refuses, and Columns too.
	Mismatch
)

// String returns the form's name.
func (f Form) String() string {
	return [...]string{"no JSON", "a document", "a JSON list", "a document that the mapping refuses"}[f]
}

// content is a record's content in a form, with a padding that is known.
func (r Record) content(form Form, padding string) []byte {
	frame := form.frame()
	var line []byte
	for i, field := range []string{r.Stream, r.Producer, strconv.FormatUint(r.N, 10), padding} {
		line = append(append(line, frame[i]...), field...)
	}
	return append(line, frame[4]...)
}

// Mapping is the mapping of indices that take a Document and refuse a Mismatch.
func Mapping() map[string]any {
	keyword := map[string]any{"type": "keyword"}
	return map[string]any{"properties": map[string]any{
		"stream": keyword, "producer": keyword, "n": map[string]any{"type": "long"}, "at": map[string]any{"type": "date"},
		"padding": map[string]any{"type": "keyword", "index": false, "doc_values": false},
	}}
}

// Columns are those of a table that takes a Plain record or a Document, depending on the options of the COPY, and refuses others.
func Columns() string {
	return "stream VARCHAR(64), producer VARCHAR(64), n BIGINT, padding VARCHAR(65535), at TIMESTAMP"
}

// frame is what stands before, between and after the fields of a record.
func (f Form) frame() [5]string {
	switch f {
	case Document:
		return [5]string{`{"stream":"`, `","producer":"`, `","n":`, `,"padding":"`, `"}` + "\n"}
	case List:
		return [5]string{`["`, `","`, `",`, `,"`, `"]` + "\n"}
	case Mismatch:
		return [5]string{`{"at":"never","stream":"`, `","producer":"`, `","n":`, `,"padding":"`, `"}` + "\n"}
	default:
		return [5]string{"", fieldSeparator, fieldSeparator, fieldSeparator, "\n"}
	}
}

// Form returns the record's content in a form, padded at random to size bytes; a size too small for the fields gives the
// shortest content there is.
func (r Record) Form(form Form, size int, rng *rand.Rand) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	frame := form.frame()
	line := make([]byte, 0, max(size, len(r.Stream)+len(r.Producer)+100))
	for i, field := range []string{r.Stream, r.Producer, strconv.FormatUint(r.N, 10)} {
		line = append(append(line, frame[i]...), field...)
	}
	line = append(line, frame[3]...)
	size -= len(frame[4])
	for len(line) < size {
		// One draw makes ten letters of six bits each.
		for draw, i := rng.Uint64(), 0; i < 10 && len(line) < size; draw, i = draw>>6, i+1 {
			line = append(line, letters[draw&63])
		}
	}
	return append(line, frame[4]...)
}

// formOf tells the form that a line begins as.
func formOf(line []byte) Form {
	for _, form := range []Form{Mismatch, Document, List} {
		if bytes.HasPrefix(line, []byte(form.frame()[0])) {
			return form
		}
	}
	return Plain
}

func parseForm(line []byte) (Record, Form, error) {
	form := formOf(line)
	frame := form.frame()
	body, ok := bytes.CutSuffix(line[len(frame[0]):], []byte(frame[4]))
	if !ok {
		return Record{}, form, fmt.Errorf("no %q at the end", frame[4])
	}
	var fields [4][]byte
	for i := range 3 {
		if fields[i], body, ok = bytes.Cut(body, []byte(frame[i+1])); !ok {
			return Record{}, form, fmt.Errorf("%d fields instead of 4", i+1)
		}
	}
	fields[3] = body
	record, err := newRecord(fields)
	return record, form, err
}

func newRecord(fields [4][]byte) (Record, error) {
	n, err := parseDecimal(string(fields[2]))
	if err != nil {
		return Record{}, fmt.Errorf("record number: %w", err)
	}
	switch {
	case !isName(fields[0]):
		return Record{}, errors.New("the delivery stream's name is not one")
	case !isName(fields[1]):
		return Record{}, errors.New("the producer's name is not one")
	case !isText(fields[3]):
		return Record{}, errors.New("the padding holds foreign bytes")
	}
	return Record{Stream: string(fields[0]), Producer: string(fields[1]), N: n}, nil
}
