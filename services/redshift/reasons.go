package redshift

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// mostReasons is how many rows of the tables of errors are told. One is enough for an object that is loaded alone.
const mostReasons = 3

// reasonsError is a failed load with what the cluster's own tables say of it.
type reasonsError struct {
	err     error
	reasons []string
}

func (e *reasonsError) Error() string { return e.err.Error() + ": " + strings.Join(e.reasons, "; ") }

// Unwrap returns the cause.
func (e *reasonsError) Unwrap() error { return e.err }

// withReasons adds why data was not loaded, where the user may read it: from STL_LOAD_ERRORS, or from the view that a cluster
// without it has. Nothing of the data is read, only where it is and what is wrong with it.
func withReasons(ctx context.Context, conn *sql.Conn, cause error) error {
	if judge(cause).code != codeDataLoad {
		return cause
	}
	for _, query := range []string{
		"SELECT filename, line_number, colname, err_code, err_reason FROM stl_load_errors WHERE query = pg_last_copy_id() ORDER BY line_number LIMIT 3",
		"SELECT file_name, line_number, column_name, error_code, error_message FROM sys_load_error_detail WHERE query_id = pg_last_copy_id() ORDER BY line_number LIMIT 3",
	} {
		reasons, err := readReasons(ctx, conn, query)
		if err == nil && len(reasons) > 0 {
			return &reasonsError{err: cause, reasons: reasons}
		}
		if errors.Is(err, errBroken) {
			break
		}
	}
	return cause
}

func readReasons(ctx context.Context, conn *sql.Conn, query string) (reasons []string, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() && len(reasons) < mostReasons {
		var file, column, code, reason sql.NullString
		var line sql.NullInt64
		if err := rows.Scan(&file, &line, &column, &code, &reason); err != nil {
			return nil, err
		}
		reasons = append(reasons, fmt.Sprintf("%s line %d column %q: %s (%s)", strings.TrimSpace(file.String), line.Int64,
			strings.TrimSpace(column.String), strings.TrimSpace(reason.String), strings.TrimSpace(code.String)))
	}
	return reasons, rows.Err()
}
