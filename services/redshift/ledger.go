package redshift

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

const (
	// keepLoaded is how long the ledger remembers what was loaded, of a delivery stream that has nothing left to load.
	keepLoaded = 72 * time.Hour
	// keepRedriven is how long it remembers what was loaded by hand, and whatever else is left in it.
	keepRedriven = 14 * 24 * time.Hour
)

// ledger is the table of what was loaded, beside what was loaded: a COPY and its rows here are one transaction.
//
// No constraint is relied on, since Redshift enforces none; and no read before the lock, since Redshift, as PostgreSQL at
// REPEATABLE READ, goes on reading what was there at the first.
type ledger struct {
	table string // quoted, with its schema
	name  string // alone, as the server's words have it
}

func newLedger(schema, table string) (ledger, error) {
	if schema == "" || table == "" || strings.ContainsRune(schema+table, 0) {
		return ledger{}, errors.New("--ledger-schema and --ledger-table (HYDRANT_LEDGER_SCHEMA, HYDRANT_LEDGER_TABLE): set both")
	}
	quote := func(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
	return ledger{table: quote(schema) + "." + quote(table), name: table}, nil
}

// create makes the table where there is none. That two do so at once is no harm.
func (l ledger) create() string {
	return "CREATE TABLE IF NOT EXISTS " + l.table +
		" (stream_id VARCHAR(64) NOT NULL, batch_id VARCHAR(256) NOT NULL, loaded_at TIMESTAMP NOT NULL, redriven BOOLEAN NOT NULL)"
}

// probe does what a load does to the ledger, and leaves nothing.
func (l ledger) probe() string {
	return "BEGIN; LOCK TABLE " + l.table + "; INSERT INTO " + l.table + " (stream_id, batch_id, loaded_at, redriven) SELECT stream_id, batch_id, loaded_at, redriven FROM " +
		l.table + " WHERE 1 = 0; ROLLBACK"
}

// transaction is a COPY together with its rows, in the text of one simple query, so that nobody holds the lock while the server
// waits for a client that may be stopped.
//
// Its guard divides by zero if one of the batches is in the ledger. A lost answer: the next try's guard finds out whether the
// transaction was carried out. A repeat, and a process that wakes after a minute: their guard ends them before the COPY.
func (l ledger) transaction(copy string, stream names.StreamID, ids []batch.ID, at time.Time, redriven bool) (string, error) {
	list, err := batchList(ids)
	if err != nil {
		return "", err
	}
	rows, err := l.rows(stream, ids, at, redriven)
	if err != nil {
		return "", err
	}
	return strings.Join([]string{
		"BEGIN",
		"LOCK TABLE " + l.table,
		"SELECT 1 / (CASE WHEN COUNT(*) = 0 THEN 1 ELSE 0 END) FROM " + l.table + " WHERE batch_id IN (" + list + ")",
		copy + "\n",
		"INSERT INTO " + l.table + " (stream_id, batch_id, loaded_at, redriven) VALUES " + rows,
		"COMMIT",
	}, ";\n"), nil
}

func (l ledger) rows(stream names.StreamID, ids []batch.ID, at time.Time, redriven bool) (string, error) {
	rows := make([]string, 0, len(ids))
	for _, id := range ids {
		list, err := batchList([]batch.ID{batch.ID(stream), id})
		if err != nil {
			return "", err
		}
		rows = append(rows, "("+list+", "+timestamp(at)+", "+strings.ToUpper(strconv.FormatBool(redriven))+")")
	}
	return strings.Join(rows, ", "), nil
}

// timestamp is of this process's clock: the servers' functions for the time have no name in common.
func timestamp(at time.Time) string {
	return "TIMESTAMP '" + at.UTC().Format("2006-01-02 15:04:05") + "'"
}

// tidy removes rows that nobody asks for any more: those of the delivery stream, which has nothing left to load, and what is so
// old that nothing can ask for it, of delivery streams that are gone for example. It locks first, as every writer does, for
// the sake of servers that make transactions serial.
func (l ledger) tidy(stream names.StreamID, now time.Time) (string, error) {
	id, err := literal(string(stream))
	if err != nil {
		return "", err
	}
	return strings.Join([]string{
		"BEGIN",
		"LOCK TABLE " + l.table,
		"DELETE FROM " + l.table + " WHERE loaded_at < " + timestamp(now.Add(-keepRedriven)) +
			" OR stream_id = " + id + " AND NOT redriven AND loaded_at < " + timestamp(now.Add(-keepLoaded)),
		"COMMIT",
	}, ";\n"), nil
}

// loaded asks which of the batches are in the ledger.
func (l ledger) loaded(ctx context.Context, conn *sql.Conn, ids []batch.ID) (found map[batch.ID]bool, err error) {
	question, err := l.question(ids)
	if err != nil {
		return nil, err
	}
	return readIDs(ctx, conn, question)
}

// settled is loaded for when nobody may have the last word later: it waits for the lock, which a transaction has that still runs on
// the server though its client is gone. A read alone would not see what that is about to commit. It is one simple query, so that
// the lock waits for no client either.
func (l ledger) settled(ctx context.Context, conn *sql.Conn, ids []batch.ID) (found map[batch.ID]bool, err error) {
	question, err := l.question(ids)
	if err != nil {
		return nil, err
	}
	if found, err = readIDs(ctx, conn, "BEGIN; LOCK TABLE "+l.table+"; "+question+"; COMMIT"); err != nil {
		rollback(ctx, conn)
	}
	return found, err
}

func (l ledger) question(ids []batch.ID) (string, error) {
	list, err := batchList(ids)
	return "SELECT DISTINCT batch_id FROM " + l.table + " WHERE batch_id IN (" + list + ")", err
}

func readIDs(ctx context.Context, conn *sql.Conn, query string) (found map[batch.ID]bool, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found = map[batch.ID]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		found[batch.ID(id)] = true
	}
	return found, rows.Err()
}

// prepare sees to it that the table is there and can be used; ok is false where the user may not. Nothing but the server's word that
// it is not permitted is taken for that.
func (l ledger) prepare(ctx context.Context, conn *sql.Conn) (ok bool, err error) {
	err = l.try(ctx, conn, l.probe())
	if missing(err) {
		if err = l.try(ctx, conn, l.create()); err == nil || exists(err) {
			err = l.try(ctx, conn, l.probe())
		}
	}
	if denied(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the ledger %s: %w", l.table, err)
	}
	return true, nil
}

// try runs statements that leave no transaction open.
func (l ledger) try(ctx context.Context, conn *sql.Conn, statements string) error {
	_, err := conn.ExecContext(ctx, statements)
	if err != nil {
		rollback(ctx, conn)
	}
	return err
}

// blamed tells that the server misses, or does not permit, the ledger and not the table to load into.
func (l ledger) blamed(err error) bool {
	var from *pq.Error
	return (missing(err) || denied(err)) && errors.As(err, &from) && strings.Contains(from.Message, l.name)
}

func missing(err error) bool { return stateOf(err) == "42P01" || stateOf(err) == "3F000" }
func denied(err error) bool  { return stateOf(err) == "42501" }

// exists tells that somebody else made the table at the same time.
func exists(err error) bool {
	state := stateOf(err)
	return state == "42P07" || state == "23505" || state == "42710"
}

func stateOf(err error) string {
	var from *pq.Error
	if errors.As(err, &from) {
		return string(from.Code)
	}
	return ""
}

// divided tells that a statement divided by zero, as the guard does. Redshift has no code of its own for it.
func divided(err error) bool {
	var from *pq.Error
	if !errors.As(err, &from) {
		return false
	}
	text := strings.ToLower(from.Message)
	return from.Code == "22012" || strings.Contains(text, "divide by zero") || strings.Contains(text, "division by zero")
}

// rollback ends the transaction that an error left open. Where that fails the connection is not used again, and the server does
// it by itself.
func rollback(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
	defer cancel()
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		discard(conn)
	}
}
