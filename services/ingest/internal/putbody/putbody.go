// Package putbody reads the bodies of PutRecord and PutRecordBatch the way clients write them, at the speed of memory.
//
// Scan knows one plain form of a put: no escapes, no members that the API does not have, nothing twice, nothing null. It says no
// to all else, right or wrong, and leaves it to a reader of JSON as a whole. So it has no errors of its own to explain, and one
// promise: what it does read is what that reader would have read.
package putbody

import "encoding/base64"

// maxRecords is how many records a call may have. A call with more is refused, elsewhere.
const maxRecords = 500

// Input is what a put holds.
type Input struct {
	Stream  []byte // the name of the delivery stream, as it is in the body
	Lengths []int  // of each record
	Data    []byte // of the records, one after the other
}

// Scan reads a put: {"DeliveryStreamName": "…", "Record": {"Data": "…"}}, or with list "Records": [{"Data": "…"}, …] of 1 to 500.
// The members come in any order, each once, with any white space of JSON. The name is of printable ASCII, and may be empty; data
// is base64 of the standard alphabet with padding, and may be empty. Of anything else ok is false.
//
// Data is decoded to data, which must not overlap body and needs room for base64's share of it (the encoding's DecodedLen):
// with less, ok is false. Of data, all that is beyond the records' may be written over. Lengths are appended to lengths[:0], and
// the input is a part of body, data and lengths. Nothing is allocated if lengths has room.
func Scan(body, data []byte, lengths []int, list bool) (in Input, ok bool) {
	if len(data) < base64.StdEncoding.DecodedLen(len(body)) {
		return Input{}, false
	}
	s := scanner{body: body, data: data, lengths: lengths[:0]}
	if !s.put(list) {
		return Input{}, false
	}
	return Input{Stream: s.stream, Lengths: s.lengths, Data: data[:s.used:s.used]}, true
}

// scanner is a position in a body. Each of its methods that tells whether it could read something has moved beyond it if so,
// and is not called again if not.
type scanner struct {
	body    []byte
	at      int
	data    []byte
	used    int
	stream  []byte
	lengths []int
}

func (s *scanner) put(list bool) bool {
	if !s.mark('{') {
		return false
	}
	named, filled := false, false
	for more := true; more; more = s.mark(',') {
		ok := false
		switch {
		case !named && s.name(`"DeliveryStreamName"`):
			named, ok = true, s.mark(':') && s.text()
		case !filled && list && s.name(`"Records"`):
			filled, ok = true, s.mark(':') && s.records()
		case !filled && !list && s.name(`"Record"`):
			filled, ok = true, s.mark(':') && s.record()
		}
		if !ok {
			return false
		}
	}
	return named && filled && s.mark('}') && s.end()
}

func (s *scanner) records() bool {
	if !s.mark('[') {
		return false
	}
	for more := true; more; more = s.mark(',') {
		if len(s.lengths) == maxRecords || !s.record() {
			return false
		}
	}
	return s.mark(']')
}

func (s *scanner) record() bool {
	if !s.mark('{') || !s.name(`"Data"`) || !s.mark(':') || !s.mark('"') {
		return false
	}
	before := s.used
	if !s.base64() || !s.mark('}') {
		return false
	}
	s.lengths = append(s.lengths, s.used-before)
	return true
}

// text reads the name of a delivery stream.
func (s *scanner) text() bool {
	if !s.mark('"') {
		return false
	}
	for i, c := range s.body[s.at:] {
		switch {
		case c == '"':
			s.stream = s.body[s.at : s.at+i : s.at+i]
			s.at += i + 1
			return true
		case c < ' ', c > '~', c == '\\':
			return false
		}
	}
	return false
}

// name reads the name of a member, given in its quotes. Where another name is, it stays before that.
func (s *scanner) name(quoted string) bool {
	s.space()
	if len(s.body)-s.at < len(quoted) || string(s.body[s.at:s.at+len(quoted)]) != quoted {
		return false
	}
	s.at += len(quoted)
	return true
}

// mark reads a mark of punctuation and white space before it. Where something else is, it stays before that.
func (s *scanner) mark(c byte) bool {
	if s.at < len(s.body) && s.body[s.at] == c {
		s.at++
		return true
	}
	return s.markAfterSpace(c)
}

func (s *scanner) markAfterSpace(c byte) bool {
	s.space()
	if s.at == len(s.body) || s.body[s.at] != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.body)
}

func (s *scanner) space() {
	for s.at < len(s.body) {
		switch s.body[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// base64 reads the rest of a string that is base64, and its closing quote.
func (s *scanner) base64() bool {
	n := decode(s.data[s.used:], s.body[s.at:])
	s.at += n
	s.used += n / 4 * 3
	if s.at < len(s.body) && s.body[s.at] == '"' {
		s.at++
		return true
	}
	if len(s.body)-s.at < 5 || s.body[s.at+4] != '"' {
		return false
	}
	n, ok := decodePadded(s.data[s.used:], s.body[s.at:s.at+4])
	s.at += 5
	s.used += n
	return ok
}
