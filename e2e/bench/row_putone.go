package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

const singleConnections = 256

func putOneEstimate(o options) time.Duration {
	return o.everyRound(o.length + o.aloneLength() + time.Second)
}

// measurePutOne holds delivery back, as the row batch does.
func measurePutOne(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startProcesses(ctx, b.place("put-one"), b.programs, partIngest)
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
		if err := b.putOneRound(ctx, i, row); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, b.rounds, row.Last("ratio", "JetStream alone, 256 in flight", "Hydrant"))
	}
	return nil
}

func (b *bench) putOneRound(ctx context.Context, i *installation, row *report.Row) error {
	disk, err := b.disk(ctx, row)
	if err != nil {
		return err
	}
	bare, err := load.Publish{
		JetStream: i.js, Subject: bareSubject, InFlight: singleConnections, Length: b.aloneLength(),
		Payload: func(publisher, n int) []byte { return b.data.Record(31*publisher + n) },
	}.Run(ctx)
	if err != nil {
		return fmt.Errorf("JetStream alone: %w", err)
	}
	if err := i.empty(ctx); err != nil {
		return err
	}
	before, err := i.cpu()
	if err != nil {
		return err
	}
	got, err := b.singles(i, []load.Target{load.NewTarget(oneStream)}).Run(ctx)
	if err != nil {
		return err
	}
	after, err := i.cpu()
	if err != nil {
		return err
	}
	row.Ratio("ratio", "", report.AtLeast(4)).Add(got.Rate() / bare.Rate())
	row.Figure("Hydrant", "calls/s").Add(got.Rate())
	row.Figure("JetStream alone, 256 in flight", "messages/s").Add(bare.Rate())
	describeCalls(row, got, after.since(before))
	describeLatency(row, got, bare, disk)
	return i.empty(ctx)
}

// singles is the load of PutRecord. With many delivery streams each connection goes through all of them, beginning elsewhere.
func (b *bench) singles(i *installation, targets []load.Target) load.Load {
	return load.Load{
		Addr: i.addr.api, Connections: singleConnections, Length: b.length,
		Next: func(connection, n int) load.Call {
			return b.data.PutSingle(targets[turn(connection, n, len(targets))], 31*connection+n)
		},
	}
}

// turn is the delivery stream of a connection's n-th call.
func turn(connection, n, count int) int { return (connection*count/singleConnections + n) % count }

func describeCalls(row *report.Row, got load.Result, used usage) {
	perCall := func(parts ...string) float64 { return float64(used.sum(parts...)) / 1e3 / float64(got.Calls) }
	row.Goal("CPU of a call, ingest and NATS", "µs", report.AtMost(60)).Add(perCall(partIngest, partNATS))
	row.Figure("  ingest", "µs").Add(perCall(partIngest))
	row.Figure("  NATS", "µs").Add(perCall(partNATS))
	row.Figure("  load generator, beside them", "µs").Add(perCall(partLoad))
}

func describeLatency(row *report.Row, got, bare load.Result, disk machine.Writes) {
	p99 := report.Percentile(got.Latencies, 99)
	fsync := report.Percentile(disk.Latencies, 50)
	row.Ratio("p99 of a call, over an fsync's median", "×", report.AtMost(10)).Add(float64(p99) / float64(fsync))
	row.Ratio("p99 of a call, over an fsync's p99", "×", report.AtMost(10)).Add(float64(p99) / float64(report.Percentile(disk.Latencies, 99)))
	row.Figure("p50 of a call", "ms").Add(milliseconds(report.Percentile(got.Latencies, 50)))
	row.Figure("p99 of a call", "ms").Add(milliseconds(p99))
	row.Figure("p50 of JetStream alone", "ms").Add(milliseconds(report.Percentile(bare.Latencies, 50)))
	row.Figure("p99 of JetStream alone", "ms").Add(milliseconds(report.Percentile(bare.Latencies, 99)))
	row.Figure("median of a 4 KB fsync", "ms").Add(milliseconds(fsync))
	row.Figure("p99 of a 4 KB fsync", "ms").Add(milliseconds(report.Percentile(disk.Latencies, 99)))
}
