package es

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Why a record is not sent. The words end up with its owner, and never hold any of the record.
var (
	errNoDocument = errors.New("the record is empty")
	errNoObject   = errors.New("the record is not a JSON object")
	errNoUTF8     = errors.New("the record is not UTF-8")
	errNoJSON     = errors.New("the record is not one valid JSON object")
)

const whitespace = " \t\r\n"

// appendDocument appends a record as one line, without its end. The record has to be one JSON object, with whitespace around
// it or not; what else a server may object to, such as a name that is there twice, is the server's to judge.
//
// Line breaks between the tokens become spaces: in valid JSON they are nowhere else, and the lines of a bulk request end at
// them. Nothing else is changed, so that a document is what its producer wrote.
func appendDocument(to, record []byte) ([]byte, error) {
	document := bytes.Trim(record, whitespace)
	switch {
	case len(document) == 0:
		return to, errNoDocument
	case !utf8.Valid(document):
		return to, errNoUTF8
	case document[0] != '{':
		return to, errNoObject
	case !jsontext.Value(document).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)):
		return to, errNoJSON
	}
	from := len(to)
	to = append(to, document...)
	line := to[from:]
	if bytes.IndexByte(line, '\n') >= 0 || bytes.IndexByte(line, '\r') >= 0 { // ContainsAny looks at one byte after the other
		for i, c := range line {
			if c == '\n' || c == '\r' {
				line[i] = ' '
			}
		}
	}
	return to, nil
}
