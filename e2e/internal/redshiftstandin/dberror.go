package redshiftstandin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The SQLSTATEs that errors of the stand-in itself have.
const (
	codeSyntax      = "42601"
	codeUnsupported = "0A000"
	codeColumn      = "42703"
	codeTwice       = "42701"
	codePrivilege   = "42501"
	codeAborted     = "25P02"
	codeCanceled    = "57014"
	codeShutdown    = "57P01"
	codeUnreachable = "08006"
	codeDataLoad    = "XX000" // what Redshift says of anything that went wrong in a load
)

// The codes in the details of Redshift's errors.
const (
	detailLoad = 8001
	detailZlib = 9001
	detailRole = 30000
)

// dbError is what a client is told of a statement that failed.
type dbError struct {
	severity string // ERROR if empty
	code     string
	message  string
	detail   string
	position int // in the query string, from 1; 0 if none
}

var _ error = (*dbError)(nil)

func (e *dbError) Error() string { return e.message + " (" + e.code + ")" }

// response is the error as it is sent.
func (e *dbError) response() *pgproto3.ErrorResponse {
	severity := e.severity
	if severity == "" {
		severity = "ERROR"
	}
	return &pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: e.code, Message: e.message, Detail: e.detail,
		Position: int32(e.position), //nolint:gosec // a query string has less than 2³¹ characters
	}
}

// fromResponse is what PostgreSQL said.
func fromResponse(r *pgproto3.ErrorResponse) *dbError {
	return &dbError{severity: r.Severity, code: r.Code, message: r.Message, detail: r.Detail, position: int(r.Position)}
}

func failed(code, format string, args ...any) *dbError {
	return &dbError{code: code, message: fmt.Sprintf(format, args...)}
}

// syntaxError is about the token at a position; at the end of the statement it is about that.
func syntaxError(sql string, tokens []token, at int) *dbError {
	if at >= len(tokens) {
		return &dbError{code: codeSyntax, message: "syntax error at end of input", position: characters(sql, len(sql)) + 1}
	}
	t := tokens[at]
	return &dbError{
		code: codeSyntax, message: fmt.Sprintf("syntax error at or near \"%s\"", sql[t.start:t.end]), position: characters(sql, t.start) + 1,
	}
}

func unterminated(what, sql string, start int) *dbError {
	return &dbError{
		code: codeSyntax, message: fmt.Sprintf("unterminated %s at or near \"%s\"", what, sql[start:]), position: characters(sql, start) + 1,
	}
}

// characters counts those before an offset: an error's position counts characters and not bytes.
func characters(sql string, offset int) int { return len([]rune(sql[:offset])) }

// loadError is an error with a detail in Redshift's form, without the places in its source that the original names.
func loadError(query int64, code int, context, format string, args ...any) *dbError {
	e := failed(codeDataLoad, format, args...)
	rule := strings.Repeat("-", 47)
	e.detail = "\n  " + rule + "\n  error:  " + e.message + "\n  code:      " + strconv.Itoa(code) + "\n  context:   " + context +
		"\n  query:     " + strconv.FormatInt(query, 10) + "\n  location:  redshift stand-in\n  process:   redshift stand-in\n  " + rule
	return e
}
