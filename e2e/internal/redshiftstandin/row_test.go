package redshiftstandin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// three columns, of which the second is a number.
func three() []column {
	return []column{{name: "a", typeName: "varchar", limit: 10}, {name: "n", typeName: "int4"}, {name: "b", typeName: "text", limit: 256}}
}

// lines reads an object as a COPY does: each row as PostgreSQL is sent it, or why it is not, with its line.
func lines(t *testing.T, options, content string, paths []jsonPath) []string {
	t.Helper()
	c, failure := parsed("COPY t FROM 's3://b/k' " + keys + " " + options)
	if failure != nil {
		t.Fatal(failure)
	}
	rows := newRowReader(c, strings.NewReader(content), three(), paths)
	into := converter{copy: c, columns: three()}
	var got []string
	for {
		r, err := rows.next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		line, bad := into.convert(r)
		if bad != nil {
			line = fmt.Appendf(nil, "%d %s", bad.code, bad.reason)
		}
		got = append(got, fmt.Sprintf("%d: %s", r.line, strings.TrimSuffix(string(line), "\n")))
	}
}

func TestRows(t *testing.T) {
	for _, c := range []struct{ name, options, content, want string }{
		{"nothing", "", "", ""},
		{"text", "", "x|1|y\nz||\n", "1: x\t1\ty;2: z\t\\N\t"},
		{"no last line break", "", "x|1|y\r\nz|2|w", "1: x\t1\ty;2: z\t2\tw"},
		{"a delimiter", `DELIMITER '\t'`, "x\t1\ty\\n\n", "1: x\t1\ty\\\\n"},
		{"null", "", "\\N|\\N|x\n", "1: \\N\t\\N\tx"},
		{"another null", "NULL AS 'nil'", "nil|nil|\\N\n", "1: \\N\t\\N\t\\\\N"},
		{"escapes", "ESCAPE", "a\\|b|1|c\\\nd\\\\\n\\N|2|e\n", "2: a|b\t1\tc\\nd\\\\;3: \\N\t2\te"},
		{"quotes removed", "REMOVEQUOTES", "\"a|b\"|'1'|c\"d\n", "1: a|b\t1\tc\"d"},
		{"too few and too many", "", "x|1\nx|1|y|z\n", "1: 1203 Delimiter not found;2: 1202 Extra column(s) found"},
		{"filled", "FILLRECORD", "x|1\n", "1: x\t1\t\\N"},
		{"blank lines", "IGNOREBLANKLINES", "\nx|1|y\n\r\n\n", "2: x\t1\ty"},
		{"blank lines that are not ignored", "", "\n", "1: 1203 Delimiter not found"},
		{"a header", "IGNOREHEADER 2", "a|n|b\n--\nx|1|y\n", "3: x\t1\ty"},
		{"empty as null", "EMPTYASNULL", "|1| \n", "1: \\N\t1\t "},
		{"blanks as null", "BLANKSASNULL", "|1|  \n", "1: \t1\t\\N"},
		{"blanks trimmed", "TRIMBLANKS", "x  |1|y\n", "1: x\t1\ty"},
		{"too long", "", "12345678901|1|y\n", "1: 1204 String length exceeds DDL length"},
		{"too long in bytes", "", "ääääää|1|y\n", "1: 1204 String length exceeds DDL length"},
		{"truncated", "TRUNCATECOLUMNS", "123456789ä|1|y\n", "1: 123456789\t1\ty"},
		{"no UTF-8", "", "a\xff|1|y\n", "1: 1220 String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence: ff"},
		{"no UTF-8, accepted", "ACCEPTINVCHARS", "a\xff\x00|1|y\n", "1: a??\t1\ty"},
		{"no UTF-8, replaced", "ACCEPTINVCHARS AS '^'", "a\xff|1|y\n", "1: a^\t1\ty"},

		{"CSV", "CSV", "x,1,\"y, \"\"z\"\"\nw\"\nv,,\"\"\n", "2: x\t1\ty, \"z\"\\nw;3: v\t\\N\t"},
		{"CSV with another quote", "CSV QUOTE '%' DELIMITER ';'", "%a;b%;1;\"c\n", "1: a;b\t1\t\"c"},
		{"CSV without an end", "CSV", "x,1,\"y\nz\n", "2: 1214 Delimited value missing end quote"},
		{"CSV with a quoted null", "CSV", `"\N",1,\N` + "\n", "1: \\\\N\t1\t\\N"},
		{"CSV with a carriage return", "CSV", "x,1,y\r\n", "1: x\t1\ty"},

		{"JSON", "JSON 'auto'", `{"a":"x","n":1,"b":"y"}` + "\n" + `{"n":-2.5e3,"other":[1]}`, "1: x\t1\ty;2: \\N\t-2.5e3\t\\N"},
		{"JSON side by side", "JSON 'auto'", `{"a":"}{\"","n":1}{"a":true,"n":null}`, "1: }{\"\t1\t\\N;1: true\t\\N\t\\N"},
		{"JSON over lines", "JSON 'auto'", "{\n\"a\": \"x\",\n\"b\": {\"c\": [1, 2]}\n}\n", "4: x\t\\N\t{\"c\":[1,2]}"},
		{"JSON with escapes", "JSON 'auto'", `{"a":"\u00e4\t\\","n":1}`, "1: ä\\t\\\\\t1\t\\N"},
		{"JSON in another case", "JSON 'auto'", `{"A":"x","N":1}`, "1: \\N\t\\N\t\\N"},
		{"JSON in any case", "JSON 'auto ignorecase'", `{"A":"x","N":1}`, "1: x\t1\t\\N"},
		{"JSON of no value", "JSON 'auto'", "{\"a\":x}\n{\"a\":\"y\"}", "1: 1216 Invalid value.;2: y\t\\N\t\\N"},
		{"JSON that does not end", "JSON 'auto'", "{\"a\":\"y\"}\n{\"a\":\"z\n", "1: y\t\\N\t\\N;3: 1216 Invalid value."},
		{"JSON that is no object", "JSON 'auto'", "[1]\n7\n{\"a\":\"y\"}", "1: 1216 Invalid JSONPath format: Member is not an object.;2: 1216 Invalid JSONPath format: Member is not an object.;3: y\t\\N\t\\N"},
		{"JSON of no UTF-8", "JSON 'auto'", "{\"a\":\"\xff\"}", "1: 1220 String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence: ff"},
		{"JSON of no UTF-8, accepted", "JSON 'auto' ACCEPTINVCHARS", "{\"a\":\"\xff\"}", "1: ?\t\\N\t\\N"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(lines(t, c.options, c.content, nil), ";"); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestRowsThatAreTooLong(t *testing.T) {
	long := strings.Repeat("x", maxRow)
	got := lines(t, "", long+"|1|y\nz|2|w\n", nil)
	if want := []string{"1: 1204 Row size exceeds 4 MB", "2: z\t2\tw"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %.200q", got)
	}
	got = lines(t, "JSON 'auto'", `{"a":"`+long+"\"}\n{\"a\":\"y\"}", nil)
	if want := []string{"1: 1204 Row size exceeds 4 MB", "2: y\t\\N\t\\N"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %.200q", got)
	}
}

func TestJSONPaths(t *testing.T) {
	paths, err := parseJSONPaths([]byte(`{"jsonpaths": ["$.x.y", "$['x']['list'][1]", "$.whole[\"a b\"]"]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := lines(t, "JSON 's3://b/paths'", `{"x":{"y":"v","list":[1,2]},"whole":{"a b":{"c":1}}}{"x":7}`, paths)
	if want := "1: v\t2\t{\"c\":1};1: \\N\t\\N\t\\N"; strings.Join(got, ";") != want {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"", "[]", `{}`, `{"jsonpaths":[]}`, `{"jsonpaths":["x"]}`, `{"jsonpaths":["$."]}`, `{"jsonpaths":["$[]"]}`, `{"jsonpaths":["$[x]"]}`, `{"jsonpaths":["$['x]"]}`, `{"jsonpaths":["$x"]}`} {
		if paths, err := parseJSONPaths([]byte(bad)); err == nil {
			t.Errorf("%s is %v", bad, paths)
		}
	}
}

func TestParseManifest(t *testing.T) {
	got, err := parseManifest([]byte(`{"entries":[{"url":"s3://b/k","mandatory":true,"meta":{"content_length":5}},{"url":"s3://c/d/e"}]}`))
	if err != nil || len(got) != 2 || got[0] != (object{location{"b", "k"}, true, false}) || got[1] != (object{location{"c", "d/e"}, false, false}) {
		t.Errorf("got %v, %v", got, err)
	}
	for file, want := range map[string]string{
		"": "correct json format", "{": "correct json format", "[]": "Root must be a json object", "{}": "Root must be a json object",
		`{"entries":[{}]}`: "'url' field missing", `{"entries":[{"url":"s3://b/"}]}`: "full path", `{"entries":[{"url":"/b"}]}`: "full path",
	} {
		if _, err := parseManifest([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// Whatever the bytes of an object: each row is one line for PostgreSQL, or has a reason why not.
func FuzzRows(f *testing.F) {
	options := []string{"", "ESCAPE REMOVEQUOTES", "CSV", "JSON 'auto'", "JSON 'auto ignorecase' ACCEPTINVCHARS TRUNCATECOLUMNS", "FILLRECORD IGNOREBLANKLINES"}
	for i := range options {
		f.Add(i, []byte("x|1|\"y\\|\"\r\n\\N\n"))
		f.Add(i, []byte("x,1,\"y\"\"\n\"\n"))
		f.Add(i, []byte(`{"a":"\"}","n":[1,{}]}{"b"`))
		f.Add(i, []byte("\xff\x00|{"))
	}
	f.Fuzz(func(t *testing.T, option int, content []byte) {
		c, failure := parsed("COPY t FROM 's3://b/k' " + keys + " " + options[uint(option)%uint(len(options))])
		if failure != nil {
			t.Fatal(failure)
		}
		rows := newRowReader(c, bytes.NewReader(content), three(), nil)
		into := converter{copy: c, columns: three()}
		for n := 0; ; n++ {
			r, err := rows.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil || n > len(content) {
				t.Fatalf("row %d: %v", n, err)
			}
			line, bad := into.convert(r)
			switch {
			case bad != nil && (bad.code == 0 || bad.reason == ""):
				t.Fatalf("row %d is bad for no reason", n)
			case bad == nil && (bytes.Count(line, []byte("\n")) != 1 || bytes.Count(line, []byte("\t")) != 2):
				t.Fatalf("row %d is %q", n, line)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"entries":[{"url":"s3://b/k","mandatory":true}]}`))
	f.Add([]byte(`{"jsonpaths":["$.a['b'][0]"]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		found, err := parseManifest(file)
		for _, o := range found {
			if o.bucket == "" || o.key == "" {
				t.Errorf("an object without a name: %v", o)
			}
		}
		if err == nil && len(found) == 0 {
			t.Error("a manifest of nothing")
		}
		paths, err := parseJSONPaths(file)
		if err == nil && len(paths) == 0 {
			t.Error("paths to nothing")
		}
		for _, p := range paths {
			p.find(file)
		}
	})
}
