package es

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestDocument(t *testing.T) {
	for _, c := range []struct {
		name, record, want string
		err                error
	}{
		{"an object", `{"a":1}`, `{"a":1}`, nil},
		{"a line", "{\"a\":1}\n", `{"a":1}`, nil},
		{"whitespace around it", " \t\r\n{\"a\": 1}\r\n \n", `{"a": 1}`, nil},
		{"several lines", "{\n  \"a\": [1,\r\n2]\n}", `{   "a": [1,  2] }`, nil},
		{"a name twice", `{"a":1,"a":2}`, `{"a":1,"a":2}`, nil},
		{"half of a surrogate pair", `{"a":"\ud800"}`, `{"a":"\ud800"}`, nil},
		{"a large number", `{"a":123456789012345678901234567890.10}`, `{"a":123456789012345678901234567890.10}`, nil},
		{"an empty record", "", "", errNoDocument},
		{"whitespace", " \n", "", errNoDocument},
		{"a text", `"a"`, "", errNoObject},
		{"an array", `[{}]`, "", errNoObject},
		{"a word", "hello", "", errNoObject},
		{"two objects", "{}\n{}", "", errNoJSON},
		{"half an object", `{"a":`, "", errNoJSON},
		{"a line break in a text", "{\"a\":\"b\nc\"}", "", errNoJSON},
		{"a comma too much", `{"a":1,}`, "", errNoJSON},
		{"other bytes", "{\"a\":\"\xff\"}", "", errNoUTF8},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := appendDocument([]byte("before "), []byte(c.record))
			if !errors.Is(err, c.err) {
				t.Errorf("the error is %v, want %v", err, c.err)
			}
			wantEqual(t, "the line", string(got), "before "+c.want)
		})
	}
}

// What is sent is one line, the same JSON value as the record, and an object.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, "{\n\"a\":\"\\n\"}", "{}{}", "[", "\xff", `{"a":1,"a":2}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		line, err := appendDocument(nil, record)
		if err != nil {
			if len(line) != 0 || strings.Contains(err.Error(), string(record)) && len(record) > 30 {
				t.Fatalf("%q came with %v", line, err)
			}
			return
		}
		if bytes.ContainsAny(line, "\r\n") || line[0] != '{' || !json.Valid(line) {
			t.Fatalf("%q became %q", record, line)
		}
		var want, got bytes.Buffer
		if json.Compact(&want, record) != nil || json.Compact(&got, line) != nil || !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Fatalf("%q became %q", record, line)
		}
	})
}
