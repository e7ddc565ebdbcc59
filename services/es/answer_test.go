package es

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

// sentWith is a request with these ids.
func sentWith(ids ...string) *request {
	r := &request{}
	for i, id := range ids {
		from := uint32(len(r.body))
		r.body = append(r.body, id...)
		r.items = append(r.items, item{ordinal: uint32(i), id: span{from, uint32(len(r.body))}})
	}
	return r
}

func TestReadAnswer(t *testing.T) {
	const body = `{"took":3,"errors":true,"more":{"a":[1,{}]},"items":[
		{"create":{"_index":"i","_id":"a","status":201,"_shards":{"total":1}}},
		{"create":{"_id":"b","status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input string: \"x\""}}}},
		{"create":{"_id":"c","status":500,"error":"as in the old days"}}]}`
	for name, read := range map[string]func() ([]itemAnswer, error){
		"at once": func() ([]itemAnswer, error) {
			return readAnswer(strings.NewReader(body), sentWith("a", "b", "c"), nil)
		},
		"byte by byte": func() ([]itemAnswer, error) {
			return readAnswer(iotest.OneByteReader(strings.NewReader(body)), sentWith("a", "b", "c"), make([]itemAnswer, 0, 8))
		},
		"without ids": func() ([]itemAnswer, error) {
			return readAnswer(strings.NewReader(body), sentWith("", "", ""), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read()
			check(t, err)
			wantEqual(t, "what is read", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", []itemAnswer{
				{status: 201},
				{400, "mapper_parsing_exception", `failed to parse field [n] (caused by number_format_exception: For input string: "x")`},
				{500, "", "as in the old days"},
			}))
		})
	}
}

// Elasticsearch 7 quotes the beginning of the request, with other documents, where it says what is wrong with one.
func TestReadAnswerWithSource(t *testing.T) {
	const body = `{"items":[{"create":{"_id":"a","status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse",` +
		`"caused_by":{"type":"json_parse_exception","reason":"Duplicate field 'n'\n at [Source: (byte[])\"{another: document}\"; line: 1]"}}}}]}`
	got, err := readAnswer(strings.NewReader(body), sentWith("a"), nil)
	check(t, err)
	wantEqual(t, "the reason", got[0].reason, "failed to parse (caused by json_parse_exception: Duplicate field 'n')")
}

// From an answer that is not all there, or not to this request, nothing is taken.
func TestReadWrongAnswer(t *testing.T) {
	for name, body := range map[string]string{
		"empty":                 ``,
		"no JSON":               `<html>502</html>`,
		"another value":         `[]`,
		"no items":              `{"errors":false}`,
		"items of another kind": `{"items":{}}`,
		"one short":             `{"items":[{"create":{"_id":"a","status":201}}]}`,
		"one too many":          `{"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b","status":201}},{"create":{"_id":"c","status":201}}]}`,
		"another order":         `{"items":[{"create":{"_id":"b","status":201}},{"create":{"_id":"a","status":201}}]}`,
		"no status":             `{"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b"}}]}`,
		"an empty item":         `{"items":[{"create":{"_id":"a","status":201}},{}]}`,
		"a status as a text":    `{"items":[{"create":{"_id":"a","status":"201"}},{"create":{"_id":"b","status":201}}]}`,
		"cut off in an item":    `{"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b","sta`,
		"cut off at the end":    `{"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b","status":201}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := readAnswer(strings.NewReader(body), sentWith("a", "b"), nil); !errors.Is(err, errAnswer) || got != nil {
				t.Errorf("it is read as %+v, %v", got, err)
			}
		})
	}
}

// Whatever comes, there is an answer for each document or none, and each has a status.
func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"items":[{"create":{"_id":"a","status":201}},{"create":{"_id":"b","status":429,"error":{"type":"t","reason":"r"}}}]}`))
	f.Add([]byte(`{"items":[{"create":{"status":201}},{"index":{"status":400,"error":"x"}}],"errors":true}`))
	f.Add([]byte(`{"items":[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readAnswer(strings.NewReader(string(body)), sentWith("a", "b"), nil)
		if err != nil {
			return
		}
		if len(got) != 2 {
			t.Fatalf("%d answers", len(got))
		}
		for _, a := range got {
			if a.status < 100 || a.status > 999 || len(a.reason) > 4*mostReason {
				t.Fatalf("%+v", a)
			}
		}
	})
}
