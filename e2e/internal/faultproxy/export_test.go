package faultproxy

import (
	"bytes"
	"io"
	"testing"
)

// ReadMessage reads one message of PostgreSQL's protocol.
func ReadMessage(from io.Reader, typed int) ([]byte, error) { return readMessage(from, typed) }

// WithholdForTest takes a request apart and puts it and an answer together: of what is not withheld every byte is forwarded,
// in order, and each document gets an answer only if it was withheld or the node had one.
func WithholdForTest(t *testing.T, request, answer []byte) {
	items, ok := splitBulk(request)
	if !ok {
		return
	}
	rest := request
	withheld := 0
	for _, item := range items {
		if !bytes.HasPrefix(rest, item.lines) {
			t.Fatalf("%q is not what %q goes on with", item.lines, rest)
		}
		rest = rest[len(item.lines):]
		if item.withheld {
			withheld++
		}
	}
	if len(rest) > 0 || len(forwarded(items)) > len(request) || withheld > len(items)/2 {
		t.Fatalf("%d of %d withheld, %d bytes left", withheld, len(items), len(rest))
	}
	_, _ = splice(items, answer)
}
