package broker

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// doubtTime is longer than servers take to elect a leader.
const doubtTime = 10 * time.Second

// Doubt has a connection leave a NATS server that is cut off from the others of its cluster. Such a server keeps its clients, and they
// could do nothing for as long as that lasts.
//
// What is asked of the server at that moment has its answer lost. It belongs to one goroutine.
type Doubt struct {
	conn  *nats.Conn
	log   *slog.Logger
	since time.Time // since when nothing succeeds
}

// NewDoubt returns one that has no doubt yet.
func NewDoubt(conn *nats.Conn, log *slog.Logger) *Doubt { return &Doubt{conn: conn, log: log} }

// Note takes in how a request ended that succeeds where there is a leader. When none has for a while, and there is another server, the
// connection goes there; if all is not well there either, on to the next, after as long.
func (d *Doubt) Note(err error) {
	now := time.Now()
	switch {
	case err == nil || !d.conn.IsConnected():
		d.since = time.Time{}
	case d.since.IsZero():
		d.since = now
	case now.Sub(d.since) > doubtTime && len(d.conn.Servers()) > 1:
		d.since = now
		d.log.Warn("leaving a NATS server for another: it seems to be cut off", "server", redact(d.conn.ConnectedUrl()), "error", err)
		_ = d.conn.ForceReconnect() // refused when the connection is closed
	}
}
