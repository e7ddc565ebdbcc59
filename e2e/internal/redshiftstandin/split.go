package redshiftstandin

import "strings"

// statement is one of the statements of a query string.
type statement struct {
	sql    string  // the whole query string
	tokens []token // of this statement, at least one
}

// text is the statement without what is around it.
func (s statement) text() string { return s.sql[s.start():s.end()] }

func (s statement) start() int { return s.tokens[0].start }

func (s statement) end() int { return s.tokens[len(s.tokens)-1].end }

// begins tells whether the statement begins with these words.
func (s statement) begins(words ...string) bool {
	if len(s.tokens) < len(words) {
		return false
	}
	for i, w := range words {
		if !s.tokens[i].is(w) {
			return false
		}
	}
	return true
}

// split cuts a query string into its statements.
func split(sql string) ([]statement, error) {
	tokens, err := tokenize(sql)
	if err != nil {
		return nil, err
	}
	var statements []statement
	first := 0
	for i := 0; i <= len(tokens); i++ {
		if i < len(tokens) && !tokens[i].isSymbol(";") {
			continue
		}
		if i > first {
			statements = append(statements, statement{sql, tokens[first:i]})
		}
		first = i + 1
	}
	return statements, nil
}

// control is what a statement does to the transaction.
type control int

const (
	noControl control = iota
	beginControl
	endControl // COMMIT or ROLLBACK
)

func (s statement) control() control {
	switch {
	case s.begins("begin"), s.begins("start", "transaction"):
		return beginControl
	case s.begins("commit"), s.begins("end"), s.begins("abort"):
		return endControl
	case s.begins("rollback"):
		for _, t := range s.tokens[1:] {
			if t.is("to") {
				return noControl
			}
		}
		return endControl
	}
	return noControl
}

// edit is a replacement within a query string.
type edit struct {
	start, end int
	text       string
}

// apply makes edits, which are in order and do not overlap.
func apply(sql string, edits []edit) string {
	var b strings.Builder
	at := 0
	for _, e := range edits {
		b.WriteString(sql[at:e.start])
		b.WriteString(e.text)
		at = e.end
	}
	b.WriteString(sql[at:])
	return b.String()
}
