package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/report"
)

// NATS keeps what was read for ten seconds, so that loads that are shorter do not show what it comes to. By default they take
// twelve.

// pacedRate is the rate of the first of the all-in-one's loads, in bytes a second.
const pacedRate = 50e6

func memoryEstimate(o options) time.Duration {
	return delivered128Estimate(o) + 2*(o.deliverLength()+drainEstimate+startingTime)
}

// measureMemory looks at the loads of the row deliver-128 for the services alone, and puts two on the all-in-one program.
func measureMemory(ctx context.Context, b *bench, row *report.Row) error {
	run, err := b.deliver128(ctx, row)
	if err != nil {
		return err
	}
	for _, d := range run.rounds {
		for _, part := range []string{partIngest, partBuffer, partSink} {
			row.Goal(part+" alone", "MB", report.AtMost(100)).Add(float64(d.peak[part]) / 1e6)
		}
		row.Figure("nats-server alone", "MB").Add(float64(d.peak[partNATS]) / 1e6)
		row.Beside("S3 server", "MB").Add(float64(d.peak[partS3]) / 1e6)
	}
	paced := fmt.Sprintf("all-in-one at %.0f MB/s", pacedRate/1e6)
	if err := b.allInOneMemory(ctx, row, paced, report.AtMost(600), (&pacer{rate: pacedRate}).admit); err != nil {
		return err
	}
	return b.allInOneMemory(ctx, row, "all-in-one at full rate", report.AtMost(1500), nil)
}

// allInOneMemory puts a load on an all-in-one program that has just been started. Its S3 server is a process of its own and
// is not counted.
func (b *bench) allInOneMemory(ctx context.Context, row *report.Row, name string, target *report.Target, admit admission) (err error) {
	i, err := startAllInOne(ctx, b.place("memory"), b.programs)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	k := kind128()
	if err := i.createStreams(ctx, k.hints, oneStream); err != nil {
		return err
	}
	l := b.batches(i)
	l.Length, l.Admit = b.deliverLength(), admit
	d, err := i.deliverLoad(ctx, l, newBacklog(k.bound, k.align), false)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	row.Goal(name, "MB", target).Add(float64(d.peak[partAllInOne]) / 1e6)
	row.Figure(name+": put", "MB/s").Add(d.put.MBps())
	row.Figure(name+": undelivered, at most", "MB").Add(d.mostUndelivered())
	b.progress.say("%s: %.0f MB resident at most, %.0f MB/s", name, float64(d.peak[partAllInOne])/1e6, d.put.MBps())
	return nil
}
