package redshiftstandin

import (
	"errors"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

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
