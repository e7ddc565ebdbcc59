package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/report"
)

const (
	batchConnections = 16

	jetStreamMBps = "JetStream alone, messages of 512 KB, 16 in flight"
	oneStream     = "bench-0000"
)

func batchEstimate(o options) time.Duration {
	return o.everyRound(o.length + o.aloneLength() + time.Second)
}

// aloneLength is the length of a load of JetStream alone, which has nothing to warm up.
func (o options) aloneLength() time.Duration { return o.length * 2 / 3 }

// measureBatch holds delivery back: no buffer and no sink runs.
func measureBatch(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startProcesses(ctx, b.place("batch"), b.programs, partIngest)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	if err := i.createStreams(ctx, hints{sizeMB: 128, interval: 900}, oneStream); err != nil {
		return err
	}
	if err := i.createBare(ctx); err != nil {
		return err
	}
	for round := range b.rounds {
		if err := b.batchRound(ctx, i, row); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, b.rounds, row.Last("ratio", jetStreamMBps, "Hydrant"))
	}
	return nil
}

func (b *bench) batchRound(ctx context.Context, i *installation, row *report.Row) error {
	if _, err := b.disk(ctx, row); err != nil {
		return err
	}
	bare, err := b.jetStreamAlone(ctx, i)
	if err != nil {
		return err
	}
	got, err := b.batches(i).Run(ctx)
	if err != nil {
		return err
	}
	row.Ratio("ratio", "", report.AtLeast(0.8)).Add(got.MBps() / bare.MBps())
	row.Figure("Hydrant", "MB/s").Add(got.MBps())
	row.Figure(jetStreamMBps, "MB/s").Add(bare.MBps())
	row.Figure("Hydrant, p99 of a call", "ms").Add(milliseconds(report.Percentile(got.Latencies, 99)))
	return i.empty(ctx)
}

// batches is the load of the first rows of the table.
func (b *bench) batches(i *installation) load.Load {
	target := load.NewTarget(oneStream)
	return load.Load{
		Addr: i.addr.api, Connections: batchConnections, Length: b.length,
		Next: func(connection, n int) load.Call { return b.data.PutBatch(target, 7*connection+n) },
	}
}

// jetStreamAlone is what everything is compared with: messages of the size that a batch becomes, published by a bare client to a
// stream like a record log, on the same server. Nothing of it is left when it returns.
func (b *bench) jetStreamAlone(ctx context.Context, i *installation) (load.Result, error) {
	got, err := load.Publish{
		JetStream: i.js, Subject: bareSubject, InFlight: batchConnections, Length: b.aloneLength(),
		Payload: func(publisher, n int) []byte { return b.data.Batch(7*publisher + n) },
	}.Run(ctx)
	if err != nil {
		return got, fmt.Errorf("JetStream alone: %w", err)
	}
	return got, i.empty(ctx)
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }
