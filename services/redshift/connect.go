package redshift

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"

	"hydrant/shared/catalog"
	"hydrant/shared/jdbcurl"
)

const (
	// cancelTime is how long a server that was asked to give a statement up may take to say that it did. After it the connection
	// is cut, and nobody knows what became of the statement.
	cancelTime = 10 * time.Second

	// rollbackTime is how long a transaction that failed may take to be rolled back before its connection is cut instead.
	rollbackTime = 5 * time.Second
)

// errBroken says that a connection was lost, and with it the answer to what was sent last.
var errBroken = errors.New("the connection was lost")

// target is a database and who loads into it.
type target struct {
	url      jdbcurl.URL
	user     string
	password string
}

func targetOf(to *catalog.RedshiftDestination) (target, error) {
	url, err := jdbcurl.Parse(text(to.Description.ClusterJDBCURL))
	if err != nil {
		return target{}, fmt.Errorf("ClusterJDBCURL: %w", err)
	}
	return target{url: url, user: text(to.Description.Username), password: to.Password.Plain()}, nil
}

// text is what a setting holds, which may be none.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// database is the connections to a target. They are kept between two COPYs, and closed when they have had nothing to do for a
// while.
type database struct {
	target
	*sql.DB
}

func openDatabase(to target, cfg Config) *database {
	db := sql.OpenDB(&connector{cfg: cfg.connection(to), statementTime: cfg.CopyTimeout})
	db.SetMaxIdleConns(1)
	db.SetConnMaxIdleTime(cfg.IdleTime)
	return &database{target: to, DB: db}
}

// connection is how a target is connected to. Nothing is taken from the environment; of libpq's files only a certificate that the
// service's user has in its home directory, for servers that ask clients for one.
func (c Config) connection(to target) pq.Config {
	mode, authorities := c.encryption(to.url.SSLMode)
	return pq.Config{
		Host: to.url.Host, Port: uint16(to.url.Port), Database: to.url.Database, User: to.user, Password: to.password,
		SSLMode: mode, SSLRootCert: authorities, SSLSNI: true, ConnectTimeout: c.ConnectTimeout,
		ApplicationName: "hydrant", ClientEncoding: "UTF8", Datestyle: "ISO, MDY", MinProtocolVersion: "3.0", MaxProtocolVersion: "3.0",
	}
}

// connector makes connections that can be cut.
type connector struct {
	cfg           pq.Config
	statementTime time.Duration
}

var _ driver.Connector = (*connector)(nil)

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	through, err := pq.NewConnectorConfig(c.cfg)
	if err != nil {
		return nil, err
	}
	line := new(dialer)
	through.Dialer(line)
	made, err := through.Connect(ctx)
	if err != nil {
		return nil, line.lost(err)
	}
	conn, ok := made.(pqConn)
	if !ok {
		return nil, errors.Join(errors.New("the PostgreSQL client does not know contexts"), made.Close())
	}
	opened := &connection{pqConn: conn, line: line}
	if err := opened.limit(ctx, c.statementTime); err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return opened, nil
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

// pqConn is what is used of a connection of the client.
type pqConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// connection is one that is cut when its server does not answer for long after the end of a context. The client alone would ask
// the server to give up, and then wait for ever.
type connection struct {
	pqConn
	line *dialer
}

// limit has the server itself end a statement that takes too long: nothing else does if this process is stopped.
func (c *connection) limit(ctx context.Context, most time.Duration) error {
	_, err := c.ExecContext(ctx, "SET statement_timeout TO "+strconv.FormatInt(most.Milliseconds(), 10), nil)
	return err
}

// ExecContext implements driver.ExecerContext.
func (c *connection) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	c.line.readUntil(ctx)
	defer c.cutAfter(ctx)()
	result, err := c.pqConn.ExecContext(ctx, query, args)
	return result, lost(err)
}

// QueryContext implements driver.QueryerContext.
func (c *connection) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.line.readUntil(ctx)
	defer c.cutAfter(ctx)()
	rows, err := c.pqConn.QueryContext(ctx, query, args)
	return rows, lost(err)
}

// cutAfter cuts the connection some time after the end of ctx, unless the function that it returns is called before.
func (c *connection) cutAfter(ctx context.Context) (done func()) {
	answered := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-answered:
			return
		case <-ctx.Done():
		}
		timer := time.NewTimer(cancelTime)
		defer timer.Stop()
		select {
		case <-answered:
		case <-timer.C:
			c.line.cut()
		}
	})
	return func() {
		close(answered)
		watching.Wait()
	}
}

// lost makes what the client says of a connection that is gone one error. database/sql repeats a statement whose error is
// driver.ErrBadConn, as if it had not been sent.
func lost(err error) error {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%w: %s", errBroken, err) //nolint:errorlint // the cause must not be seen: see above
	}
	return err
}

// answered tells that an error is the server's word that a transaction was not carried out. What ends a connection, or the server, or is
// asked for by an operator, may come after the commit.
func answered(err error) bool {
	var from *pq.Error
	if !errors.As(err, &from) || from.Severity != "ERROR" {
		return false
	}
	class := from.Code.Class()
	return class != "08" && class != "57"
}

// discard closes a connection instead of keeping it for the next COPY.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // it says that it is closed
}

// dialer remembers the first connection that it made. Later ones ask the server to cancel a statement.
type dialer struct {
	mu    sync.Mutex
	first *wire
}

var _ pq.DialerContext = (*dialer)(nil)

// Dial implements pq.Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialTimeout implements pq.Dialer.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

// DialContext implements pq.DialerContext.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == nil {
		d.first = &wire{Conn: conn}
		return d.first, nil
	}
	return conn, nil
}

// lost is as the function is, for an error of connecting: the client hides of which kind it is when nothing could be sent.
func (d *dialer) lost(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var said *pq.Error
	if d.first != nil && d.first.unsent.Load() && !errors.As(err, &said) {
		return fmt.Errorf("%w: %s", errBroken, err) //nolint:errorlint // see lost
	}
	return lost(err)
}

// wire remembers that something could not be sent.
type wire struct {
	net.Conn
	unsent atomic.Bool
}

// Write implements net.Conn.
func (w *wire) Write(data []byte) (int, error) {
	n, err := w.Conn.Write(data)
	if err != nil {
		w.unsent.Store(true)
	}
	return n, err
}

// readUntil bounds what is read from now on by the deadline of ctx, and the time to give up: rows are read after the call that
// asked for them.
func (d *dialer) readUntil(ctx context.Context) {
	var until time.Time
	if deadline, ok := ctx.Deadline(); ok {
		until = deadline.Add(cancelTime)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.first.SetReadDeadline(until) // of a connection that is closed, which the read then says
}

func (d *dialer) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.first.Close()
}
