package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	_ "github.com/lib/pq" // the driver

	"hydrant/e2e/bench/internal/machine"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
)

// database is PostgreSQL's own, which is there from the beginning.
const database = "postgres"

// warehouse is a PostgreSQL that syncs what it commits, and a client that asks it without the stand-in for Redshift in between.
type warehouse struct {
	node   *pgtest.Server
	remove func() error
	db     *sql.DB
}

// startWarehouse has PostgreSQL keep its data in the system's temporary folder: it runs as a user of its own, who need not be able to
// enter the run's.
func startWarehouse(ctx context.Context) (*warehouse, error) {
	node, remove, err := pgtest.Run(ctx)
	if err != nil {
		return nil, err
	}
	w := &warehouse{node: node, remove: remove}
	if w.db, err = sql.Open("postgres", node.URL(database)); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *warehouse) close() error {
	if w.db != nil {
		_ = w.db.Close() // the server is killed anyway
	}
	w.node.Kill()
	return w.remove()
}

// make makes a table for some members of the records.
func (w *warehouse) make(ctx context.Context, table string) error {
	return w.exec(ctx, "CREATE TABLE "+table+" (time TIMESTAMPTZ, level VARCHAR(10), service VARCHAR(50), host VARCHAR(50), "+
		"sequence INT NOT NULL, request_id VARCHAR(32), http VARCHAR(500), message VARCHAR(1000))")
}

// empty empties a table, and leaves nothing that PostgreSQL would write back in the middle of what comes next.
func (w *warehouse) empty(ctx context.Context, table string) error {
	if err := w.exec(ctx, "TRUNCATE "+table); err != nil {
		return err
	}
	return errors.Join(w.exec(ctx, "CHECKPOINT"), machine.Flush(os.TempDir()))
}

func (w *warehouse) exec(ctx context.Context, statement string) error {
	if _, err := w.db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// want fails unless a table has so many rows.
func (w *warehouse) want(ctx context.Context, table string, want int) error {
	var rows int
	if err := w.db.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&rows); err != nil {
		return fmt.Errorf("count the rows of %s: %w", table, err)
	}
	if rows != want {
		return fmt.Errorf("%s has %d rows, and should have %d", table, rows, want)
	}
	return nil
}

// pids are PostgreSQL's processes, one of them for each client.
func (w *warehouse) pids() ([]int, error) {
	first := w.node.Process().PID()
	children, err := machine.Children(first)
	return append(children, first), err
}

// standInSpec is how the stand-in for Redshift is started, in front of a PostgreSQL.
func (i *installation) standInSpec(s proc.Spec) proc.Spec {
	s.Path = i.programs.Path("redshift-standin")
	s.Args = []string{"--listen", i.addr.standIn, "--upstream", i.addr.postgres, "--admin-user", pgtest.User}
	s.Env = append(i.settings(), "HYDRANT_ADMIN_PASSWORD="+pgtest.Password)
	return s
}

// waitStandIn waits until it listens. It has no other readiness.
func (i *installation) waitStandIn(ctx context.Context) error {
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		if err := i.alive(); err != nil {
			return false, err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", i.addr.standIn)
		if err != nil {
			return false, nil //nolint:nilerr // It does not listen yet.
		}
		return true, conn.Close()
	})
}
