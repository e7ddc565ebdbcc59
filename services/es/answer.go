package es

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// mostReason bounds the words that are kept of a server's answer.
const mostReason = 1000

// itemAnswer is what the server says of one document.
type itemAnswer struct {
	status int
	kind   string // of the error: mapper_parsing_exception
	reason string // its words, with those of its cause
}

// errAnswer is what readAnswer returns for an answer from which nothing is known: of the request's documents any may be indexed.
var errAnswer = errors.New("the answer to a bulk request cannot be read")

// readAnswer reads the answer to a bulk request. Answers to documents have no names but their order, so all of them are read
// and counted before any is believed. An answer that breaks off, has another number of items or, where the server was given
// ids, another id in some place says nothing.
func readAnswer(body io.Reader, sent *request, into []itemAnswer) ([]itemAnswer, error) {
	d := jsontext.NewDecoder(body, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	a := answerReader{Decoder: d, sent: sent, answers: into[:0]}
	if err := a.object(a.top); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	if len(a.answers) != len(sent.items) {
		return nil, fmt.Errorf("%w: it tells of %d documents, and %d were sent", errAnswer, len(a.answers), len(sent.items))
	}
	return a.answers, nil
}

type answerReader struct {
	*jsontext.Decoder
	sent    *request
	answers []itemAnswer
}

// object reads an object, and calls member for each name, which reads the value.
func (a *answerReader) object(member func(name string) error) error {
	if err := a.begin('{'); err != nil {
		return err
	}
	for a.PeekKind() != '}' {
		name, err := a.ReadToken()
		if err != nil {
			return err
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	_, err := a.ReadToken()
	return err
}

func (a *answerReader) begin(kind jsontext.Kind) error {
	token, err := a.ReadToken()
	if err == nil && token.Kind() != kind {
		err = fmt.Errorf("%s instead of %s", token.Kind(), kind)
	}
	return err
}

func (a *answerReader) top(name string) error {
	if name != "items" {
		return a.SkipValue()
	}
	if err := a.begin('['); err != nil {
		return err
	}
	for a.PeekKind() != ']' {
		if len(a.answers) == len(a.sent.items) {
			return fmt.Errorf("it tells of more than the %d documents that were sent", len(a.sent.items))
		}
		a.answers = append(a.answers, itemAnswer{})
		if err := a.object(a.action); err != nil {
			return err
		}
		if a.last().status == 0 {
			return errors.New("it has no status for a document")
		}
	}
	_, err := a.ReadToken()
	return err
}

func (a *answerReader) last() *itemAnswer { return &a.answers[len(a.answers)-1] }

// action reads what is under create.
func (a *answerReader) action(string) error { return a.object(a.item) }

func (a *answerReader) item(name string) error {
	switch name {
	case "status":
		return a.status()
	case "_id":
		return a.checkID()
	case "error":
		return a.failure()
	default:
		return a.SkipValue()
	}
}

func (a *answerReader) status() error {
	token, err := a.ReadToken()
	if err != nil {
		return err
	}
	status, err := strconv.Atoi(token.String())
	if token.Kind() != '0' || err != nil || status < 100 || status > 999 {
		return errors.New("a status is not one of HTTP's")
	}
	a.last().status = status
	return nil
}

// checkID finds an answer whose order is another than the request's.
func (a *answerReader) checkID() error {
	value, err := a.ReadValue()
	if err != nil {
		return err
	}
	id := a.sent.id(len(a.answers) - 1)
	if len(id) == 0 || len(value) == len(id)+2 && string(value[1:len(value)-1]) == string(id) {
		return nil
	}
	return errors.New("the documents in it are others than those that were sent, or in another order")
}

// failure reads an error, which is an object and was once a text.
func (a *answerReader) failure() error {
	if a.PeekKind() == '"' {
		return a.text(&a.last().reason)
	}
	return a.object(func(name string) error {
		switch name {
		case "type":
			return a.text(&a.last().kind)
		case "reason":
			return a.text(&a.last().reason)
		case "caused_by":
			return a.cause()
		default:
			return a.SkipValue()
		}
	})
}

// cause appends the first cause, which often says what the error itself does not.
func (a *answerReader) cause() error {
	if a.PeekKind() != '{' {
		return a.SkipValue()
	}
	var kind, reason string
	err := a.object(func(name string) error {
		switch name {
		case "type":
			return a.text(&kind)
		case "reason":
			return a.text(&reason)
		default:
			return a.SkipValue()
		}
	})
	if kind != "" || reason != "" {
		item := a.last()
		item.reason = bounded(item.reason + " (caused by " + kind + ": " + reason + ")")
	}
	return err
}

// text reads a text, and nothing else into it than one.
func (a *answerReader) text(into *string) error {
	if a.PeekKind() != '"' {
		return a.SkipValue()
	}
	token, err := a.ReadToken()
	if err == nil {
		*into = bounded(withoutSource(token.String())) + *into
	}
	return err
}
