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

// withoutSource is a server's words without the place of a parse error. Elasticsearch up to 7 quotes there the beginning of the
// whole request, and so other documents than the one that it is about.
func withoutSource(text string) string {
	before, _, _ := strings.Cut(text, "at [Source:")
	return strings.TrimRight(before, whitespace)
}

// withoutValues is a server's words without what they repeat of a document: for logs, where no record's bytes are to be. In the
// file of failed documents, beside the documents themselves, the words are whole.
func withoutValues(text string) string {
	for _, from := range []string{"Preview of field's value:", "source=", "source[", "For input string:"} {
		before, _, found := strings.Cut(text, from)
		if found {
			text = before + "…"
		}
	}
	return text
}

// withoutDigits is a text without the digits of any number up to the base of 16, for comparing, not for reading.
func withoutDigits(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'f' {
			return -1
		}
		return r
	}, text)
}
