package redshift

import (
	"errors"
	"strings"
)

// options is what the service has to know of the owner's CopyOptions.
type options struct {
	manifest    bool // MANIFEST is among them
	credentials bool // they say by themselves who asks S3
}

var errOptions = errors.New("CopyOptions: it would not end where the COPY does; remove semicolons, comments and dollar signs outside quotes, and close every quote")

// readOptions refuses options that would end the statement, or swallow what follows it: what is loaded and the note of it are one
// transaction, which nothing in the options may take apart. A backslash between quotes is an escape to Redshift and none
// to PostgreSQL; the options must do no harm to either.
func readOptions(text string) (options, error) {
	plain, ok := outsideQuotes(text, false)
	escaped, alike := outsideQuotes(text, true)
	if !ok || !alike || unsafe(plain) || unsafe(escaped) {
		return options{}, errOptions
	}
	var o options
	for _, word := range strings.FieldsFunc(plain, func(r rune) bool { return r != '_' && (r < 'A' || r > 'Z') }) {
		switch word {
		case "MANIFEST":
			o.manifest = true
		case "CREDENTIALS", "IAM_ROLE", "ACCESS_KEY_ID":
			o.credentials = true
		}
	}
	return o, nil
}

func unsafe(outside string) bool {
	return strings.ContainsAny(outside, ";\x00") || strings.Contains(outside, "--") || strings.Contains(outside, "/*") || dollarQuote(outside)
}

// dollarQuote tells a dollar sign that may begin a quoted string: one that is not inside a word.
func dollarQuote(outside string) bool {
	for i := range len(outside) {
		if outside[i] == '$' && (i == 0 || !inWord(outside[i-1])) {
			return true
		}
	}
	return false
}

func inWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// outsideQuotes is the text, in capitals, with a space for each string and quoted name in it; ok is false where one does not
// end.
func outsideQuotes(text string, backslash bool) (outside string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		quote := text[i]
		if quote != '\'' && quote != '"' {
			b.WriteByte(quote)
			continue
		}
		for i++; i < len(text) && text[i] != quote; i++ {
			if backslash && quote == '\'' && text[i] == '\\' {
				i++
			}
		}
		if i >= len(text) {
			return "", false
		}
		b.WriteByte(' ')
	}
	return strings.ToUpper(b.String()), true
}
