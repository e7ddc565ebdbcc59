package redshiftstandin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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

// attempt loads all rows but those to skip. The failure is the stand-in's own; what PostgreSQL found wrong is in said.
func (l *loader) attempt() (int64, *dbError, error) {
	l.starts, l.sent, l.chunk, l.ended, l.said = nil, 0, nil, false, nil
	if err := l.ask(&pgproto3.Query{String: "COPY " + l.name() + " (" + l.columnNames() + ") FROM STDIN"}); err != nil {
		return 0, nil, err
	}
	if started, err := l.started(); err != nil || !started {
		return 0, l.refusal(), err
	}
	failure, err := l.send()
	if err != nil {
		return 0, nil, err
	}
	if !l.ended {
		var last pgproto3.FrontendMessage = &pgproto3.CopyDone{}
		if failure != nil {
			last = &pgproto3.CopyFail{Message: "the Redshift stand-in gave up"}
		}
		if err := l.ask(last); err != nil {
			return 0, nil, err
		}
		if err := l.await(); err != nil {
			return 0, nil, err
		}
	}
	if failure == nil {
		failure = l.refusal()
	}
	return l.sent, failure, nil
}

func (l *loader) columnNames() string {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = quoteIdentifier(c.name)
	}
	return strings.Join(names, ", ")
}

// started waits until PostgreSQL takes data, or refuses to.
func (l *loader) started() (bool, error) {
	for {
		m, err := l.receive()
		if err != nil {
			return false, err
		}
		if _, takes := m.(*pgproto3.CopyInResponse); takes {
			l.fromUpstream.release() // so that it is noticed when PostgreSQL goes while S3 is waited for
			return true, nil
		}
		if err := l.heard(m); err != nil || l.ended {
			return false, err
		}
	}
}

// heard deals with a message that PostgreSQL sends while it loads.
func (l *loader) heard(m pgproto3.BackendMessage) error {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		said := *m
		l.said = &said
	case *pgproto3.ReadyForQuery:
		l.status, l.ended = m.TxStatus, true
	case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		return l.answer(m)
	}
	return nil
}

// await waits until PostgreSQL has ended the load.
func (l *loader) await() error {
	for !l.ended {
		m, err := l.receive()
		if err != nil {
			return err
		}
		if err := l.heard(m); err != nil {
			return err
		}
	}
	return nil
}

// refusal is what PostgreSQL found wrong, nil if nothing.
func (l *loader) refusal() *dbError {
	if l.said == nil {
		return nil
	}
	e := fromResponse(l.said)
	if table, found := strings.CutPrefix(e.message, "permission denied for table "); found && e.code == codePrivilege {
		e.message = "permission denied for relation " + table // as Redshift calls it
	}
	return e
}

// errEnough ends the walk through rows before its end.
var errEnough = errors.New("enough")

// send sends all rows that can be, until PostgreSQL says that it has had enough.
func (l *loader) send() (*dbError, error) {
	var broken error // the connection to PostgreSQL
	failure := l.each(0, func(at rowAt, line []byte) error {
		l.chunk = append(l.chunk, line...)
		l.sent++
		if len(l.chunk) < chunkBytes {
			return nil
		}
		if broken = l.flush(); broken != nil || l.ended {
			return errEnough
		}
		return nil
	})
	if broken == nil && !l.ended && failure == nil {
		broken = l.flush()
	}
	if l.leaves() {
		return nil, errGone
	}
	return failure, broken
}

// flush sends the rows that wait, and hears what PostgreSQL has to say so far.
func (l *loader) flush() error {
	if len(l.chunk) > 0 {
		if err := l.ask(&pgproto3.CopyData{Data: l.chunk}); err != nil {
			return err
		}
		l.chunk = l.chunk[:0]
	}
	for {
		l.fromUpstream.release()
		select {
		case m := <-l.fromUpstream.messages:
			l.fromUpstream.held = true
			if err := l.heard(m); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// each walks through the rows of the objects from one on, as lines for PostgreSQL. A row that cannot be a line counts as failed.
func (l *loader) each(from int, visit func(at rowAt, line []byte) error) *dbError {
	l.starts = l.starts[:min(from, len(l.starts))]
	for i := from; i < len(l.list); i++ {
		l.starts = append(l.starts, l.sent)
		body, failure := l.objects.open(l.ctx, l.list[i])
		if failure != nil {
			return failure
		}
		if body == nil {
			continue
		}
		err := l.eachOf(i, body, visit)
		_ = body.Close()
		switch {
		case errors.Is(err, errEnough):
			return nil
		case errors.As(err, &failure):
			return failure
		case err != nil:
			return l.objects.broken(l.ctx, err, l.list[i])
		}
	}
	return nil
}

func (l *loader) eachOf(number int, body io.Reader, visit func(at rowAt, line []byte) error) error {
	rows := newRowReader(l.copy, body, l.columns, l.paths)
	into := converter{copy: l.copy, columns: l.columns}
	for at := (rowAt{object: number}); ; at.row++ {
		r, err := rows.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if l.skip[at] {
			continue
		}
		line, bad := into.convert(r)
		if bad == nil {
			err = visit(at, line)
		} else if failure := l.reject(at, r, bad); failure != nil {
			err = failure
		}
		if err != nil {
			return err
		}
	}
}

// reject notes a row that cannot be loaded. It returns the end of the load, if that was one too many.
func (l *loader) reject(at rowAt, r row, bad *rowError) *dbError {
	kept := *bad
	kept.value = append([]byte(nil), bad.value...)
	l.failed = append(l.failed, failedRow{
		object: l.list[at.object].location, line: r.line, raw: append([]byte(nil), r.raw...), rowError: kept,
	})
	l.skip[at] = true
	if int64(len(l.failed)) < max(1, l.copy.maxError) {
		return nil
	}
	return loadFailed(l.copy.table)
}

// loadFailed is what Redshift says of rows that do not load.
func loadFailed(table string) *dbError {
	return failed(codeDataLoad, "Load into table '%s' failed.  Check 'stl_load_errors' system table for details.", table)
}
