package redshiftstandin

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// examine finds the row of which PostgreSQL says that it cannot be loaded, and notes it as Redshift would. It returns whether to
// try again without it; if not, what to tell the client. An error about no row stays as it is.
func (l *loader) examine(failure *dbError) (again bool, _ *dbError, err error) {
	number, ofRow := lineOf(l.said)
	if !ofRow {
		return false, failure, nil
	}
	end, err := l.find(number)
	if err != nil || end != nil {
		return false, end, err
	}
	return true, nil, nil
}

// lineOf is the row that an error is about, counted from 1 as sent.
func lineOf(said *pgproto3.ErrorResponse) (int64, bool) {
	if said == nil || !strings.HasPrefix(said.Code, "22") && !strings.HasPrefix(said.Code, "23") {
		return 0, false
	}
	_, rest, found := strings.Cut(said.Where, ", line ")
	if !found {
		return 0, false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.ParseInt(rest[:end], 10, 64)
	return n, err == nil && n > 0
}

// find reads the objects again up to a row that was sent, and rejects it. So no row has to be kept while they are sent.
func (l *loader) find(number int64) (*dbError, error) {
	object := 0
	for object+1 < len(l.starts) && l.starts[object+1] < number {
		object++
	}
	body, failure := l.objects.open(l.ctx, l.list[object])
	if failure != nil || body == nil {
		return failure, nil
	}
	defer func() { _ = body.Close() }()
	rows := newRowReader(l.copy, body, l.columns, l.paths)
	into := converter{copy: l.copy, columns: l.columns}
	before := l.starts[object]
	for at := (rowAt{object: object}); ; at.row++ {
		r, err := rows.next()
		if err == io.EOF { //nolint:errorlint // as rowReader has it
			return nil, fmt.Errorf("row %d is not in %s any more", number, l.list[object])
		}
		if err != nil {
			return l.objects.broken(l.ctx, err, l.list[object]), nil
		}
		if l.skip[at] {
			continue
		}
		if _, bad := into.convert(r); bad != nil {
			continue
		}
		if before++; before == number {
			return l.reject(at, r, l.reason(r)), nil
		}
	}
}

// reason is what PostgreSQL found wrong with a row, as Redshift would say it.
func (l *loader) reason(r row) *rowError {
	index := l.columnOf(l.said)
	if index < 0 {
		return &rowError{code: errUnknown, reason: l.said.Message}
	}
	col, value := &l.columns[index], []byte(nil)
	if index < len(r.fields) {
		value = r.fields[index].value
	}
	bad := refusedValue(col, value, l.said)
	bad.column, bad.value = col, value
	return bad
}

// columnOf is the column that an error is about, -1 if it is about none.
func (l *loader) columnOf(said *pgproto3.ErrorResponse) int {
	_, about, _ := strings.Cut(said.Where, ", column ")
	for i, c := range l.columns {
		if c.name == said.ColumnName || strings.HasPrefix(about, c.name+": ") {
			return i
		}
	}
	return -1
}

// refusedValue puts PostgreSQL's words into Redshift's.
func refusedValue(col *column, value []byte, said *pgproto3.ErrorResponse) *rowError {
	switch said.Code {
	case "23502":
		return &rowError{code: errNotNull, reason: "Missing data for not-null field"}
	case "22003":
		return &rowError{code: errOverflow, reason: fmt.Sprintf("Overflow, Column type: %s", col.redshiftName())}
	}
	switch col.typeName {
	case "int2", "int4", "int8":
		return invalidDigit(errDigit, col, value)
	case "numeric":
		return invalidDigit(errNumericDigits, col, value)
	case "float4", "float8":
		return invalidDigit(errFloat, col, value)
	case "bool":
		return &rowError{code: errBoolean, reason: "Unknown boolean format"}
	case "date":
		return &rowError{code: errDate, reason: "Invalid Date Format - length must be 10 or more"}
	case "timestamp", "timestamptz":
		return &rowError{code: errTimestamp, reason: "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"}
	}
	return &rowError{code: errUnknown, reason: said.Message}
}

// invalidDigit names the first character that does not belong to a number.
func invalidDigit(code int, col *column, value []byte) *rowError {
	at := 0
	for at < len(value)-1 && (isDigit(value[at]) || at == 0 && (value[at] == '-' || value[at] == '+')) {
		at++
	}
	found := ""
	if at < len(value) {
		found = string(value[at : at+1])
	}
	return &rowError{code: code, reason: fmt.Sprintf("Invalid digit, Value '%s', Pos %d, Type: %s", found, at, col.redshiftName()), position: at}
}
