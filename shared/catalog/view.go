package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/format"
	"hydrant/shared/internal/kvwatch"
	"hydrant/shared/names"
	"hydrant/shared/pause"
)

const (
	freshenEvery = 500 * time.Millisecond
	catchUpTime  = 3 * time.Second // a watch that does not catch up within it is replaced
)

// View is a local copy of the catalog that follows it while Run runs.
type View struct {
	// Refused is told of documents that a newer version wrote. It is set before Run, or stays nil.
	Refused *format.Refused

	catalog *Catalog
	log     *slog.Logger
	doubt   *broker.Doubt
	marks   *marks

	unproved atomic.Bool // that the store is full was told, and nothing was proved since

	mu        sync.RWMutex
	streams   map[names.Stream]*DeliveryStream
	refused   map[names.Stream]error // documents that are there and cannot be read
	seen      uint64                 // revision up to which the copy is whole
	freshAsOf time.Time              // the copy is no older than this
	moved     chan struct{}          // closed and replaced whenever seen grows
}

// NewView returns a view that is empty until Run has read the catalog.
func NewView(c *Catalog, log *slog.Logger) *View {
	return &View{
		catalog: c, log: log, doubt: broker.NewDoubt(c.js.Conn(), log), marks: newMarks(), moved: make(chan struct{}),
		streams: map[names.Stream]*DeliveryStream{}, refused: map[names.Stream]error{},
	}
}

// Get returns the document of a delivery stream, or nil.
func (v *View) Get(name names.Stream) *DeliveryStream {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.streams[name]
}

// All returns every document, by name.
func (v *View) All() map[names.Stream]*DeliveryStream {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return maps.Clone(v.streams)
}

// Unreadable returns why a document that is in the catalog cannot be read: a newer version of Hydrant wrote it. Get then
// returns nil, as for a delivery stream that is deleted, which it is not.
func (v *View) Unreadable(name names.Stream) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.refused[name]
}

// FreshAsOf returns a time, with a monotonic reading, that the view is no older than; zero before it was first read.
func (v *View) FreshAsOf() time.Time {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.freshAsOf
}

// Ready returns an error while the view has not been read, or has not been confirmed for long.
func (v *View) Ready() error {
	if age := time.Since(v.FreshAsOf()); age > 10*time.Second {
		return errors.New("the catalog cannot be read")
	}
	return nil
}

// Run follows the catalog until ctx ends, and calls changed, from one goroutine, after each change with the name of the
// stream that changed. A watch that ends or falls behind is replaced.
func (v *View) Run(ctx context.Context, changed func(names.Stream)) {
	for ctx.Err() == nil {
		if err := v.follow(ctx, changed); err != nil && ctx.Err() == nil {
			v.log.Warn("catalog watch ended, starting another", "error", err)
			v.doubt.Note(err)
			pause.For(ctx, freshenEvery)
		}
	}
}

// follow runs one watch, and beside it the check that the watch keeps up.
func (v *View) follow(ctx context.Context, changed func(names.Stream)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch, err := kvwatch.Start(ctx, v.catalog.js.Conn(), v.catalog.kv, jetstream.AllKeys)
	if err != nil {
		return err
	}
	defer watch.Stop()

	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { cancel(v.freshen(ctx)) })
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case entry, open := <-watch.Updates():
			if !open {
				return errors.New("watch closed")
			}
			if entry != nil { // nil marks the end of what was there at the start
				v.apply(entry, changed)
			}
		}
	}
}

func (v *View) apply(entry jetstream.KeyValueEntry, changed func(names.Stream)) {
	if entry.Key() == proofKey {
		v.pass(entry.Revision())
		return
	}
	name := names.StreamFromKey(entry.Key())
	var d *DeliveryStream
	var err error
	if entry.Operation() == jetstream.KeyValuePut {
		if d, err = decode(entry.Value()); err != nil {
			v.log.Error("delivery stream left out", "stream", name, "error", err)
		}
	}
	v.mu.Lock()
	if entry.Revision() <= v.seen { // a new watch starts from the beginning
		v.mu.Unlock()
		return
	}
	delete(v.streams, name)
	delete(v.refused, name)
	if d != nil {
		v.streams[name] = d
	}
	if err != nil {
		v.refused[name] = err
	}
	v.advance(entry.Revision())
	v.mu.Unlock()
	v.Refused.Note("delivery stream "+string(name), err)
	if changed != nil {
		changed(name)
	}
}

// pass takes in a revision that changes nothing.
func (v *View) pass(revision uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision > v.seen {
		v.advance(revision)
	}
}

// advance needs v.mu.
func (v *View) advance(revision uint64) {
	v.seen = revision
	close(v.moved)
	v.moved = make(chan struct{})
}

// freshen confirms, again and again, that the watch has seen everything there is. It returns when the watch does not get
// on any more. A NATS server that is cut off is left.
func (v *View) freshen(ctx context.Context) error {
	for {
		before := v.revision()
		err := v.Freshen(ctx)
		if errors.Is(err, errBehind) && v.revision() == before {
			return err
		}
		v.doubt.Note(err)
		if !pause.For(ctx, freshenEvery) {
			return ctx.Err()
		}
	}
}

func (v *View) revision() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.seen
}

var errBehind = errors.New("the watch fell behind")

// Freshen returns when the view is known to hold everything that was in the catalog when Freshen was called. It returns an
// error when that cannot be known within a few seconds, or ctx ends; the view is then no worse than before.
//
// It goes by the word of one NATS server. In a cluster, one that was cut off or stopped may believe for a moment that it still
// leads, and not know the newest. Before something is removed because of what the catalog says, that is too little: see Prove.
func (v *View) Freshen(ctx context.Context) error {
	return v.catchUp(ctx, v.catalog.end)
}

// catchUp returns when the view holds everything up to where end says that the catalog ends.
func (v *View) catchUp(ctx context.Context, end func(context.Context) (uint64, error)) error {
	asked := time.Now()
	waiting, cancel := context.WithTimeoutCause(ctx, catchUpTime, errBehind)
	defer cancel()
	last, err := end(waiting)
	if err != nil {
		return fmt.Errorf("read the catalog's state: %w", err)
	}
	for {
		moved, there := v.holds(last, asked)
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-waiting.Done():
			return context.Cause(waiting)
		}
	}
}

// holds tells whether the view, which was asked for at that time, is whole up to a revision; if not, when to ask again.
func (v *View) holds(revision uint64, asked time.Time) (moved <-chan struct{}, there bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen < revision {
		return v.moved, false
	}
	if v.freshAsOf.Before(asked) {
		v.freshAsOf = asked
	}
	return nil, true
}
