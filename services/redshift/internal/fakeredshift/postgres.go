// Package fakeredshift is test support: a database that loads as Redshift does, and can be told to fail, to stall, and to carry a
// transaction out and lose the answer. Nothing but tests may import it.
//
// It is a real PostgreSQL behind a proxy of its protocol. Everything goes to PostgreSQL as it is, but for COPY … FROM 's3://…', which the
// test says what to do instead of: locks, snapshots and transactions are PostgreSQL's own. As with Redshift, transactions read
// from the snapshot of their first statement.
package fakeredshift

import (
	"context"

	"hydrant/shared/pgtest"
)

// The database's first user.
const (
	User     = pgtest.User
	Password = pgtest.Password
)

// ErrMissing says that there is no PostgreSQL on this machine.
var ErrMissing = pgtest.ErrNotInstalled

// Postgres is a PostgreSQL server of the test's own.
type Postgres struct {
	Address string
	server  *pgtest.Server
	remove  func() error
}

// StartPostgres makes a server on a free port, and waits until it answers.
func StartPostgres() (*Postgres, error) {
	server, remove, err := pgtest.Run(context.Background(), "default_transaction_isolation=repeatable read", "fsync=off")
	if err != nil {
		return nil, err
	}
	return &Postgres{server.Addr, server, remove}, nil
}

// Stop ends the server, and removes what it kept.
func (p *Postgres) Stop() error {
	p.server.Kill()
	return p.remove()
}
