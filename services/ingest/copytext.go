package ingest

import "strings"

// statementProblem says why a text cannot be part of a COPY statement, or returns nothing. What is refused would end the
// statement, hide the rest of it, or be read as something else by one server than by another: the COPY is followed, in the
// same query, by what keeps objects from being loaded twice.
//
// Redshift takes a backslash before a quote for part of the text, and PostgreSQL takes it so or not, by a setting of the
// server's. Where both readings are the same, as with an even number of them, it may stand.
func statementProblem(text string) string {
	for at := 0; at < len(text); {
		switch c := text[at]; {
		case c == 0:
			return "it has a character of code 0"
		case c == '\'' || c == '"':
			length, problem := quotedLength(text[at:])
			if problem != "" {
				return problem
			}
			at += length
			continue
		case c == ';':
			return "it has a semicolon outside quotes, which ends the statement"
		case strings.HasPrefix(text[at:], "--"), strings.HasPrefix(text[at:], "/*"):
			return "it has a comment"
		case c == '$' && (at == 0 || !inWord(text[at-1])):
			return "it has a $ outside quotes, which begins another way of quoting"
		}
		at++
	}
	return ""
}

// inWord tells whether a character belongs to the word before it, in which a $ is one as others.
func inWord(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// quotedLength returns the length of what a text begins with, from its quote up to the one that closes it. A quote that is
// doubled inside reads as the end of one and the beginning of another, which comes to the same.
func quotedLength(text string) (length int, problem string) {
	quote, backslashes := text[0], 0
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == 0:
			return 0, "it has a character of code 0"
		case c == '\\':
			backslashes++
			continue
		case c == quote && quote == '\'' && backslashes%2 == 1:
			return 0, `it has \' in quotes, which servers read in different ways: write '' for a quote`
		case c == quote:
			return i + 1, ""
		}
		backslashes = 0
	}
	return 0, "it has a quote that is not closed"
}
