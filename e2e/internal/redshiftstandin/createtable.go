package redshiftstandin

import "strings"

// createsTable tells whether a statement is CREATE [LOCAL] [TEMPORARY | TEMP] TABLE.
func createsTable(s statement) bool {
	return s.begins("create", "table") || s.begins("create", "temp", "table") || s.begins("create", "temporary", "table") ||
		s.begins("create", "local", "temp", "table") || s.begins("create", "local", "temporary", "table")
}

// rewriteCreateTable takes out of CREATE TABLE what Redshift accepts and does not enforce, which are primary, unique and foreign
// keys, and what PostgreSQL does not know: how rows are distributed, sorted and encoded. The columns of a primary key are NOT NULL.
func rewriteCreateTable(s statement) string {
	open := first(s.tokens, func(t token) bool { return t.isSymbol("(") || t.is("as") })
	if open == len(s.tokens) {
		return s.text()
	}
	if s.tokens[open].is("as") || !definesColumns(s.tokens, open) {
		return tableAs(s)
	}
	elements, end := elementsOf(s.tokens, open)
	keys := primaryKeys(elements)
	var columns []string
	for _, e := range elements {
		if text := rewriteElement(s.sql, e, keys); text != "" {
			columns = append(columns, text)
		}
	}
	return s.sql[s.start():s.tokens[open].end] + strings.Join(columns, ", ") + ")" + tail(s, end+1)
}

// definesColumns tells an opening parenthesis of column definitions from one of a table attribute, or of a list of names before
// AS: a definition has a type after its name, or is LIKE.
func definesColumns(tokens []token, open int) bool {
	if open > 0 && (tokens[open-1].is("distkey") || tokens[open-1].is("sortkey")) {
		return false
	}
	return open+2 < len(tokens) && !tokens[open+2].isSymbol(",") && !tokens[open+2].isSymbol(")")
}

// tableAs is CREATE TABLE … AS without the attributes that Redshift allows before AS.
func tableAs(s statement) string {
	as := first(s.tokens, func(t token) bool { return t.is("as") })
	var edits []edit
	for i := 0; i < as; {
		if n := attribute(s.tokens[i:as]); n > 0 {
			edits = append(edits, edit{s.tokens[i].start - s.start(), s.tokens[i+n-1].end - s.start(), ""})
			i += n
			continue
		}
		i++
	}
	return apply(s.text(), edits)
}

// tail is what stays of the table attributes after the column definitions.
func tail(s statement, from int) string {
	var b strings.Builder
	for i := from; i < len(s.tokens); {
		if n := attribute(s.tokens[i:]); n > 0 {
			i += n
			continue
		}
		b.WriteString(" " + s.sql[s.tokens[i].start:s.tokens[i].end])
		i++
	}
	return b.String()
}

// attribute is how many tokens an attribute of Redshift takes that the tokens begin with, 0 if they begin with none.
func attribute(tokens []token) int {
	switch t := tokens[0]; {
	case t.is("backup"), t.is("diststyle"), t.is("encode"):
		return min(2, len(tokens))
	case t.is("distkey"):
		return 1 + group(tokens[1:])
	case (t.is("compound") || t.is("interleaved")) && len(tokens) > 1 && tokens[1].is("sortkey"):
		return 2 + group(tokens[2:])
	case t.is("sortkey") && len(tokens) > 1 && tokens[1].is("auto"):
		return 2
	case t.is("sortkey"):
		return 1 + group(tokens[1:])
	}
	return 0
}

// group is how many tokens the parentheses take that the tokens begin with, 0 if they begin with none.
func group(tokens []token) int {
	if len(tokens) == 0 || !tokens[0].isSymbol("(") {
		return 0
	}
	depth := 0
	for i, t := range tokens {
		switch {
		case t.isSymbol("("):
			depth++
		case t.isSymbol(")"):
			depth--
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(tokens)
}

// elementsOf cuts what is between parentheses at its commas. end is where the closing one is.
func elementsOf(tokens []token, open int) (elements [][]token, end int) {
	end = open + group(tokens[open:]) - 1
	if !tokens[end].isSymbol(")") {
		end = len(tokens) // it is not closed: PostgreSQL will say so
	}
	from, depth := open+1, 0
	for i := from; i < end; i++ {
		switch t := tokens[i]; {
		case t.isSymbol("("):
			depth++
		case t.isSymbol(")"):
			depth--
		case t.isSymbol(",") && depth == 0:
			elements = append(elements, tokens[from:i])
			from = i + 1
		}
	}
	return append(elements, tokens[from:end]), end
}

// primaryKeys are the columns that a table constraint makes the primary key, by name.
func primaryKeys(elements [][]token) map[string]bool {
	keys := map[string]bool{}
	for _, e := range elements {
		e = withoutName(e)
		if len(e) < 2 || !e[0].is("primary") || !e[1].is("key") {
			continue
		}
		for _, t := range e[2:] {
			if t.kind == word || t.kind == quoted {
				keys[t.value] = true
			}
		}
	}
	return keys
}

// withoutName takes the name of a constraint off.
func withoutName(e []token) []token {
	if len(e) > 2 && e[0].is("constraint") {
		return e[2:]
	}
	return e
}

// rewriteElement is a column definition, or a table constraint, as PostgreSQL is sent it; empty if nothing is left of it.
func rewriteElement(sql string, e []token, keys map[string]bool) string {
	if body := withoutName(e); len(body) > 0 && isKeyConstraint(body) {
		return ""
	}
	var parts []string
	for i := 0; i < len(e); {
		part, n := columnPart(sql, e, i)
		if part != "" {
			parts = append(parts, part)
		}
		i += n
	}
	if len(e) > 0 && keys[e[0].value] {
		parts = append(parts, "NOT NULL")
	}
	return strings.Join(parts, " ")
}

func isKeyConstraint(body []token) bool {
	two := func(a, b string) bool { return len(body) > 1 && body[0].is(a) && body[1].is(b) }
	return two("primary", "key") || two("foreign", "key") || len(body) > 1 && body[0].is("unique") && body[1].isSymbol("(")
}

// columnPart is the part of a column definition at a place, rewritten, and how many tokens it took.
func columnPart(sql string, e []token, i int) (string, int) {
	if i == 0 {
		return sql[e[0].start:e[0].end], 1 // its name, which may be that of an attribute
	}
	rest := e[i:]
	switch t := rest[0]; {
	case t.is("constraint") && len(rest) > 2 && constrains(rest[2:]):
		return "", 2
	case t.is("primary") && len(rest) > 1 && rest[1].is("key"):
		return "NOT NULL", 2
	case t.is("unique"):
		return "", 1
	case t.is("references"):
		return "", reference(rest)
	case t.is("identity"):
		return "GENERATED ALWAYS AS IDENTITY" + identityRange(rest[1:]), 1 + group(rest[1:])
	case t.is("as") && len(rest) > 1 && rest[1].is("identity"):
		return "AS IDENTITY" + identityRange(rest[2:]), 2 + group(rest[2:])
	case t.is("max") && i > 1 && e[i-1].isSymbol("("):
		return "65535", 1 // varchar(max)
	}
	if n := attribute(rest); n > 0 {
		return "", n
	}
	return sql[rest[0].start:rest[0].end], 1
}

func constrains(body []token) bool {
	return body[0].is("primary") || body[0].is("unique") || body[0].is("references")
}

// reference is how many tokens REFERENCES schema.table (column) takes.
func reference(tokens []token) int {
	n := min(2, len(tokens))
	if n+1 < len(tokens) && tokens[n].isSymbol(".") {
		n += 2
	}
	return n + group(tokens[n:])
}

// identityRange turns (seed, step) into PostgreSQL's options.
func identityRange(tokens []token) string {
	if n := group(tokens); n == 5 && tokens[2].isSymbol(",") {
		return " (START WITH " + tokens[1].value + " INCREMENT BY " + tokens[3].value + ")"
	}
	return ""
}

// first is the index of the first token that fits, or how many there are.
func first(tokens []token, fits func(token) bool) int {
	for i, t := range tokens {
		if fits(t) {
			return i
		}
	}
	return len(tokens)
}
