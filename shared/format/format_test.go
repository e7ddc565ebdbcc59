package format_test

import (
	"errors"
	"strings"
	"testing"

	"hydrant/shared/format"
)

func TestCheckDocument(t *testing.T) {
	for _, c := range []struct {
		name, data string
		newer, bad bool
	}{
		{name: "its own", data: `{"format":3,"a":1}`},
		{name: "older", data: `{"a":1,"format":1}`},
		{name: "from before there were formats", data: `{"a":1}`},
		{name: "newer", data: `{"a":{"format":1},"format":4}`, newer: true},
		{name: "newer, of another shape", data: `{"format":1000000,"a":"b","a":[]}`, newer: true},
		{name: "no document", data: `hello`, bad: true},
		{name: "cut off", data: `{"format":4`, bad: true},
		{name: "a format that is none", data: `{"format":"4"}`, bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := format.CheckDocument([]byte(c.data), 3)
			if errors.Is(err, format.ErrNewer) != c.newer || (err != nil) != (c.newer || c.bad) {
				t.Errorf("got %v", err)
			}
			if c.newer && !strings.Contains(err.Error(), "known up to 3") {
				t.Errorf("%q does not name both formats", err)
			}
		})
	}
}

func TestCheckNamesBothFormats(t *testing.T) {
	if err := format.Check(7, 4); err == nil || err.Error() != "written by a newer version of Hydrant: upgrade this process (format 7, known up to 4)" {
		t.Errorf("got %v", err)
	}
}
