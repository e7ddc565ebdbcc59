package redshiftstandin

import "strings"

// rewrite is what PostgreSQL is sent for a statement so that it does what Redshift would, or the error that Redshift gives.
// COPY is not its concern.
func rewrite(s statement) (string, *dbError) {
	if err := refuse(s); err != nil {
		return "", err
	}
	switch {
	case createsTable(s):
		return rewriteCreateTable(s), nil
	case s.begins("alter", "table"):
		return rewriteAlterTable(s), nil
	case s.begins("begin"), s.begins("start", "transaction"), s.begins("set", "transaction"), s.begins("set", "session"):
		return rewriteIsolation(s), nil
	}
	return s.text(), nil
}

// refuse finds what PostgreSQL has and Redshift has not, as far as somebody who writes a loader may come across it.
func refuse(s statement) *dbError {
	switch {
	case s.begins("savepoint"), s.begins("create", "index"), s.begins("create", "unique", "index"), s.begins("create", "trigger"):
		return failed(codeUnsupported, "SQL command \"%s\" not supported.", s.text())
	case s.begins("lock"):
		return refuseWord(s, 1, "in") // LOCK has no modes: it always is exclusive
	case s.begins("insert"):
		if err := refuseWord(s, 1, "returning"); err != nil {
			return err
		}
		return refusePair(s, "on", "conflict")
	case s.begins("update"), s.begins("delete"):
		return refuseWord(s, 1, "returning")
	}
	return nil
}

func refuseWord(s statement, from int, name string) *dbError {
	for i := from; i < len(s.tokens); i++ {
		if s.tokens[i].is(name) {
			return syntaxError(s.sql, s.tokens, i)
		}
	}
	return nil
}

func refusePair(s statement, first, second string) *dbError {
	for i := 1; i < len(s.tokens); i++ {
		if s.tokens[i-1].is(first) && s.tokens[i].is(second) {
			return syntaxError(s.sql, s.tokens, i-1)
		}
	}
	return nil
}

// rewriteIsolation has transactions run at REPEATABLE READ whatever level they ask for: in Redshift the level is the database's.
func rewriteIsolation(s statement) string {
	var edits []edit
	for i := 0; i+2 < len(s.tokens); i++ {
		if !s.tokens[i].is("isolation") || !s.tokens[i+1].is("level") {
			continue
		}
		last := i + 2
		if (s.tokens[last].is("read") || s.tokens[last].is("repeatable")) && last+1 < len(s.tokens) {
			last++
		}
		edits = append(edits, edit{s.tokens[i+2].start - s.start(), s.tokens[last].end - s.start(), "REPEATABLE READ"})
	}
	return apply(s.text(), edits)
}

// rewriteAlterTable has ALTER TABLE add no constraint that Redshift would not enforce. A statement that changes nothing stands
// for it, so that a table that is not there still is an error; the columns of a primary key are NOT NULL, as in Redshift.
func rewriteAlterTable(s statement) string {
	for i, t := range s.tokens {
		if !t.is("add") {
			continue
		}
		rest := s.tokens[i+1:]
		if len(rest) > 2 && rest[0].is("constraint") {
			rest = rest[2:]
		}
		head := s.sql[s.start():s.tokens[i].start]
		switch {
		case len(rest) > 1 && rest[0].is("primary") && rest[1].is("key"):
			return head + notNull(s, rest[2:])
		case len(rest) > 0 && (rest[0].is("unique") || rest[0].is("foreign")):
			return head + "SET (fillfactor = 100)"
		}
		return s.text()
	}
	return s.text()
}

// notNull is the part of ALTER TABLE for a list of columns in parentheses.
func notNull(s statement, list []token) string {
	var actions []string
	for _, t := range list {
		if t.kind == word || t.kind == quoted {
			actions = append(actions, "ALTER COLUMN "+s.sql[t.start:t.end]+" SET NOT NULL")
		}
	}
	return strings.Join(actions, ", ")
}

// mentions tells whether a query asks what was copied last.
func mentions(statements []statement) bool {
	for _, s := range statements {
		for _, t := range s.tokens {
			if t.is("pg_last_copy_id") || t.is("pg_last_copy_count") || t.is("pg_last_query_id") {
				return true
			}
		}
	}
	return false
}
