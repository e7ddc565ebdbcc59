package redshiftstandin_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"
)

// A query string of several statements is one simple query, with a COPY in it too.
func TestScripts(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE ledger (batch varchar(20)); CREATE TABLE t (a int)")
	r.put("k", "1\n2\n")
	r.put("bad", "3\nx\n")
	copyGood, copyBad := copied("t", "k", ""), copied("t", "bad", "")
	counts := func(want string) {
		t.Helper()
		r.want("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM ledger)", want)
	}
	r.exec("BEGIN; LOCK ledger; INSERT INTO ledger VALUES ('b1'); " + copyGood + "; COMMIT")
	counts("2|1")
	r.exec("BEGIN; INSERT INTO ledger VALUES ('b2'); " + copyGood + "; ROLLBACK")
	counts("2|1")
	// What is not between BEGIN and COMMIT is one transaction, the first error ends all.
	r.wantError("INSERT INTO ledger VALUES ('b2'); "+copyBad+"; INSERT INTO ledger VALUES ('b3')", "XX000", "Load into table 't' failed.")
	counts("2|1")
	r.wantError(copyGood+"; SELECT 1/0", "22012", "division by zero")
	counts("2|1")
	r.wantError(copyGood+"; SAVEPOINT a; "+copyGood, "0A000", "not supported")
	counts("2|1")
	r.exec(copyGood + "; INSERT INTO ledger VALUES ('b2'); " + copyGood)
	counts("6|2")
	// What is committed before the error stays.
	r.wantError("INSERT INTO ledger VALUES ('b3'); COMMIT; "+copyBad, "XX000", "Load into table 't' failed.")
	counts("6|3")
	// BEGIN makes what went before a part of its transaction.
	r.exec("INSERT INTO ledger VALUES ('b4'); BEGIN; " + copyGood + "; ROLLBACK; " + copyGood)
	counts("8|3")
	// After a failure in a transaction nothing goes but its end.
	conn, err := r.db.Conn(t.Context())
	r.must(err)
	defer func() { _ = conn.Close() }()
	for _, c := range []struct{ statements, code string }{
		{"BEGIN; " + copyBad, "XX000"}, {copyGood, "25P02"}, {"SELECT 1", "25P02"}, {"SELECT pg_last_copy_id()", "25P02"}, {"COMMIT", ""}, {"SELECT 1", ""},
	} {
		if _, err := conn.ExecContext(t.Context(), c.statements); (err == nil) != (c.code == "") || err != nil && code(err) != c.code {
			t.Errorf("%s: %v", c.statements, err)
		}
	}
	counts("8|3")
}

// database/sql's own transactions work, and so do parameters.
func TestStatementByStatement(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("k", "1\n2\n")
	for _, c := range []struct {
		end  func(*sql.Tx) error
		want string
	}{{(*sql.Tx).Rollback, "0"}, {(*sql.Tx).Commit, "3"}} {
		tx, err := r.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		r.must(err)
		_, err = tx.ExecContext(t.Context(), copied("t", "k", ""))
		r.must(err)
		_, err = tx.ExecContext(t.Context(), "INSERT INTO t VALUES ($1)", 3)
		r.must(err)
		r.must(c.end(tx))
		r.want("SELECT count(*) FROM t", c.want)
	}
	if _, err := r.db.ExecContext(t.Context(), copied("t", "k", "MAXERROR $1"), 3); code(err) != "0A000" {
		t.Errorf("a COPY with a parameter: %v", err)
	}
	const onConflict = "INSERT INTO t VALUES ($1) ON CONFLICT DO NOTHING"
	if _, err := r.db.ExecContext(t.Context(), onConflict, 3); code(err) != "42601" {
		t.Errorf("ON CONFLICT with a parameter: %v", err)
	}
	tx, err := r.db.BeginTx(t.Context(), nil)
	r.must(err)
	if _, err := tx.ExecContext(t.Context(), onConflict, 3); code(err) != "42601" {
		t.Errorf("ON CONFLICT with a parameter in a transaction: %v", err)
	}
	if _, err := tx.ExecContext(t.Context(), "INSERT INTO t VALUES ($1)", 3); code(err) != "25P02" {
		t.Errorf("after it: %v", err)
	}
	r.must(tx.Rollback())
	r.want("SELECT count(*) FROM t", "3")
}

// Redshift enforces no keys, whatever the table says of them.
func TestKeysAreNotEnforced(t *testing.T) {
	r := start(t)
	r.exec(`CREATE TABLE parent (id int PRIMARY KEY ENCODE raw) DISTSTYLE ALL;
		CREATE TABLE t (id bigint IDENTITY(10, 5), a int UNIQUE, b int REFERENCES parent (id), c varchar(max) ENCODE zstd, PRIMARY KEY (a), FOREIGN KEY (b) REFERENCES parent) DISTKEY (a) COMPOUND SORTKEY (a, b);
		ALTER TABLE t ADD CONSTRAINT one UNIQUE (b)`)
	r.put("k", "1|1|x\n1|1|x\n")
	r.exec("INSERT INTO parent VALUES (2), (2); " + copied("t", "k", ""))
	r.want("SELECT * FROM t ORDER BY id", "10|1|1|x;15|1|1|x")
	r.want("SELECT count(*) FROM parent", "2")
	r.wantError("INSERT INTO t (b) VALUES (1)", "23502", "null value")
}

// ledgerLoad is the pattern of a loader that must not load a batch twice, without a unique constraint.
const ledgerLoad = "INSERT INTO t SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE batch = 'b1'); " +
	"INSERT INTO ledger SELECT 'b1' WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE batch = 'b1'); "

// Two clients that race both find the ledger empty, since each reads a snapshot; unless they lock it before they read.
func TestRace(t *testing.T) {
	for _, c := range []struct{ name, begin, want string }{
		{"with a lock first", "BEGIN; LOCK ledger; ", "1|1"},
		{"without a lock", "BEGIN; ", "2|2"},
		{"with a lock after a read", "BEGIN; SELECT count(*) FROM ledger; LOCK ledger; ", "2|2"},
		{"at a level that only PostgreSQL has", "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT count(*) FROM ledger; LOCK ledger; ", "2|2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			r.exec("CREATE TABLE ledger (batch varchar(20) PRIMARY KEY); CREATE TABLE t (a int)")
			first := r.conn()
			_, err := first.ExecContext(t.Context(), c.begin+ledgerLoad)
			r.must(err)
			second := r.conn()
			var racer sync.WaitGroup
			var errSecond error
			racer.Go(func() { _, errSecond = second.ExecContext(t.Context(), c.begin+ledgerLoad+"COMMIT") })
			eventually(t, "the second waits for the lock, or is done", func() bool {
				return r.query("SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == "1" ||
					c.begin == "BEGIN; " && r.query("SELECT count(*) FROM ledger") == "1"
			})
			_, err = first.ExecContext(t.Context(), "COMMIT")
			r.must(err)
			racer.Wait()
			r.must(errSecond)
			r.want("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM ledger)", c.want)
		})
	}
}

// conn is a connection of its own.
func (r *rig) conn() *sql.Conn {
	r.t.Helper()
	conn, err := r.db.Conn(r.t.Context())
	r.must(err)
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// LOCK takes no snapshot, and neither does what the stand-in does for a session: a client that waited for the lock sees what was
// committed meanwhile, also by the COPY of another.
func TestSnapshotAfterLock(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE ledger (batch varchar(20)); CREATE TABLE t (a int)")
	r.put("k", "1\n")
	conn := r.conn()
	_, err := conn.ExecContext(t.Context(), "BEGIN; LOCK ledger")
	r.must(err)
	r.exec(copied("t", "k", ""))
	got, err := ask(context.WithoutCancel(t.Context()), conn, "SELECT count(*) FROM t")
	if err != nil || got != "1" {
		t.Errorf("after the lock: %s, %v", got, err)
	}
	r.exec(copied("t", "k", ""))
	if got, err = ask(t.Context(), conn, "SELECT count(*) FROM t"); err != nil || got != "1" {
		t.Errorf("in the same snapshot: %s, %v", got, err)
	}
	_, err = conn.ExecContext(t.Context(), "COMMIT")
	r.must(err)
}
