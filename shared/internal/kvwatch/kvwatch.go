// Package kvwatch watches keys of a key-value bucket, without three traps of the client's own watch: it waits for ever for
// an answer that is lost with the connection, or that JetStream drops when it has too much to do; after NATS was started
// again it sees nothing for many seconds; and when it is stopped its goroutine waits for ever for somebody to take the
// entries that it has received.
//
// A watch sees each key's newest entry, deletions included, in the order of revisions, then a nil, then every change. It
// ends when the connection is made anew: Updates is then closed and the caller makes another watch.
package kvwatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// patience is how long JetStream may take to make a watch, and the client to end one.
const patience = 5 * time.Second

var (
	errLate        = errors.New("JetStream did not answer in time")
	errReconnected = errors.New("the connection to NATS was made anew")
)

// Watch is a running watch. Stop must be called.
type Watch struct {
	watcher     jetstream.KeyWatcher
	cancel      context.CancelCauseFunc
	reconnected <-chan struct{} // closed when the goroutine that waits for a new connection has ended
}

// Start watches keys of kv, which is on conn, until ctx ends or Stop is called.
func Start(ctx context.Context, conn *nats.Conn, kv jetstream.KeyValue, keys string) (*Watch, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	reconnected := make(chan struct{})
	status := conn.StatusChanged(nats.CONNECTED)
	go func() {
		defer close(reconnected)
		defer conn.RemoveStatusListener(status)
		select {
		case <-status:
			cancel(errReconnected)
		case <-ctx.Done():
		}
	}()
	late := time.AfterFunc(patience, func() { cancel(errLate) })
	watcher, err := kv.Watch(ctx, keys)
	late.Stop()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		cancel(nil)
		<-reconnected
		return nil, fmt.Errorf("watch %s of bucket %s: %w", keys, kv.Bucket(), err)
	}
	return &Watch{watcher, cancel, reconnected}, nil
}

// Updates yields the entries, and is closed when the watch has ended.
func (w *Watch) Updates() <-chan jetstream.KeyValueEntry { return w.watcher.Updates() }

// Stop ends the watch and waits for its goroutines.
func (w *Watch) Stop() {
	defer func() { <-w.reconnected }()
	defer w.cancel(nil)
	_ = w.watcher.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case _, open := <-w.Updates():
			if !open {
				return
			}
		case <-late.C:
			return
		}
	}
}
