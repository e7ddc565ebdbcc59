package broker

import (
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// doubtTime is longer than servers take to elect a leader.
	doubtTime = 10 * time.Second
	// silenceTime is longer than they take where one first has to give up leading that the others hear and that does not hear them.
	silenceTime = 25 * time.Second
)

// Doubt has a connection leave a NATS server that is cut off from the others of its cluster, or that they do not hear, or that does not
// hear them. Such a server keeps its clients, and they could do nothing for as long as that lasts.
//
// What is asked of the server at that moment has its answer lost. It belongs to one goroutine.
type Doubt struct {
	conn *nats.Conn
	log  *slog.Logger
	now  func() time.Time

	since  time.Time // the server knows no leader
	silent time.Time // since when nothing is answered
}

// NewDoubt returns one that has no doubt yet.
func NewDoubt(conn *nats.Conn, log *slog.Logger) *Doubt {
	return &Doubt{conn: conn, log: log, now: time.Now}
}

// ErrLeaderless means that an answer came from a server that follows and has nobody to follow.
var ErrLeaderless = errors.New("the NATS server knows no leader")

// notAvailable is what a server answers that knows no leader of JetStream.
const notAvailable = 10008

// Note takes in how a request ended that succeeds where there is a leader. When for a while none has, the server says that it knows
// none, and there is another server, the connection goes there; if that says so too, on to the next, after as long. A server that does
// not answer is a lesser sign, and waited for longer: where a leader is gone, none does, and the client finds out itself whether its
// connection is alive. But one that the others do not hear believes for minutes that all is well.
func (d *Doubt) Note(err error) {
	now := d.now()
	switch {
	case err == nil || !d.conn.IsConnected():
		d.since, d.silent = time.Time{}, time.Time{}
	case leaderless(err):
		d.leave(&d.since, doubtTime, now, err)
	case answered(err):
		d.silent = time.Time{}
	default:
		d.leave(&d.silent, silenceTime, now, err)
	}
}

// leave goes to another server when it has been so since a time for longer than patience.
func (d *Doubt) leave(since *time.Time, patience time.Duration, now time.Time, err error) {
	switch {
	case since.IsZero():
		*since = now
	case now.Sub(*since) > patience && len(d.conn.Servers()) > 1:
		d.since, d.silent = time.Time{}, time.Time{}
		d.log.Warn("leaving a NATS server for another: it seems to be cut off", "server", redact(d.conn.ConnectedUrl()), "error", err)
		_ = d.conn.ForceReconnect() // refused when the connection is closed
	}
}

// leaderless tells an error that says so.
func leaderless(err error) bool {
	code, said := refusal(err)
	return errors.Is(err, ErrLeaderless) || said && code == notAvailable
}

// answered tells an error that a server answered with, which no other would answer in another way.
func answered(err error) bool {
	_, said := refusal(err)
	return said
}

// refusal is the code of what JetStream answered, if it did, by either of the client's two packages for JetStream: a watch is made by
// the older one.
func refusal(err error) (code int, said bool) {
	var refused *jetstream.APIError
	var former *nats.APIError
	switch {
	case errors.As(err, &refused):
		return int(refused.ErrorCode), true
	case errors.As(err, &former):
		return int(former.ErrorCode), true
	}
	return 0, false
}
