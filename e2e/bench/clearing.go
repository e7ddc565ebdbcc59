package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/machine"
)

// clearing is what a part took that was started on what waits for it.
type clearing struct {
	start time.Duration // of the process, until it was ready
	took  time.Duration // from there until the last entry
	cpu   time.Duration // used for the start
}

// clear starts a part on a backlog of so many bytes, and returns when the last entry of it is on the subject. The part goes on.
func (i *installation) clear(ctx context.Context, part, subject string, bytes int64) (c clearing, err error) {
	back := newBacklog(0, 0)
	back.ack(bytes)
	stop, err := back.watchOne(i.conn, subject)
	if err != nil {
		return c, err
	}
	defer stop()
	started := time.Now()
	if err := i.start(ctx, part); err != nil {
		return c, err
	}
	c.start = time.Since(started)
	if c.cpu, err = machine.CPU(i.parts[part].PID()); err != nil {
		return c, err
	}
	timed, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := back.drained(timed); err != nil {
		return c, fmt.Errorf("%w; the log of %s ends with: %s", err, part, i.parts[part].LogTail(1000))
	}
	events := back.history()
	c.took = events[len(events)-1].at.Sub(started) - c.start
	return c, nil
}
