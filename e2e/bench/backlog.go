package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// backlog is what has been put and is not delivered yet, as the sinks report it in DELIVERIES.
//
// It is also what keeps puts from outrunning the sink: it admits a call only while less than a bound is undelivered, so that
// a load goes on at the rate which put and delivery can hold together.
type backlog struct {
	bound int64 // 0 means none
	align int   // calls are ended at a multiple of it; 0 means anywhere

	mu        sync.Mutex
	until     time.Time // when calls end; zero means that they do not
	calls     int       // admitted
	admitted  int64     // bytes of them
	acked     int64
	delivered int64
	seen      map[batch.ID]bool
	events    []event
	failed    error
	waited    time.Duration // by all connections, for the bound
	changed   chan struct{} // closed at the next change
}

// event is a batch that was delivered.
type event struct {
	at    time.Time
	bytes int64
	entry batch.Delivery
}

func newBacklog(bound int64, align int) *backlog {
	return &backlog{bound: bound, align: align, seen: map[batch.ID]bool{}, changed: make(chan struct{})}
}

// watch listens to all sinks until stop is called. It sees an entry when it is published, some time before it is stored.
func (b *backlog) watch(conn *nats.Conn) (stop func(), err error) {
	return b.watchOne(conn, names.DeliveriesSubject("*", "*"))
}

// watchOne is watch for one subject: a staged object is announced by its sink and loaded by another, under one batch id.
func (b *backlog) watchOne(conn *nats.Conn, subject string) (stop func(), err error) {
	sub, err := conn.Subscribe(subject, func(m *nats.Msg) { b.deliver(m.Data, time.Now()) })
	if err != nil {
		return nil, err
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// deliver takes an entry in. An entry that comes twice counts once.
func (b *backlog) deliver(data []byte, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, err := batch.DecodeDelivery(data)
	switch {
	case err != nil:
		b.failed = err
	case b.seen[d.Batch]:
		return
	case d.Outcome != batch.Delivered:
		b.failed = fmt.Errorf("batch %s was not delivered: %s", d.Batch, d.Outcome)
	case d.FailedRecords > 0:
		b.failed = fmt.Errorf("of batch %s, %d records were not delivered", d.Batch, d.FailedRecords)
	default:
		b.seen[d.Batch] = true
		b.delivered += d.Bytes
		b.events = append(b.events, event{now, d.Bytes, d})
	}
	b.wake()
}

func (b *backlog) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// endAt says when calls are to end.
func (b *backlog) endAt(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.until = until
}

// admit waits until a call may be made. It says no when there are to be no more, because the load is over, the context ends,
// or a delivery has failed, which drained returns.
func (b *backlog) admit(ctx context.Context, bytes int64) bool {
	for {
		admitted, wait := b.tryAdmit(bytes)
		if admitted || wait == nil {
			return admitted
		}
		began := time.Now()
		select {
		case <-wait:
		case <-ctx.Done():
			return false
		}
		b.addWaited(time.Since(began))
	}
}

// tryAdmit admits a call, or returns what to wait for, or neither when there are to be no more.
func (b *backlog) tryAdmit(bytes int64) (admitted bool, wait <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.failed != nil || b.over():
		return false, nil
	case b.bound > 0 && b.admitted+bytes-b.delivered > b.bound:
		return false, b.changed
	}
	b.calls++
	b.admitted += bytes
	return true, nil
}

func (b *backlog) over() bool {
	return !b.until.IsZero() && time.Now().After(b.until) && (b.align == 0 || b.calls%b.align == 0)
}

func (b *backlog) addWaited(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waited += d
}

func (b *backlog) ack(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked += bytes
}

// undelivered is what was acknowledged and is not delivered.
func (b *backlog) undelivered() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acked - b.delivered
}

// drained waits until everything acknowledged is delivered.
func (b *backlog) drained(ctx context.Context) error {
	for {
		b.mu.Lock()
		acked, left, failed, wait := b.acked, b.acked-b.delivered, b.failed, b.changed
		b.mu.Unlock()
		if failed != nil || left == 0 {
			return failed
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("%d bytes of %d are not delivered: %w", left, acked, ctx.Err())
		}
	}
}

// history is every delivery so far.
func (b *backlog) history() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]event(nil), b.events...)
}
