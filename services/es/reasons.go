package es

import (
	"errors"
	"strconv"
	"strings"

	"hydrant/shared/objectstore"
)

// mostReasons bounds the different reasons that are kept of one batch.
const mostReasons = 512

// reason is why a document is not in the index. Documents that fail alike share one.
type reason struct {
	Final    bool   // it is not sent again
	Status   int    // HTTP's, of the document's answer or of the request's; without an answer one of those below
	Text     string // in Elasticsearch's words, with idMark for the document's id
	Attempts int    // how often a document was sent; counted for the final ones only
}

// What stands for a status where there was no answer. HTTP's begin at 100.
const (
	noAnswer  = iota // none came, or none that could be read
	noRole           // the role of the delivery stream may not be assumed
	noAddress        // nobody has said where the domain is
	notAsked         // another reason not to ask
)

// statusOf is the status of what kept documents from being indexed.
func statusOf(err error) int {
	var r *refusal
	var domain *unknownDomainError
	var unsigned *signError
	switch {
	case errors.As(err, &domain):
		return noAddress
	case !errors.As(err, &r):
		return notAsked
	case r.err == nil:
		return r.status
	case r.lasting():
		return noRole
	case errors.As(err, &unsigned):
		return notAsked
	}
	return noAnswer
}

// idMark stands for the id of the document in a reason's text: Elasticsearch names it in many, which would else all differ.
const idMark = "\x00"

// code is the guide's error code: the status that the server gave, or would have given. Where there was no answer it is the
// code of the error log: a number would be taken for the server's.
func (r reason) code() string {
	switch r.Status {
	case noAnswer:
		return codeConnection
	case noRole:
		return codeAccessDenied
	case noAddress:
		return codeUnknownDomain
	case notAsked:
		return objectstore.CodeInternal
	}
	return strconv.Itoa(r.Status)
}

// message is the text for one document.
func (r reason) message(id string) string { return strings.ReplaceAll(r.Text, idMark, id) }

// logged is the text for a log: of no document in particular, and without any of it.
func (r reason) logged() string {
	return withoutValues(strings.ReplaceAll(r.Text, idMark, "…"))
}

// reasonOf is the reason in an answer for one document.
func reasonOf(a itemAnswer, id string, final bool, attempts int) reason {
	text := a.reason
	if a.kind != "" {
		text = a.kind + ": " + text
	}
	if text == "" {
		text = "status " + strconv.Itoa(a.status)
	}
	r := reason{Final: final, Status: a.status, Text: text}
	if id != "" {
		r.Text = strings.ReplaceAll(text, id, idMark)
	}
	if final {
		r.Attempts = attempts
	}
	return r
}

// mostAlike is how much of two texts has to be alike.
const mostAlike = 256

// alike is what makes a reason the same as another, whose words then stand for both. A busy server says the same in other words
// each time: Elasticsearch names the task, the time to the nanosecond and addresses of objects, so that the refusals of an hour
// would leave no room for reasons which do differ.
func (r reason) alike() reason {
	for _, kind := range []string{"rejected_execution_exception", "circuit_breaking_exception"} {
		if !r.Final && strings.Contains(r.Text, kind) {
			r.Text = withoutDigits(r.Text)
			r.Text = r.Text[:min(len(r.Text), mostAlike)]
			break
		}
	}
	return r
}

// withoutDetail is what is kept of a reason when there are very many: without what its text quotes, and at last its kind alone.
func (r reason) withoutDetail() []reason {
	plain, short := r, r
	plain.Text = withoutValues(r.Text)
	var out strings.Builder
	for i, part := range strings.Split(plain.Text, "[") {
		if i > 0 {
			_, after, closed := strings.Cut(part, "]")
			out.WriteString("[…]")
			if closed {
				part = after
			} else {
				part = ""
			}
		}
		out.WriteString(part)
	}
	plain.Text = out.String()
	short.Text, _, _ = strings.Cut(plain.Text, ":")
	return []reason{plain, short}
}
