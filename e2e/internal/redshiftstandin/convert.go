package redshiftstandin

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// converter makes the values of an object those of a table's columns, as the options of a COPY say.
type converter struct {
	copy    *copyStatement
	columns []column
	line    []byte // of the last row, in the text format of PostgreSQL's COPY
}

// convert makes a row a line for PostgreSQL. What PostgreSQL finds wrong with a value it will say itself.
func (c *converter) convert(r row) ([]byte, *rowError) {
	if r.bad != nil {
		return nil, r.bad
	}
	c.line = c.line[:0]
	for i, f := range r.fields {
		f, bad := c.value(&c.columns[i], f)
		if bad != nil {
			return nil, bad
		}
		if i > 0 {
			c.line = append(c.line, '\t')
		}
		c.line = appendField(c.line, f)
	}
	return append(c.line, '\n'), nil
}

// appendField writes a value as the text format of PostgreSQL's COPY has it, on one line.
func appendField(line []byte, f field) []byte {
	if f.null {
		return append(line, `\N`...)
	}
	if !bytes.ContainsAny(f.value, "\\\t\n\r") {
		return append(line, f.value...)
	}
	for _, b := range f.value {
		switch b {
		case '\\':
			line = append(line, `\\`...)
		case '\t':
			line = append(line, `\t`...)
		case '\n':
			line = append(line, `\n`...)
		case '\r':
			line = append(line, `\r`...)
		default:
			line = append(line, b)
		}
	}
	return line
}

// value is what a column gets of a field.
func (c *converter) value(col *column, f field) (field, *rowError) {
	if f.null {
		return f, nil
	}
	if !col.isText() {
		return c.plain(col, f)
	}
	if c.copy.trimBlanks {
		f.value = bytes.TrimRight(f.value, " \t")
	}
	blank := len(bytes.TrimSpace(f.value)) == 0
	if blank && (c.copy.emptyAsNull && len(f.value) == 0 || c.copy.blanksAsNull && len(f.value) > 0) {
		return field{null: true}, nil
	}
	return c.characters(col, f)
}

// plain is the value of a column that is not of characters: nothing is null, and times may be numbers.
func (c *converter) plain(col *column, f field) (field, *rowError) {
	if len(bytes.TrimSpace(f.value)) == 0 {
		return field{null: true}, nil
	}
	if !col.isTime() || c.copy.timeFormat == "" || c.copy.timeFormat == "auto" {
		return f, nil
	}
	n, err := strconv.ParseInt(string(f.value), 10, 64)
	if err != nil {
		return f, &rowError{code: errTimestamp, reason: "Invalid timestamp format or value [" + c.copy.timeFormat + "]", column: col, value: f.value}
	}
	at := time.Unix(n, 0)
	if c.copy.timeFormat == "epochmillisecs" {
		at = time.UnixMilli(n)
	}
	f.value = at.UTC().AppendFormat(nil, "2006-01-02 15:04:05.999999Z07:00")
	return f, nil
}

// characters checks a value's characters and its length, which is in bytes.
func (c *converter) characters(col *column, f field) (field, *rowError) {
	if at := invalidAt(f.value); at >= 0 {
		if !c.copy.acceptInvalidChars || col.typeName == "bpchar" {
			return f, badCharacter(col, f.value, at)
		}
		f.value = replaceInvalid(f.value, c.copy.invalidChar)
	}
	if len(f.value) <= col.limit {
		return f, nil
	}
	// The blanks at the end of a CHAR do not count.
	if col.typeName == "bpchar" && len(bytes.TrimRight(f.value, " ")) <= col.limit {
		return f, nil
	}
	if !c.copy.truncateColumns {
		return f, &rowError{code: errRange, reason: "String length exceeds DDL length", column: col, value: f.value}
	}
	end := col.limit
	for end > 0 && !utf8.RuneStart(f.value[end]) {
		end--
	}
	f.value = f.value[:end]
	return f, nil
}

func badCharacter(col *column, value []byte, at int) *rowError {
	return &rowError{
		code: errCharacter, column: col, value: value, position: at,
		reason: fmt.Sprintf("String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence: %x", value[at]),
	}
}

// invalidAt is where the first byte is that is not of UTF-8 or is zero, -1 if there is none.
func invalidAt(text []byte) int {
	if utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 {
		return -1
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// replaceInvalid puts a character in the place of every byte that is not of UTF-8 or is zero.
func replaceInvalid(text []byte, with byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			out = append(out, with)
		} else {
			out = append(out, text[i:i+size]...)
		}
		i += size
	}
	return out
}
