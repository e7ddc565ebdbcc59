package main

import (
	"context"
	"time"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

const (
	diskMBps   = "the disk itself, 1 MB writes, each synced"
	diskFsyncs = "the disk itself, 4 KB appends, each synced"
)

// diskLength is how long the disk itself is measured in each round.
func (o options) diskLength() time.Duration { return o.length / 4 }

// disk measures the disk itself, which every figure stands on, and adds it to the row.
func (b *bench) disk(ctx context.Context, row *report.Row) (small machine.Writes, err error) {
	large, err := machine.SyncedWrites(ctx, b.root, 1_000_000, 1, b.diskLength()/2)
	if err != nil {
		return small, err
	}
	small, err = machine.SyncedWrites(ctx, b.root, 4096, 1, b.diskLength()/2)
	if err != nil {
		return small, err
	}
	row.Beside(diskMBps, "MB/s").Add(large.MBps)
	row.Beside(diskFsyncs, "/s").Add(small.Rate)
	return small, nil
}
