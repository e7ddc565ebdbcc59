package redshiftstandin

import (
	"bytes"
	"encoding/json"
	"errors"
)

// jsonReader reads rows that are JSON objects, one after the other with white space between them or nothing.
type jsonReader struct {
	in      *bytesReader
	pick    picker
	repair  bool // replaces invalid bytes
	invalid byte
}

// next implements rowReader.
func (r *jsonReader) next() (row, error) {
	c, ok := r.skip()
	if !ok {
		return row{}, r.in.end()
	}
	if c != '{' {
		r.passLine(c)
		return r.made("Invalid JSONPath format: Member is not an object."), r.in.err
	}
	complete := r.passObject()
	if r.in.err != nil {
		return row{}, r.in.err
	}
	switch {
	case r.in.tooLong:
		made := r.made("")
		made.bad = &rowError{code: errRange, reason: "Row size exceeds 4 MB"}
		return made, nil
	case !complete:
		return r.made("Invalid value."), nil
	}
	return r.object(), nil
}

// skip passes white space and begins a row at what is after it.
func (r *jsonReader) skip() (byte, bool) {
	for {
		r.in.mark()
		c, ok := r.in.next()
		if !ok || !isSpace(c) {
			return c, ok
		}
	}
}

// passLine passes what is on a line that has no object.
func (r *jsonReader) passLine(c byte) {
	for ok := true; ok && c != '\n'; {
		c, ok = r.in.next()
	}
	if c == '\n' {
		r.in.back(c) // so that the line is the row's
	}
}

// passObject passes an object that has begun, and tells whether it ends.
func (r *jsonReader) passObject() bool {
	depth, within := 1, false
	for depth > 0 {
		if within {
			r.in.pass(`"\\`)
		} else {
			r.in.pass(`"{}[]`)
		}
		c, ok := r.in.next()
		if !ok {
			return false
		}
		switch {
		case within && c == '\\':
			_, _ = r.in.next()
		case c == '"':
			within = !within
		case within:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// made is a row that is as the reason says.
func (r *jsonReader) made(reason string) row {
	return row{line: r.in.line, raw: r.in.raw, bad: &rowError{code: errInputLine, reason: reason}}
}

func (r *jsonReader) object() row {
	made := row{line: r.in.line, raw: r.in.raw}
	text := r.in.raw
	if at := invalidAt(text); at >= 0 {
		if !r.repair {
			made.bad = badCharacter(nil, text, at)
			return made
		}
		text = replaceInvalid(text, r.invalid)
	}
	var err error
	if made.fields, err = r.pick.fields(text); err != nil {
		made.bad = &rowError{code: errInputLine, reason: "Invalid value."}
	}
	return made
}

// picker finds the values of a table's columns in an object.
type picker struct {
	columns    []string
	paths      []jsonPath // of the columns, where they are not found by name
	ignoreCase bool
}

func newPicker(c *copyStatement, columns []column, paths []jsonPath) picker {
	p := picker{paths: paths, ignoreCase: c.json == "auto ignorecase"}
	for _, col := range columns {
		p.columns = append(p.columns, col.name)
	}
	return p
}

// fields are in the order of the columns. What the object does not have is null.
func (p picker) fields(object []byte) ([]field, error) {
	if p.paths != nil {
		return p.byPath(object)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, err
	}
	if p.ignoreCase {
		members = folded(members)
	}
	fields := make([]field, 0, len(p.columns))
	for _, name := range p.columns {
		if p.ignoreCase {
			name = lower(name)
		}
		f, err := jsonField(members[name])
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func folded(members map[string]json.RawMessage) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(members))
	for name, value := range members {
		out[lower(name)] = value
	}
	return out
}

func (p picker) byPath(object []byte) ([]field, error) {
	if !json.Valid(object) {
		return nil, errors.New("not an object")
	}
	fields := make([]field, 0, len(p.paths))
	for _, path := range p.paths {
		f, err := jsonField(path.find(object))
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// jsonField is a value as a column gets it: a string without its quotes, objects and arrays as their text.
func jsonField(value json.RawMessage) (field, error) {
	switch {
	case len(value) == 0 || string(value) == "null":
		return field{null: true}, nil
	case value[0] == '"':
		var text string
		err := json.Unmarshal(value, &text)
		return field{value: []byte(text)}, err
	case value[0] == '{' || value[0] == '[':
		var text bytes.Buffer
		err := json.Compact(&text, value)
		return field{value: text.Bytes()}, err
	}
	return field{value: value}, nil
}
