package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/e2e/bench/internal/load"
	"hydrant/shared/batch"
)

// cutBatch is a descriptor as the buffer published it.
type cutBatch struct {
	batch.Descriptor
	subject string
	data    []byte
	at      time.Time
}

// cutBatches are the descriptors of a leg, of any number of delivery streams.
type cutBatches struct {
	mu     sync.Mutex
	all    []cutBatch
	seen   map[batch.ID]bool
	bytes  int64
	failed error
}

// watchBatches listens to the buffer on a subject until stop is called.
func (i *installation) watchBatches(subject string) (c *cutBatches, stop func(), err error) {
	c = &cutBatches{seen: map[batch.ID]bool{}}
	sub, err := i.conn.Subscribe(subject, func(m *nats.Msg) { c.add(m, time.Now()) })
	if err != nil {
		return nil, nil, err
	}
	if err := i.conn.Flush(); err != nil {
		return nil, nil, err
	}
	return c, func() { _ = sub.Unsubscribe() }, nil
}

// add takes a descriptor in. Two replicas may publish the same one, of which JetStream stores one.
func (c *cutBatches) add(m *nats.Msg, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := batch.Decode(m.Data)
	if err != nil {
		c.failed = err
		return
	}
	if id := d.ID(); !c.seen[id] {
		c.seen[id], c.bytes = true, c.bytes+d.Bytes
		c.all = append(c.all, cutBatch{d, m.Subject, m.Data, now})
	}
}

// reach waits until the batches hold so many bytes.
func (c *cutBatches) reach(ctx context.Context, bytes int64) ([]cutBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	err := poll(ctx, 2*time.Millisecond, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.bytes >= bytes, c.failed
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.bytes != bytes {
		return nil, errors.Join(err, fmt.Errorf("%d bytes were acknowledged, and %d are in batches", bytes, c.bytes))
	}
	return append([]cutBatch(nil), c.all...), nil
}

// again publishes descriptors once more, so that sinks deliver the same records again without their being put again. Only while no
// buffer runs: it would take them for its own.
func (i *installation) again(ctx context.Context, batches []cutBatch) error {
	for _, b := range batches {
		if _, err := i.js.PublishAsync(b.subject, b.data); err != nil {
			return err
		}
	}
	select {
	case <-i.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// putEvenly puts so many calls on each of some delivery streams, and returns how many bytes of records they hold.
func (b *bench) putEvenly(ctx context.Context, i *installation, streams []string, callsEach int) (int64, error) {
	targets := targetsOf(streams)
	l := b.batches(i)
	l.Length, l.Calls = drainTime, callsEach*len(streams)
	var mu sync.Mutex
	next := 0
	turn := func() int { // each of them the same number of calls, whichever connection is faster
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	l.Next = func(connection, n int) load.Call {
		return b.data.PutBatch(targets[turn()%len(targets)], 7*connection+n)
	}
	put, err := l.Run(ctx)
	return put.Bytes, err
}
