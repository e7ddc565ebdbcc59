package redshiftstandin

import (
	"strings"
	"unicode/utf8"
)

// kind is what a token is.
type kind int

const (
	word    kind = iota // an identifier or a keyword without quotes
	quoted              // "an identifier"
	literal             // 'a string', E'a string', $$a string$$
	number              // digits with what belongs to them
	symbol              // one character of anything else
)

// token is a piece of SQL between white space and comments.
type token struct {
	kind       kind
	value      string // a word in lower case, an identifier or a string without quotes, else as it is
	start, end int    // where it stands
}

// is tells whether the token is a word without quotes.
func (t token) is(name string) bool { return t.kind == word && t.value == name }

// isSymbol tells whether the token is a character.
func (t token) isSymbol(c string) bool { return t.kind == symbol && t.value == c }

// lexer cuts SQL into tokens.
type lexer struct {
	sql string
	at  int
}

// tokenize cuts SQL as PostgreSQL does, with standard_conforming_strings on. Comments are left out.
func tokenize(sql string) ([]token, error) {
	l := lexer{sql: sql}
	var tokens []token
	for {
		if err := l.skip(); err != nil {
			return nil, err
		}
		if l.at == len(sql) {
			return tokens, nil
		}
		t, err := l.next()
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
	}
}

// skip passes white space and comments.
func (l *lexer) skip() error {
	for l.at < len(l.sql) {
		switch rest := l.sql[l.at:]; {
		case isSpace(rest[0]):
			l.at++
		case strings.HasPrefix(rest, "--"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			l.at += end
		case strings.HasPrefix(rest, "/*"):
			if err := l.skipComment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// skipComment passes a comment, and those within it.
func (l *lexer) skipComment() error {
	start, depth := l.at, 0
	for l.at < len(l.sql) {
		switch rest := l.sql[l.at:]; {
		case strings.HasPrefix(rest, "/*"):
			depth++
			l.at += 2
		case strings.HasPrefix(rest, "*/"):
			depth--
			l.at += 2
			if depth == 0 {
				return nil
			}
		default:
			l.at++
		}
	}
	return unterminated("/* comment", l.sql, start)
}

func (l *lexer) next() (token, error) {
	start := l.at
	switch c := l.sql[start]; {
	case c == '\'':
		return l.stringLiteral(start, false)
	case c == '"':
		return l.quoted(quoted, '"', start, false)
	case (c == 'e' || c == 'E') && strings.HasPrefix(l.sql[start+1:], "'"):
		l.at++
		return l.stringLiteral(start, true)
	case c == '$':
		if t, found, err := l.dollar(start); found || err != nil {
			return t, err
		}
	case isDigit(c) || c == '.' && start+1 < len(l.sql) && isDigit(l.sql[start+1]):
		return l.take(number, func(c byte) bool { return isWord(c) || c == '.' }), nil
	case isWord(c):
		t := l.take(word, isWord)
		t.value = lower(t.value)
		return t, nil
	}
	_, size := utf8.DecodeRuneInString(l.sql[start:])
	l.at += size
	return token{symbol, l.sql[start:l.at], start, l.at}, nil
}

// take makes a token of all that belongs.
func (l *lexer) take(k kind, belongs func(byte) bool) token {
	start := l.at
	for l.at < len(l.sql) && belongs(l.sql[l.at]) {
		l.at++
	}
	return token{k, l.sql[start:l.at], start, l.at}
}

func (l *lexer) stringLiteral(start int, escapes bool) (token, error) {
	return l.quoted(literal, '\'', start, escapes)
}

// quoted reads from a quote to the next that is not doubled and, where there are escapes, not escaped.
func (l *lexer) quoted(k kind, quote byte, start int, escapes bool) (token, error) {
	var value strings.Builder
	l.at++
	for l.at < len(l.sql) {
		c := l.sql[l.at]
		l.at++
		switch {
		case c == quote && l.at < len(l.sql) && l.sql[l.at] == quote:
			l.at++
			value.WriteByte(quote)
		case c == quote:
			return token{k, value.String(), start, l.at}, nil
		case c == '\\' && escapes && l.at < len(l.sql):
			value.WriteByte(unescape(l.sql[l.at]))
			l.at++
		default:
			value.WriteByte(c)
		}
	}
	return token{}, unterminated("quoted string", l.sql, start)
}

// unescape is what a letter after a backslash stands for. Numbers are not known, as nothing here reads them.
func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// dollar reads a string such as $tag$it's$tag$, if there is one. Else the dollar is of a parameter such as $1.
func (l *lexer) dollar(start int) (token, bool, error) {
	end := start + 1
	for end < len(l.sql) && isWord(l.sql[end]) && l.sql[end] != '$' {
		end++
	}
	if end == len(l.sql) || l.sql[end] != '$' || end > start+1 && isDigit(l.sql[start+1]) {
		return token{}, false, nil
	}
	tag := l.sql[start : end+1]
	length := strings.Index(l.sql[end+1:], tag)
	if length < 0 {
		return token{}, true, unterminated("dollar-quoted string", l.sql, start)
	}
	value := l.sql[end+1 : end+1+length]
	l.at = end + 1 + length + len(tag)
	return token{literal, value, start, l.at}, true, nil
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWord(c byte) bool {
	return c == '_' || c == '$' || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

// lower is what an identifier without quotes is called: letters of ASCII fold, no others.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
