package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/bench/internal/report"
)

func latencyEstimate(o options) time.Duration { return o.everyRound(o.length) + o.length/4 }

// measureLatency takes the time from the beginning of a put until an object with its record has been read.
//
// Which object to read is taken from the sink's entry in DELIVERIES: listing the bucket over and over would use the cores of
// what is measured. Reading the object, and finding the record in it, is part of the time.
func measureLatency(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startProcesses(ctx, b.place("latency"), b.programs, partS3, partIngest, partBuffer, partSink)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	if err := i.createStreams(ctx, hints{sizeMB: 1, interval: 0, compression: types.CompressionFormatUncompressed}, oneStream); err != nil {
		return err
	}
	p := newProducer(b, i)
	if _, err := p.round(ctx, true, b.length/4); err != nil { // the bucket is made with the first object
		return err
	}
	for round := range b.rounds {
		if err := p.both(ctx, row); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, b.rounds,
			row.Last("p99, puts one after the other", "p99, each put after the last one's object"))
	}
	row.Note("the object is found by the sink's entry in DELIVERIES, read with GET, and the record is looked for in it")
	return nil
}

// both takes the two kinds of producer in turn: one that goes on when its put is answered, and one that waits for the object.
func (p *producer) both(ctx context.Context, row *report.Row) error {
	if _, err := p.b.disk(ctx, row); err != nil {
		return err
	}
	busy, err := p.round(ctx, false, p.b.length/2)
	if err != nil {
		return err
	}
	lone, err := p.round(ctx, true, p.b.length/2)
	if err != nil {
		return err
	}
	row.Goal("p99, puts one after the other", "ms", report.AtMost(100)).Add(milliseconds(report.Percentile(busy, 99)))
	row.Figure("p50, puts one after the other", "ms").Add(milliseconds(report.Percentile(busy, 50)))
	row.Figure("records a second", "").Add(float64(len(busy)) / (p.b.length / 2).Seconds())
	row.Goal("p99, each put after the last one's object", "ms", report.AtMost(100)).Add(milliseconds(report.Percentile(lone, 99)))
	row.Figure("p50, each put after the last one's object", "ms").Add(milliseconds(report.Percentile(lone, 50)))
	return nil
}
