package objectstore_test

import (
	"strings"
	"testing"

	"hydrant/shared/objectstore"
)

// Whatever a server says can be metadata.
func TestMetadataText(t *testing.T) {
	for text, want := range map[string]string{
		"no such index [logs]": "no such index [logs]",
		" two\r\nlines\x00é… ": "two  lines???",
		"":                     "",
	} {
		if got := objectstore.MetadataText(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := objectstore.MetadataText(strings.Repeat("é", 2000)); got != strings.Repeat("?", 500) {
		t.Errorf("a long text has %d bytes", len(got))
	}
}
