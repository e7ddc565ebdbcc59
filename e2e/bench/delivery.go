package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

// drainTime is how long delivery may go on after the last put.
const drainTime = 2 * time.Minute

// delivered is what a load came to while everything that it put was delivered.
type delivered struct {
	put   load.Result
	began time.Time
	rate  float64       // MB/s of records delivered while puts went on, where that was asked for
	drain time.Duration // from the last put to the last delivery
	flush time.Duration // from there until the disk has written the objects, which the S3 server does not sync

	events      []event
	undelivered []sample
	waited      time.Duration // of puts, by all connections, for the bound

	whilePut usage // of the cores
	whole    usage // until the last delivery
	peak     map[string]int64

	objects int
	stored  int64 // bytes of them
}

// sample is what was undelivered at a time since the load began.
type sample struct {
	seconds float64
	bytes   int64
}

// total is MB/s of records from the first put until they were delivered and on the disk.
func (d delivered) total() float64 {
	return float64(d.put.Bytes) / 1e6 / (d.put.Took + d.drain + d.flush).Seconds()
}

// mostUndelivered is in MB.
func (d delivered) mostUndelivered() float64 {
	most := int64(0)
	for _, s := range d.undelivered {
		most = max(most, s.bytes)
	}
	return float64(most) / 1e6
}

// series is what was undelivered at each second, in MB.
func (d delivered) series() string {
	parts := make([]string, len(d.undelivered))
	for n, s := range d.undelivered {
		parts[n] = strconv.FormatInt(s.bytes/1e6, 10)
	}
	return strings.Join(parts, " ")
}

// growth is by how many MB/s the backlog grew in the second half of the load.
func (d delivered) growth() float64 {
	var x, y []float64
	for _, s := range d.undelivered[len(d.undelivered)/2:] {
		x, y = append(x, s.seconds), append(y, float64(s.bytes)/1e6)
	}
	return report.Slope(x, y)
}

// deliverLoad puts the load on until the backlog says that it is over, waits for the rest to be delivered, and counts it
// in the bucket. packed says that objects are compressed.
func (i *installation) deliverLoad(ctx context.Context, l load.Load, back *backlog, packed bool) (d delivered, err error) {
	stop, err := back.watch(i.conn)
	if err != nil {
		return d, err
	}
	defer stop()
	before, err := i.cpu()
	if err != nil {
		return d, err
	}
	memory := machine.Watch(ctx, i.pids())
	d.began = time.Now()
	back.endAt(d.began.Add(l.Length))
	l.Length += drainTime // calls end by the backlog, at the end of a batch
	l.Admit, l.Acked = both(l.Admit, back.admit), back.ack
	samples := sampleBacklog(ctx, back, d.began)
	d.put, err = l.Run(ctx)
	d.undelivered = samples()
	if err == nil {
		err = i.drain(ctx, &d, back, before)
	}
	d.peak = memory.Stop()
	if err != nil {
		return d, errors.Join(err, i.alive())
	}
	d.waited, d.events = back.waited, back.history()
	return d, i.count(ctx, &d, packed)
}

// admission says whether a call may be made, when it may.
type admission = func(ctx context.Context, bytes int64) bool

// both asks two, of which the first may be missing.
func both(first, second admission) admission {
	if first == nil {
		return second
	}
	return func(ctx context.Context, bytes int64) bool { return first(ctx, bytes) && second(ctx, bytes) }
}

// drain waits for the rest, and takes the time.
func (i *installation) drain(ctx context.Context, d *delivered, back *backlog, before usage) error {
	ended := time.Now()
	used, err := i.cpu()
	if err != nil {
		return err
	}
	d.whilePut = used.since(before)
	timed, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := back.drained(timed); err != nil {
		return err
	}
	d.drain = time.Since(ended)
	if used, err = i.cpu(); err != nil {
		return err
	}
	d.whole = used.since(before)
	ended = time.Now()
	err = machine.Flush(i.dir)
	d.flush = time.Since(ended)
	return err
}

// sampleBacklog looks at the backlog each second until the function it returns is called.
func sampleBacklog(ctx context.Context, back *backlog, began time.Time) (stop func() []sample) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []sample, 1)
	look := func() sample { return sample{time.Since(began).Seconds(), back.undelivered()} }
	go func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		var samples []sample
		for {
			select {
			case <-ctx.Done():
				done <- append(samples, look())
				return
			case <-ticker.C:
				samples = append(samples, look())
			}
		}
	}()
	return func() []sample {
		cancel()
		return <-done
	}
}

// leastEvents is how many deliveries a rate can be taken from.
const leastEvents = 4

// deliveryRate is the MB/s of what was delivered until puts ended: the slope of the line through the sums of bytes at each
// delivery. Counting what was delivered within the time would be wrong by up to a batch at either end.
func deliveryRate(events []event, began, ended time.Time) (float64, error) {
	var x, y []float64
	sum := int64(0)
	for _, e := range events {
		sum += e.bytes
		if e.at.After(ended) {
			break
		}
		x, y = append(x, e.at.Sub(began).Seconds()), append(y, float64(sum)/1e6)
	}
	if len(x) < leastEvents {
		return 0, fmt.Errorf("only %d batches were delivered while records were put: make -length longer", len(x))
	}
	return report.Slope(x, y), nil
}

// count finds every acknowledged byte in the bucket, and removes the objects.
func (i *installation) count(ctx context.Context, d *delivered, packed bool) error {
	client := i.s3Client()
	found, err := listObjects(ctx, client)
	if err != nil {
		return err
	}
	d.objects, d.stored = len(found.keys), found.bytes
	records := found.bytes
	if packed {
		if records, err = unpackedBytes(ctx, client, found); err != nil {
			return err
		}
	}
	if records != d.put.Bytes {
		return fmt.Errorf("%d bytes were acknowledged, and the %d objects hold %d", d.put.Bytes, len(found.keys), records)
	}
	return deleteObjects(ctx, client, found)
}
