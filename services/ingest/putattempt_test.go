package ingest

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/natstest"
)

// slowDialer makes connections to a server that is there, at once or when it is let.
type slowDialer struct {
	slow   atomic.Bool
	dialed chan struct{}
	let    chan struct{}
}

func (d *slowDialer) Dial(network, address string) (net.Conn, error) {
	if d.slow.Load() {
		d.dialed <- struct{}{}
		<-d.let
	}
	return new(net.Dialer).DialContext(context.Background(), network, address)
}

// A put gives up while a connection is being made, which then succeeds: the put is not stored after that.
func TestPutWhileAConnectionIsMade(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	d := r.stream("demo", 1)
	dialer := &slowDialer{dialed: make(chan struct{}), let: make(chan struct{})}
	conn, err := nats.Connect(r.server.URL(), nats.SetCustomDialer(dialer), nats.ReconnectBufSize(-1), nats.ReconnectWait(time.Millisecond))
	r.must(err)
	t.Cleanup(conn.Close)
	l := r.putLog(r.server.URL(), func(l *putLog) { l.replies = newReplies(conn) })
	r.putOne(l, d, "before")

	dialer.slow.Store(true)
	r.must(conn.ForceReconnect())
	<-dialer.dialed
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	result := l.put(ctx, d, callerOf("given up"), dataOf([]byte("given up"))).list()
	if !errors.Is(result[0].Err, errUnavailable) {
		t.Errorf("error %v", result[0].Err)
	}
	dialer.slow.Store(false)
	dialer.let <- struct{}{}
	natstest.WaitFor(t, "connected", conn.IsConnected)
	r.putOne(l, d, "after")
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("the log holds %q", got)
	}
}
