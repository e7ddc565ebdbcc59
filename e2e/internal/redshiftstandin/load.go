package redshiftstandin

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// chunkBytes is about how much of a COPY's data is sent in one message.
const chunkBytes = 64 << 10

// loader is one COPY.
type loader struct {
	*session
	ctx     context.Context //nolint:containedctx // of this COPY, which is this value's whole life
	copy    *copyStatement
	id      int64
	began   time.Time
	table   string // its oid
	columns []column
	objects *objects
	list    []object
	paths   []jsonPath

	skip   map[rowAt]bool // rows that are known not to load
	failed []failedRow
	starts []int64 // of each object: how many rows were sent before it
	sent   int64
	chunk  []byte
	ended  bool                    // PostgreSQL has said that it is ready
	said   *pgproto3.ErrorResponse // what PostgreSQL found wrong
}

// rowAt is a row's place: the object's number, and the row's in it.
type rowAt struct {
	object int
	row    int64
}

// load runs a COPY in the client's session and transaction. It returns what to answer, or the error to answer.
func (s *session) load(st statement) ([]pgproto3.BackendMessage, *dbError, error) {
	id := s.server.catalog.nextID()
	s.last = lastQuery{copyID: id, copyCount: 0, queryID: id}
	parsed, failure := parseCopy(st)
	if failure != nil {
		return nil, failure, nil
	}
	ctx, release := s.watch()
	defer release()
	l := &loader{session: s, ctx: ctx, copy: parsed, id: id, began: time.Now(), skip: map[rowAt]bool{}}
	count, failure, err := l.run()
	if err != nil {
		return nil, nil, err
	}
	l.record()
	if failure != nil {
		return nil, failure, nil
	}
	s.last.copyCount = count
	return l.answers(count), nil, nil
}

// watch returns a context that ends when somebody cancels the query, and when one side of the session is gone.
func (s *session) watch() (context.Context, func()) {
	ctx, done := s.server.register(s.hard, s.key)
	ended := make(chan struct{})
	clientGone := s.fromClient.gone
	if s.server.config.FinishWithoutClient {
		clientGone = nil
	}
	watched, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		select {
		case <-clientGone:
		case <-s.fromUpstream.gone:
		case <-watched.Done():
		}
		cancel()
	}()
	return watched, func() { cancel(); <-ended; done() }
}

// record writes the rows that did not load where the client looks for them.
func (l *loader) record() {
	if len(l.failed) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(l.hard, patience)
	defer cancel()
	err := l.server.catalog.record(ctx, failedLoad{
		database: l.database, user: l.user, table: l.table, session: l.key.process, query: l.id, began: l.began, rows: l.failed,
	})
	if err != nil {
		l.log.Warn("a load's errors are not in stl_load_errors", "query", l.id, "error", err)
	}
}

// answers are Redshift's: what was loaded is a notice, and the tag has no count.
func (l *loader) answers(count int64) []pgproto3.BackendMessage {
	info := func(format string, args ...any) pgproto3.BackendMessage {
		return &pgproto3.NoticeResponse{Severity: "INFO", SeverityUnlocalized: "INFO", Code: "00000", Message: fmt.Sprintf(format, args...)}
	}
	answers := []pgproto3.BackendMessage{info("Load into table '%s' completed, %d record(s) loaded successfully.", l.copy.table, count)}
	if n := len(l.failed); n > 0 {
		answers = append(answers, info("Load into table '%s' completed, %d record(s) could not be loaded.  Check 'stl_load_errors' system table for details.", l.copy.table, n))
	}
	return append(answers, &pgproto3.CommandComplete{CommandTag: []byte("COPY")})
}

// run finds out what to load and where, and loads it. With MAXERROR the load is repeated without each row that PostgreSQL refuses.
func (l *loader) run() (int64, *dbError, error) {
	if failure, err := l.prepare(); failure != nil || err != nil {
		return 0, failure, err
	}
	if l.copy.maxError > 1 {
		if _, failure, err := l.hidden("SAVEPOINT redshift_standin"); failure != nil || err != nil {
			return 0, failure, err
		}
	}
	for {
		count, failure, err := l.attempt()
		if failure == nil || err != nil {
			return count, nil, err
		}
		again, failure, err := l.examine(failure)
		if err != nil || !again {
			return 0, failure, err
		}
		if _, failure, err := l.hidden("ROLLBACK TO SAVEPOINT redshift_standin"); failure != nil || err != nil {
			return 0, failure, err
		}
	}
}

// prepare asks PostgreSQL for the table, and S3 for the objects.
func (l *loader) prepare() (failure *dbError, err error) {
	if failure, err = l.describe(); failure != nil || err != nil {
		return failure, err
	}
	if l.objects, failure = newObjects(l.server.config.S3, l.server.transport, l.copy, l.id); failure != nil {
		return failure, nil
	}
	if l.paths, failure = l.objects.jsonPaths(l.ctx); failure != nil {
		return failure, nil
	}
	if l.paths != nil && len(l.paths) != len(l.columns) {
		return loadError(l.id, detailLoad, l.copy.json, "Number of jsonpaths and the number of columns should match. JSONPath size: %d, "+
			"Number of columns in table or column list: %d", len(l.paths), len(l.columns)), nil
	}
	l.list, failure = l.objects.list(l.ctx)
	return failure, nil
}

// describe reads the table's columns out of the catalog, as the client sees it.
func (l *loader) describe() (*dbError, error) {
	rows, failure, err := l.hidden(`SELECT a.attname, t.typname, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity <> '', c.oid
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
		WHERE a.attrelid = pg_catalog.to_regclass(` + quoteLiteral(l.name()) + `) AND a.attnum > 0 AND NOT a.attisdropped
		AND c.relkind IN ('r', 'p') ORDER BY a.attnum`)
	if failure != nil || err != nil {
		return failure, err
	}
	if len(rows) == 0 {
		return failed(codeDataLoad, "Cannot COPY into nonexistent table %s", l.copy.table), nil
	}
	l.table = rows[0][6]
	var all []column
	for _, r := range rows {
		all = append(all, newColumn(r))
	}
	l.columns, failure = choose(l.copy, all)
	return failure, nil
}

// name is the table's for SQL.
func (l *loader) name() string {
	if l.copy.schema == "" {
		return quoteIdentifier(l.copy.table)
	}
	return quoteIdentifier(l.copy.schema) + "." + quoteIdentifier(l.copy.table)
}

// choose picks the columns to load. An identity is left out unless it is asked for.
func choose(c *copyStatement, all []column) ([]column, *dbError) {
	named := map[string]column{}
	var chosen []column
	for _, col := range all {
		named[col.name] = col
		if c.columns == nil && (!col.identity || c.explicitIDs) {
			chosen = append(chosen, col)
		}
	}
	for _, name := range c.columns {
		col, found := named[name]
		switch {
		case !found:
			return nil, failed(codeColumn, "column \"%s\" of relation \"%s\" does not exist", name, c.table)
		case col.identity && !c.explicitIDs:
			return nil, failed(codeDataLoad, "cannot set an identity column to a value")
		}
		delete(named, name)
		chosen = append(chosen, col)
	}
	for _, col := range all {
		if _, left := named[col.name]; c.columns != nil && left && col.notNull && !col.hasDefault && !col.identity {
			return nil, failed(codeDataLoad, "NOT NULL column without DEFAULT must be included in column list")
		}
	}
	return chosen, nil
}
