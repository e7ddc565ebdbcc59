package redshiftstandin

import "io"

// maxRow is how long a row may be. Redshift's limit is the same.
const maxRow = 4 << 20

// field is a value of a row, as it stands in the object.
type field struct {
	value []byte
	null  bool
}

// row is one of an object. What it points to holds until the next is read.
type row struct {
	line   int64 // where it ends, from 1
	raw    []byte
	fields []field
	bad    *rowError // what is wrong with its form, nil if nothing is
}

// rowReader reads an object's rows; io.EOF is after the last. An error is of the object's bytes: one that a row has is in the row.
type rowReader interface {
	next() (row, error)
}

// rowError is why a row cannot be loaded, in the terms of stl_load_errors.
type rowError struct {
	code     int
	reason   string
	column   *column // nil if it is about none
	position int
	value    []byte
}

// The codes of Redshift's load error reference that the stand-in gives.
const (
	errUnknown       = 1200
	errExtraColumns  = 1202
	errDelimiter     = 1203
	errRange         = 1204
	errDate          = 1205
	errTimestamp     = 1206
	errDigit         = 1207
	errFloat         = 1208
	errBoolean       = 1210
	errNotNull       = 1213
	errQuote         = 1214
	errInputLine     = 1216
	errCharacter     = 1220
	errOverflow      = 1222
	errNumericDigits = 1209
)

// newRowReader reads rows in the statement's format.
func newRowReader(c *copyStatement, object io.Reader, columns []column, paths []jsonPath) rowReader {
	in := newBytesReader(object)
	if c.format == formatJSON {
		return &jsonReader{in: in, pick: newPicker(c, columns, paths), repair: c.acceptInvalidChars, invalid: c.invalidChar}
	}
	return newLineReader(in, c, len(columns))
}
