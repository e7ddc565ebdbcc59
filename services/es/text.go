package es

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// quoted is a text as JSON has it. What is not UTF-8 becomes the replacement character.
func quoted(text string) []byte {
	out, _ := jsontext.AppendQuote(nil, text) // its error is that the text is not UTF-8
	return out
}

// bounded is the beginning of a text that somebody else wrote.
func bounded(text string) string {
	if len(text) <= mostReason {
		return text
	}
	end := mostReason
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// withoutValues is a server's words without what they repeat of a document: for logs, where no record's bytes are to be. In the
// file of failed documents, beside the documents themselves, the words are whole.
func withoutValues(text string) string {
	for _, from := range []string{"Preview of field's value:", "at [Source:", "source=", "For input string:"} {
		before, _, found := strings.Cut(text, from)
		if found {
			text = before + "…"
		}
	}
	return text
}
