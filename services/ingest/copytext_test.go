package ingest

import (
	"regexp"
	"strings"
	"testing"
)

func TestStatementParts(t *testing.T) {
	const (
		ends, comment, open = "it has a semicolon outside quotes, which ends the statement", "it has a comment", "it has a quote that is not closed"
		slash               = `it has \' in quotes, which servers read in different ways: write '' for a quote`
		dollar, zero        = "it has a $ outside quotes, which begins another way of quoting", "it has a character of code 0"
	)
	for text, want := range map[string]string{
		"": "", "clicks": "", "public.clicks": "", `"My Table".t`: "", "a, b, c": "", "a$b": "", "ü$": "",
		"JSON 's3://bucket/paths.json' GZIP REGION 'us-east-1'": "",
		`DELIMITER ';' QUOTE '"' NULL AS '--'`:                  "",
		`DELIMITER '\t'`:                                        "",
		`ESCAPE '\\'`:                                           "",
		`NULL '''' DELIMITER '/*'`:                              "",
		`"a;""b"`:                                               "",
		`"a\"`:                                                  "",
		`TIMEFORMAT 'YYYY-MM-DD HH:MI:SS' MAXERROR 5 -1 / 2`: "",
		"CSV;":            ends,
		"'a';'b'":         ends,
		"CSV -- x":        comment,
		"CSV /* x":        comment,
		"'a":              open,
		`"a`:              open,
		`'a"`:             open,
		`'a''`:            open,
		`'\''`:            slash,
		`'\'; x; --'`:     slash,
		`'\\\' ; '`:       slash,
		`'a''\'`:          slash,
		`$$ ' $$ ; '`:     dollar,
		`x $tag$ ; $tag$`: dollar,
		"a\x00b":          zero,
		"'a\x00b'":        zero,
	} {
		if got := statementProblem(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// The words of a statement as PostgreSQL's own reading of it has them, once without and once with backslashes that escape.
var (
	plainWords   = regexp.MustCompile(`^(?s:'(?:[^']|'')*'|"(?:[^"]|"")*"|(?:[A-Za-z_0-9$]|[^\x00-\x7f])+|.)`)
	escapedWords = regexp.MustCompile(`^(?s:'(?:[^'\\]|\\.|'')*'|"(?:[^"]|"")*"|(?:[A-Za-z_0-9$]|[^\x00-\x7f])+|.)`)
)

// FuzzStatementProblem shows that what is taken has the same words for every server, none of which ends the statement.
func FuzzStatementProblem(f *testing.F) {
	for _, text := range []string{"a,b", `"a;""b"`, `'\\'`, `'\'';`, "$$;$$", "-- x", "a/*b", `'a''b' GZIP`, `'\\\\''' ;`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if statementProblem(text) != "" {
			return
		}
		for rest := text; rest != ""; {
			word := plainWords.FindString(rest)
			if other := escapedWords.FindString(rest); other != word {
				t.Fatalf("%q has %q or %q", text, word, other)
			}
			comment := strings.HasPrefix(rest, "--") || strings.HasPrefix(rest, "/*")
			if strings.ContainsRune(word, 0) || comment || len(word) == 1 && strings.ContainsAny(word, `;'"$`) {
				t.Fatalf("%q has %q", text, word)
			}
			rest = rest[len(word):]
		}
	})
}
