package buffer

import (
	"context"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// link tells the cutters when the connection to NATS was made anew: what was on its way over the old one is lost.
type link struct {
	conn *nats.Conn
	made atomic.Pointer[chan struct{}]
}

func newLink(conn *nats.Conn) *link {
	l := &link{conn: conn}
	made := make(chan struct{})
	l.made.Store(&made)
	return l
}

// again returns a channel that is closed when the connection is made anew after now.
func (l *link) again() <-chan struct{} { return *l.made.Load() }

func (l *link) up() bool { return l.conn.IsConnected() }

// run watches the connection until ctx ends.
func (l *link) run(ctx context.Context) {
	status := l.conn.StatusChanged(nats.CONNECTED)
	defer l.conn.RemoveStatusListener(status)
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-status:
			if !open {
				return
			}
			made := make(chan struct{})
			close(*l.made.Swap(&made))
		}
	}
}
