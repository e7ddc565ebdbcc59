package redshiftstandin

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The stand-in's names for what a session copied last, as settings that the functions of the catalog read.
const (
	settingCopyID    = "redshift_standin.last_copy_id"
	settingCopyCount = "redshift_standin.last_copy_count"
	settingQueryID   = "redshift_standin.last_query_id"
)

// catalogSQL makes Redshift's system tables and functions. They are in pg_catalog, so that they are found whatever the search
// path is. Rows are for superusers and for who made them, as in Redshift. Each start of a stand-in takes 100,000 query ids. The first lets everybody make tables in the
// schema public, as Redshift does; whoever revokes that has it revoked.
const catalogSQL = `
SET LOCAL allow_system_table_mods = on;
SET LOCAL client_min_messages = error;
SELECT pg_advisory_xact_lock(7234021100431);
DO $$BEGIN
  IF to_regclass('pg_catalog.redshift_standin_queries') IS NULL AND to_regnamespace('public') IS NOT NULL THEN
    GRANT CREATE ON SCHEMA public TO PUBLIC;
  END IF;
END$$;
CREATE SEQUENCE IF NOT EXISTS pg_catalog.redshift_standin_queries INCREMENT BY 100000;
CREATE TABLE IF NOT EXISTS pg_catalog.redshift_standin_load_errors (
  userid integer, slice integer, tbl integer, starttime timestamp, session integer, query integer,
  filename character(256), line_number bigint, colname character(127), type character(10), col_length character(10),
  position integer, raw_line character(1024), raw_field_value character(1024), err_code integer, err_reason character(100),
  is_partial integer, start_offset bigint, copy_job_id bigint
);
CREATE OR REPLACE VIEW pg_catalog.stl_load_errors AS
  SELECT * FROM pg_catalog.redshift_standin_load_errors
  WHERE userid = (SELECT usesysid::bigint FROM pg_catalog.pg_user WHERE usename = current_user)
     OR (SELECT usesuper FROM pg_catalog.pg_user WHERE usename = current_user);
CREATE OR REPLACE VIEW pg_catalog.sys_load_error_detail AS
  SELECT userid AS user_id, query::bigint AS query_id, 0::bigint AS transaction_id, session AS session_id,
    current_database()::character(64) AS database_name, tbl AS table_id, starttime AS start_time, filename AS file_name,
    line_number, colname AS column_name, type AS column_type, col_length AS column_length, position, err_code AS error_code,
    err_reason::character(512) AS error_message
  FROM pg_catalog.stl_load_errors;
GRANT SELECT ON pg_catalog.stl_load_errors, pg_catalog.sys_load_error_detail TO PUBLIC;
`

// lastSQL makes a function that reads a setting; -1 where nothing was copied yet.
const lastSQL = `CREATE OR REPLACE FUNCTION pg_catalog.%s() RETURNS bigint STABLE LANGUAGE sql AS
$$ SELECT coalesce(nullif(pg_catalog.current_setting('%s', true), ''), '-1')::bigint $$;
`

const insertErrorSQL = `INSERT INTO pg_catalog.redshift_standin_load_errors VALUES (
  (SELECT usesysid FROM pg_catalog.pg_user WHERE usename = $1), 0, $2::bigint, $3, $4, $5, $6::char(256), $7, $8::char(127),
  $9::char(10), $10::char(10), $11, $12::char(1024), $13::char(1024), $14, $15::char(100), 0, 0, NULL)`

// Admin is the superuser that the stand-in is for itself.
type Admin struct {
	User     string `name:"admin-user" default:"postgres" help:"Superuser of the PostgreSQL behind, for the stand-in's own tables."`
	Password string `name:"admin-password" secret:"" placeholder:"PASSWORD" help:"Its password."`
}

// catalog is the stand-in's own part of each database: the system tables, and the ids of queries.
type catalog struct {
	upstream string // host:port
	admin    Admin

	mu        sync.Mutex
	databases map[string]bool
	lastID    int64
}

func newCatalog(upstream string, admin Admin) *catalog {
	return &catalog{upstream: upstream, admin: admin, databases: map[string]bool{}}
}

// prepare makes the system tables of a database, once.
func (c *catalog) prepare(ctx context.Context, database string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.databases[database] {
		return nil
	}
	conn, err := c.connect(ctx, database)
	if err != nil {
		return err
	}
	defer closeSoon(conn)
	sql := catalogSQL + fmt.Sprintf(lastSQL, "pg_last_copy_id", settingCopyID) + fmt.Sprintf(lastSQL, "pg_last_copy_count", settingCopyCount) +
		fmt.Sprintf(lastSQL, "pg_last_query_id", settingQueryID) + "SELECT nextval('pg_catalog.redshift_standin_queries')"
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return fmt.Errorf("the stand-in's tables in %s: %w", database, err)
	}
	rows := results[len(results)-1].Rows
	first, err := strconv.ParseInt(string(rows[0][0]), 10, 64)
	if err != nil {
		return fmt.Errorf("the stand-in's query ids in %s: %w", database, err)
	}
	c.databases[database] = true
	c.lastID = max(c.lastID, first)
	return nil
}

// nextID is the id of another query. Ids of two starts differ as long as none of them has more queries than ids.
func (c *catalog) nextID() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	return c.lastID
}

// connect is the superuser's own connection: what is written by it stays when a client's transaction is rolled back.
func (c *catalog) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig((&url.URL{
		Scheme: "postgres", User: url.UserPassword(c.admin.User, c.admin.Password), Host: c.upstream, Path: "/" + database,
		RawQuery: "sslmode=disable&connect_timeout=10",
	}).String())
	if err != nil {
		return nil, fmt.Errorf("--upstream (HYDRANT_UPSTREAM): %w", err)
	}
	return pgconn.ConnectConfig(ctx, config)
}

// closeSoon ends a connection, whatever became of the context it was made with.
func closeSoon(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// failedLoad is what stl_load_errors has of a COPY that found bad rows.
type failedLoad struct {
	database, user, table string // the table as an oid
	session               uint32
	query                 int64
	began                 time.Time
	rows                  []failedRow
}

// failedRow is a row that could not be loaded, and where it is.
type failedRow struct {
	object location
	line   int64
	raw    []byte
	rowError
}

// record writes why rows could not be loaded. A client reads it after it was told of the error.
func (c *catalog) record(ctx context.Context, load failedLoad) error {
	if len(load.rows) == 0 {
		return nil
	}
	conn, err := c.connect(ctx, load.database)
	if err != nil {
		return fmt.Errorf("stl_load_errors: %w", err)
	}
	defer closeSoon(conn)
	for _, r := range load.rows {
		if result := conn.ExecParams(ctx, insertErrorSQL, load.values(r), nil, nil, nil).Read(); result.Err != nil {
			return fmt.Errorf("stl_load_errors: %w", result.Err)
		}
	}
	return nil
}

func (l failedLoad) values(r failedRow) [][]byte {
	var name, typeName, length string
	if r.column != nil {
		name, typeName, length = r.column.name, r.column.typeName, r.column.length()
	}
	texts := []string{
		l.user, l.table, l.began.UTC().Format("2006-01-02 15:04:05.999999"), strconv.FormatUint(uint64(l.session), 10),
		strconv.FormatInt(l.query, 10), r.object.String(), strconv.FormatInt(r.line, 10), name, typeName, length,
		strconv.Itoa(r.position), readable(r.raw), readable(r.value), strconv.Itoa(r.code), r.reason,
	}
	values := make([][]byte, len(texts))
	for i, text := range texts {
		values[i] = []byte(text)
	}
	return values
}

// readable is the beginning of a row or value as stl_load_errors shows it: a character of several bytes is a period.
func readable(raw []byte) string {
	var b strings.Builder
	for _, r := range string(raw[:min(len(raw), 1024)]) {
		if r == 0 || r >= 0x80 {
			r = '.'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// splitAddress checks host:port.
func splitAddress(flag, variable, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("--%s (%s): %q is not accepted; use host:port", flag, variable, address)
	}
	return nil
}
