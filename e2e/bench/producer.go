package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go"

	"hydrant/e2e/bench/internal/load"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// readers read objects at once, so that one that is slow does not hold up the next.
const readers = 4

var errEnough = errors.New("the load is over")

// producer puts records on one connection, and reads the objects that they are delivered in.
type producer struct {
	b    *bench
	i    *installation
	s3   *s3.Client
	read chan struct{} // holds one token after an object was read

	mu   sync.Mutex
	sent map[string]time.Time // records on their way, by the word they begin with
	took []time.Duration
}

func newProducer(b *bench, i *installation) *producer {
	return &producer{b: b, i: i, s3: i.s3Client(), read: make(chan struct{}, 1)}
}

// round puts records for a while, each after the answer to the last or, with wait, after the last was read in its object. It returns
// the times of all of them, ascending, when all are read.
func (p *producer) round(ctx context.Context, wait bool, length time.Duration) ([]time.Duration, error) {
	p.sent, p.took = map[string]time.Time{}, nil
	entries := make(chan *nats.Msg, 10_000)
	sub, err := p.i.conn.ChanSubscribe(names.DeliveriesSubject("*", "*"), entries)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	ctx, cancel := context.WithTimeout(ctx, length+drainTime)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() { p.readAll(ctx, entries, fail) })
	}
	err = p.put(ctx, wait, length)
	if err == nil {
		err = p.idle(ctx)
	}
	fail(errEnough)
	wg.Wait()
	slices.Sort(p.took)
	return p.took, err
}

func (p *producer) put(ctx context.Context, wait bool, length time.Duration) error {
	conn, err := load.Dial(ctx, p.i.addr.api)
	if err != nil {
		return err
	}
	defer conn.Close()
	target := load.NewTarget(oneStream)
	end := time.Now().Add(length)
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		word := fmt.Sprintf("%d.%d ", end.UnixNano(), n)
		call := load.PutText(target, append([]byte(word), p.b.data.Record(n)[len(word):]...))
		p.begin(word)
		if err := conn.Do(call); err != nil {
			return err
		}
		if wait {
			if err := p.idle(ctx); err != nil {
				return err
			}
		}
	}
	return context.Cause(ctx)
}

// begin takes the time of a record that is about to be put.
func (p *producer) begin(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[word] = time.Now()
}

// end takes the time of a record that was read. One that was read before is not counted again.
func (p *producer) end(word string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if began, underway := p.sent[word]; underway {
		delete(p.sent, word)
		p.took = append(p.took, now.Sub(began))
	}
}

// idle waits until every record that was put has been read.
func (p *producer) idle(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := len(p.sent)
		p.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-p.read:
		case <-ctx.Done():
			return fmt.Errorf("%d records were not read: %w", left, context.Cause(ctx))
		}
	}
}

func (p *producer) readAll(ctx context.Context, entries <-chan *nats.Msg, fail context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case entry := <-entries:
			if err := p.readOne(ctx, entry.Data); err != nil && !errors.Is(context.Cause(ctx), errEnough) {
				fail(err)
			}
			select {
			case p.read <- struct{}{}:
			default:
			}
		}
	}
}

// readOne reads the object of an entry, and takes the time of the records in it.
func (p *producer) readOne(ctx context.Context, entry []byte) error {
	d, err := batch.DecodeDelivery(entry)
	if err != nil {
		return err
	}
	name, key, found := strings.Cut(strings.TrimPrefix(d.Location, "s3://"), "/")
	if !found {
		return fmt.Errorf("batch %s was not delivered to S3: %s %s", d.Batch, d.Outcome, d.Location)
	}
	object, err := p.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &name, Key: &key})
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	defer func() { _ = object.Body.Close() }()
	text, err := io.ReadAll(object.Body)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	now := time.Now()
	for ; len(text) >= load.RecordBytes; text = text[load.RecordBytes:] {
		if space := bytes.IndexByte(text[:load.RecordBytes], ' '); space > 0 {
			p.end(string(text[:space+1]), now)
		}
	}
	return nil
}
