package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

// singleLength is the length of a load, of which there are three a round, and of the measurement of the disk.
func (o options) singleLength() time.Duration { return o.length / 3 }

func singleEstimate(o options) time.Duration {
	return createTime + time.Duration(o.rounds)*(4*o.singleLength()+time.Second/2)
}

// measureStreamsSingle compares with the fsyncs a second of the disk: one after the other, as a log makes them, and beside it
// those of several writers, of which a file system makes one where it can.
func measureStreamsSingle(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startProcesses(ctx, b.place("streams-single"), b.programs, partIngest)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	streams := streamNames()
	if err := i.createStreams(ctx, hints{sizeMB: 128, interval: 900}, streams...); err != nil {
		return err
	}
	targets := targetsOf(streams)
	for round := range b.rounds {
		if err := b.singleRound(ctx, i, row, targets); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, b.rounds, row.Last("ratio, 1 stream", "ratio, 100 streams", "ratio, 1000 streams"))
	}
	return nil
}

func (b *bench) singleRound(ctx context.Context, i *installation, row *report.Row, targets []load.Target) error {
	disk, err := b.disk(ctx, row)
	if err != nil {
		return err
	}
	most, err := machine.BestFsyncs(ctx, b.root, b.singleLength())
	if err != nil {
		return err
	}
	for _, count := range []int{1, 100, manyStreams} {
		l := b.singles(i, targets[:count])
		l.Length = b.singleLength()
		got, err := l.Run(ctx)
		if err != nil {
			return fmt.Errorf("%d streams: %w", count, err)
		}
		row.Ratio("ratio, "+streamCount(count), "", report.AtLeast(0.8)).Add(got.Rate() / disk.Rate)
		row.Figure("ratio to the most that 1, 4 or 16 writers sync, "+streamCount(count), "").Add(got.Rate() / most.Rate)
		row.Figure("puts, "+streamCount(count), "/s").Add(got.Rate())
	}
	row.Beside("the disk itself, 4 KB appends, each synced, by 1, 4 or 16", "/s").Add(most.Rate)
	return machine.Flush(i.dir)
}
