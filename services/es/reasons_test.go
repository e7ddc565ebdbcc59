package es

import (
	"errors"
	"fmt"
	"testing"

	"hydrant/shared/objectstore"
)

// The code of a failed document is the server's status, or says that there is none.
func TestCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"an answer", &refusal{status: 503}, "503"},
		{"no answer", &refusal{err: errors.New("connection refused")}, codeConnection},
		{"no answer that could be read", fmt.Errorf("pass: %w", &refusal{err: errAnswer}), codeConnection},
		{"no address", &unknownDomainError{domain}, codeUnknownDomain},
		{"an address that is none", errors.New("the cluster's address is not one that can be used"), objectstore.CodeInternal},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantEqual(t, "the code", reason{Status: statusOf(c.err)}.code(), c.want)
		})
	}
}
