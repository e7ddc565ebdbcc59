package redshift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/lib/pq"

	"hydrant/shared/delivery"
)

// failure is why objects were not loaded.
type failure struct {
	verdict
	err      error  // without any secret
	message  string // for the owner, where it is not the code's
	stopping bool   // the service ends, or the objects may be another's: it says nothing of them
}

// describe is what a failure is told as.
func (f *failure) describe() *delivery.Error {
	e := &delivery.Error{Class: delivery.Retryable, Code: f.code, Message: f.message, Err: f.err}
	if e.Message == "" {
		e.Message = message(f.code)
	}
	return e
}

// because is the failure with something that has to be known of it, told first: what is too long is cut off at its end.
func (f *failure) because(what string) *failure {
	more := *f
	more.err = fmt.Errorf("%s: %w", what, f.err)
	return &more
}

// failed judges an error of a load. Whatever the server said is in it without the secrets.
func failed(ctx context.Context, err error, hidden secrets) *failure {
	var known *delivery.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, delivery.ErrNotHeld), ctx.Err() != nil:
		return &failure{verdict: verdict{codeInternal, ofAll}, err: err, stopping: true}
	case errors.As(err, &known):
		return &failure{verdict: verdict{known.Code, ofAll}, err: cmp.Or(known.Err, err), message: known.Message}
	}
	v := judge(err)
	var of *ledgerError
	if errors.As(err, &of) && !v.ofCluster() {
		v = verdict{codeLedger, ofAll}
	}
	said := words(err)
	if v.scope == ofSome { // the data's fault, or that of what nobody knows
		for i := range said {
			said[i] = withoutValues(said[i])
		}
	}
	return &failure{verdict: v, err: errors.New(hidden.scrub(strings.Join(said, "; ")))}
}

// withoutValues leaves out what a server quotes of the data that it could not load, up to the last quote there is: a value may have some
// of its own.
func withoutValues(said string) string {
	for _, quoted := range []string{`(: |[Vv]alue )(?:".*"|"[^"]*$)`, `(: |[Vv]alue )(?:'.*'|'[^']*$)`, `([Rr]ow contains |\)=)(?:\(.*\)|\([^)]*$)`} {
		said = regexp.MustCompile(`(?s)`+quoted).ReplaceAllString(said, "$1(not shown)")
	}
	return said
}

// words are the server's own, the reasons before the detail, which is long: what is too long is cut off at its end.
func words(err error) []string {
	var from *pq.Error
	if !errors.As(err, &from) {
		return []string{err.Error()}
	}
	said := []string{fmt.Sprintf("%s (SQLSTATE %s)", from.Message, from.Code)}
	var more *reasonsError
	if errors.As(err, &more) {
		said = append(said, more.reasons...)
	}
	for _, text := range []string{from.Detail, from.Hint} {
		if text != "" {
			said = append(said, text)
		}
	}
	return said
}

// ledgerError says that it is the ledger which cannot be used, and not the table to load into.
type ledgerError struct{ err error }

func (e *ledgerError) Error() string { return "the ledger: " + e.err.Error() }

// Unwrap returns the cause.
func (e *ledgerError) Unwrap() error { return e.err }
