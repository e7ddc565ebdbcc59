package broker

import (
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

// ErrLeaderless means that an answer came from a server that follows and has nobody to follow.
var ErrLeaderless = errors.New("the NATS server knows no leader")

// notAvailable is what a server answers that knows no leader of JetStream.
const notAvailable = 10008

// Note takes in how a request ended that succeeds where there is a leader. When for a while none has, the server says that it knows
// none, and there is another server, the connection goes there; if that says so too, on to the next, after as long. A server that does
// not answer is no sign: where a leader is gone, none does, and the client finds out itself whether its connection is alive.
func (d *Doubt) Note(err error) {
	now := time.Now()
	switch {
	case err == nil || !d.conn.IsConnected():
		d.since = time.Time{}
	case !leaderless(err):
	case d.since.IsZero():
		d.since = now
	case now.Sub(d.since) > doubtTime && len(d.conn.Servers()) > 1:
		d.since = now
		d.log.Warn("leaving a NATS server for another: it seems to be cut off", "server", redact(d.conn.ConnectedUrl()), "error", err)
		_ = d.conn.ForceReconnect() // refused when the connection is closed
	}
}

// leaderless tells an error that says so, of either of the client's two packages for JetStream: a watch is made by the older one.
func leaderless(err error) bool {
	var refused *jetstream.APIError
	var former *nats.APIError
	return errors.Is(err, ErrLeaderless) || errors.As(err, &refused) && refused.ErrorCode == notAvailable ||
		errors.As(err, &former) && former.ErrorCode == notAvailable
}
