package redshiftstandin

import "bytes"

// lineReader reads rows of text with a delimiter, and of CSV.
type lineReader struct {
	in      *bytesReader
	copy    *copyStatement
	columns int
	passed  int64 // lines of the header

	fields []field
	text   []byte // of all fields, one after the other
	ends   []int
	nulls  []bool

	outside  string          // what means something out of quotes
	inQuotes map[byte]string // and within each kind of them
}

func newLineReader(in *bytesReader, c *copyStatement, columns int) *lineReader {
	r := &lineReader{in: in, copy: c, columns: columns, outside: string([]byte{c.delimiter, '\n', '\r', '\\'}), inQuotes: map[byte]string{}}
	for _, quote := range []byte{'"', '\'', c.quote} {
		r.inQuotes[quote] = string([]byte{quote, '\\'})
	}
	return r
}

// next implements rowReader.
func (r *lineReader) next() (row, error) {
	for {
		line, found := r.read()
		if r.in.err != nil || !found {
			return row{}, r.in.end()
		}
		if r.passed < r.copy.ignoreHeader {
			r.passed++
			continue
		}
		if r.copy.ignoreBlankLines && len(bytes.TrimRight(r.in.raw, "\r\n")) == 0 {
			continue
		}
		return r.counted(line), nil
	}
}

// counted checks how many fields a row has.
func (r *lineReader) counted(line row) row {
	for r.copy.fillRecord && len(line.fields) < r.columns {
		line.fields = append(line.fields, field{null: true})
	}
	switch {
	case line.bad != nil:
	case r.in.tooLong:
		line.bad = &rowError{code: errRange, reason: "Row size exceeds 4 MB"}
	case len(line.fields) > r.columns:
		line.bad = &rowError{code: errExtraColumns, reason: "Extra column(s) found"}
	case len(line.fields) < r.columns:
		line.bad = &rowError{code: errDelimiter, reason: "Delimiter not found"}
	}
	return line
}

// read reads one row, and tells whether there was any.
func (r *lineReader) read() (row, bool) {
	r.in.mark()
	r.text, r.ends, r.nulls, r.fields = r.text[:0], r.ends[:0], r.nulls[:0], r.fields[:0]
	line := r.in.line
	var bad *rowError
	for more, first := true, true; more; first = false {
		var found bool
		if more, found, bad = r.field(first); first && !found {
			return row{}, false
		}
	}
	start := 0
	for i, end := range r.ends {
		r.fields = append(r.fields, field{r.text[start:end:end], r.nulls[i]})
		start = end
	}
	if n := r.in.line - 1; n > line {
		line = n // a value has line breaks in it
	}
	return row{line: line, raw: bytes.TrimRight(r.in.raw, "\r\n"), fields: r.fields, bad: bad}, true
}

// field reads one field; more tells whether another follows, found whether the object had anything left.
func (r *lineReader) field(first bool) (more, found bool, bad *rowError) {
	start, rawStart := len(r.text), len(r.in.raw)
	wasQuoted := false
	var within byte // the quote that the field is in
	for {
		if len(r.in.raw) > rawStart { // a quote may open at the start
			r.addAll(r.in.pass(r.stops(within)))
		}
		c, ok := r.in.next()
		if !ok {
			if within != 0 {
				bad = &rowError{code: errQuote, reason: "Delimited value missing end quote"}
			}
			r.close(start, rawStart, len(r.in.raw), wasQuoted)
			return false, !first || len(r.in.raw) > 0, bad
		}
		switch {
		case within != 0 && c == within:
			if within = r.endQuote(c); within != 0 {
				r.add(c)
			}
		case within != 0 && c != '\\':
			r.add(c)
		case c == '\\' && r.copy.escape:
			if next, ok := r.in.next(); ok {
				r.add(next)
			}
		case within == 0 && r.opensQuote(c, len(r.in.raw)-1 == rawStart):
			within, wasQuoted = c, true
		case c == r.copy.delimiter && within == 0:
			r.close(start, rawStart, len(r.in.raw)-1, wasQuoted)
			return true, true, nil
		case c == '\n' && within == 0, c == '\r' && within == 0 && r.lineEnds():
			r.close(start, rawStart, len(bytes.TrimRight(r.in.raw, "\r\n")), wasQuoted)
			return false, true, nil
		default:
			r.add(c)
		}
	}
}

// add keeps a byte of a field, as long as the row is not too long.
func (r *lineReader) add(c byte) {
	if !r.in.tooLong {
		r.text = append(r.text, c)
	}
}

func (r *lineReader) addAll(text []byte) {
	if !r.in.tooLong {
		r.text = append(r.text, text...)
	}
}

// stops are the bytes that mean something where the field is.
func (r *lineReader) stops(within byte) string {
	if within != 0 {
		return r.inQuotes[within]
	}
	return r.outside
}

// opensQuote tells whether a byte begins a quoted value.
func (r *lineReader) opensQuote(c byte, atStart bool) bool {
	if r.copy.format == formatCSV {
		return atStart && c == r.copy.quote
	}
	return r.copy.removeQuotes && atStart && (c == '"' || c == '\'')
}

// endQuote is called at a quote within quotes. It returns 0 if it ends the value, and the quote if it stands for itself, which
// it does when it is doubled in CSV.
func (r *lineReader) endQuote(quote byte) byte {
	if r.copy.format != formatCSV {
		return 0
	}
	c, ok := r.in.next()
	if ok && c == quote {
		return quote
	}
	if ok {
		r.in.back(c)
	}
	return 0
}

// lineEnds tells whether a carriage return is of a line's end, and passes the line break after it.
func (r *lineReader) lineEnds() bool {
	c, ok := r.in.next()
	if !ok || c == '\n' {
		return true
	}
	r.in.back(c)
	return false
}

// close ends a field. It is null if it stands in the object as the null string does, before escapes and quotes are read.
func (r *lineReader) close(start, rawStart, rawEnd int, wasQuoted bool) {
	raw := r.in.raw[min(rawStart, len(r.in.raw)):max(min(rawEnd, len(r.in.raw)), min(rawStart, len(r.in.raw)))]
	r.ends = append(r.ends, len(r.text))
	r.nulls = append(r.nulls, !wasQuoted && r.isNull(raw, r.text[start:]))
}

func (r *lineReader) isNull(raw, text []byte) bool {
	return string(raw) == r.copy.null || string(text) == r.copy.null
}
