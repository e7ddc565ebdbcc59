package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/report"
)

const (
	// backlogCalls put 1 GB: two batches in each of a thousand delivery streams.
	backlogCalls = 2 * manyStreams
	mostStarts   = 2 // of each kind
)

func startEstimate(o options) time.Duration {
	return createTime + 10*time.Second + time.Duration(min(o.rounds, mostStarts))*12*time.Second
}

// measureStart starts an all-in-one program anew on what it has stored. Nothing of the backlog is delivered meanwhile: the
// hints are the longest there are.
func measureStart(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startAllInOne(ctx, b.place("start"), b.programs)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	streams := streamNames()
	if err := i.createStreams(ctx, hints{sizeMB: 128, interval: 900}, streams...); err != nil {
		return err
	}
	if err := b.fill(ctx, i, row, targetsOf(streams)); err != nil {
		return err
	}
	for round := range min(b.rounds, mostStarts) {
		if _, err := b.disk(ctx, row); err != nil {
			return err
		}
		if err := i.starts(ctx, row); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, min(b.rounds, mostStarts), row.Last("ready after SIGTERM", "ready after SIGKILL"))
	}
	return nil
}

// fill puts the backlog.
func (b *bench) fill(ctx context.Context, i *installation, row *report.Row, targets []load.Target) error {
	l := b.batches(i)
	l.Length, l.Calls = drainTime, backlogCalls
	l.Next = func(connection, n int) load.Call {
		return b.data.PutBatch(targets[(connection+n*batchConnections)%len(targets)], 7*connection+n)
	}
	got, err := l.Run(ctx)
	if err != nil {
		return err
	}
	if got.Calls < backlogCalls {
		return fmt.Errorf("only %d of %d batches were put within %s", got.Calls, backlogCalls, drainTime)
	}
	row.Note(fmt.Sprintf("%d delivery streams with %.2f GB of records that are not delivered", len(targets), float64(got.Bytes)/1e9))
	b.progress.say("put the backlog in %.0f s", got.Took.Seconds())
	return nil
}

// starts stops the program in each of the two ways and takes the time from the start until it is ready.
func (i *installation) starts(ctx context.Context, row *report.Row) error {
	p := i.parts[partAllInOne]
	began := time.Now()
	if err := p.Terminate(stopTime); err != nil {
		return err
	}
	row.Figure("stop after SIGTERM", "s").Add(time.Since(began).Seconds())
	took, err := i.restart(ctx)
	if err != nil {
		return err
	}
	row.Goal("ready after SIGTERM", "s", report.AtMost(5)).Add(took.Seconds())
	p.Kill()
	if took, err = i.restart(ctx); err != nil {
		return err
	}
	row.Goal("ready after SIGKILL", "s", report.AtMost(5)).Add(took.Seconds())
	return nil
}

func (i *installation) restart(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	if err := i.parts[partAllInOne].Restart(); err != nil {
		return 0, err
	}
	err := i.waitReady(ctx, partAllInOne)
	return time.Since(began), err
}
