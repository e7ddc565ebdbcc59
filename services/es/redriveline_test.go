package es

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// Whatever a file holds, what is read of it can be sent as one action that names one index, and is written again as it was.
func FuzzFailedFile(f *testing.F) {
	const line = aFailedLine
	f.Add([]byte(line + "\n" + line))
	f.Add([]byte(strings.Replace(line, "h1-a-0-1-0", "", 1) + "\r\n\n"))
	f.Add([]byte(strings.Replace(line, "logs-2026", "é%20", 1)))
	f.Add([]byte(strings.Replace(line, `"e30="`, `null`, 1)))
	f.Add([]byte(line[:len(line)/2]))
	f.Fuzz(func(t *testing.T, data []byte) {
		read := 0
		err := visitLines(bytes.NewReader(data), "s3://data/file", func(ordinal int, d *failedDocument) error {
			if ordinal != read {
				t.Errorf("document %d is said to be %d", read, ordinal)
			}
			read++
			wantSendable(t, d)
			wantSame(t, d)
			return nil
		})
		var bad *lineError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("the error is %v", err)
		}
		if lines := bytes.Count(data, []byte("\n")) + 1; read > lines {
			t.Errorf("%d documents in %d lines", read, lines)
		}
	})
}

// wantSendable reads the line before the document as a server does.
func wantSendable(t *testing.T, d *failedDocument) {
	t.Helper()
	text, id := d.action("event")
	var action struct {
		Create struct {
			Index string `json:"_index"`
			Type  string `json:"_type"`
			ID    string `json:"_id"`
		} `json:"create"`
	}
	if err := json.Unmarshal(text, &action); err != nil || bytes.IndexByte(text, '\n') != len(text)-1 {
		t.Fatalf("%q: %v", text, err)
	}
	if action.Create.Index != d.ESIndexName || action.Create.ID != d.ESDocumentID || action.Create.Type != "event" || d.ESDocumentID == "" {
		t.Errorf("%q of %+v", text, d)
	}
	if string(text[id.from:id.to]) != d.ESDocumentID {
		t.Errorf("the id in it is said to be %q", text[id.from:id.to])
	}
	if strings.ContainsAny(d.ESIndexName, "/?*,\\\"\n") || strings.HasPrefix(d.ESIndexName, "_") {
		t.Errorf("the index is %q", d.ESIndexName)
	}
}

// wantSame writes the document and reads it again.
func wantSame(t *testing.T, d *failedDocument) {
	t.Helper()
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	check(t, writeLine(w, d))
	check(t, w.Flush())
	again, err := newFailedReader(&out, "").next()
	if err != nil || !reflect.DeepEqual(again, d) {
		t.Errorf("%+v became %+v, %v", d, again, err)
	}
}

const aFailedLine = `{"attemptsMade":2,"arrivalTimestamp":1,"errorCode":"400","errorMessage":"m\u00e9","attemptEndingTimestamp":2,"esDocumentId":"h1-a-0-1-0","esIndexName":"logs-2026","esTypeName":"","rawData":"e30="}`

// A line may be as long as the longest that can have been written, and one beyond that is refused.
func TestLongLines(t *testing.T) {
	if longest := base64.StdEncoding.EncodedLen(8<<20) + 64<<10; longest > mostLine {
		t.Errorf("the line of the longest record is %d bytes", longest)
	}
	for _, c := range []struct {
		name string
		size int
		want error
	}{{"the longest", mostLine - 2, nil}, {"too long", mostLine, errLineLong}} {
		t.Run(c.name, func(t *testing.T) {
			line := aFailedLine + strings.Repeat(" ", c.size-len(aFailedLine)) + "\n"
			if _, err := newFailedReader(strings.NewReader(line), "").next(); !errors.Is(err, c.want) {
				t.Errorf("it is %v", err)
			}
		})
	}
}

// Documents without ids get each one of its own, the same each time, and another in another file.
func TestMadeIDs(t *testing.T) {
	line := strings.Replace(aFailedLine, "h1-a-0-1-0", "", 1) + "\n"
	ids := func(seed string) (all []string) {
		check(t, visitLines(strings.NewReader(line+line), seed, func(_ int, d *failedDocument) error {
			all = append(all, d.ESDocumentID)
			return nil
		}))
		return all
	}
	a, again, b := ids("a"), ids("a"), ids("b")
	if !reflect.DeepEqual(a, again) || a[0] == a[1] || a[0] == b[0] {
		t.Errorf("they are %q, %q and %q", a, again, b)
	}
	if _, err := newFailedReader(strings.NewReader(""), "").next(); !errors.Is(err, io.EOF) {
		t.Errorf("an empty file ends with %v", err)
	}
}
