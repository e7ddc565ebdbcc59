package main

import (
	"context"
	"strings"
	"time"

	"hydrant/e2e/bench/internal/report"
)

// bentoEstimate is about what a round with Bento takes.
const bentoEstimate = 25 * time.Second

func cpuEstimate(o options) time.Duration {
	beside := time.Duration(0)
	if o.bento != "" {
		beside = startingTime + time.Duration(o.rounds)*bentoEstimate
	}
	return beside + delivered128Estimate(o)
}

// delivered128Estimate is what a row takes that looks at the loads of deliver-128: nothing where they are measured anyway.
func delivered128Estimate(o options) time.Duration {
	if strings.Contains(","+o.rows+",", ",deliver-128,") || o.rows == "" {
		return time.Second
	}
	return deliverEstimate(o)
}

// measureCPU looks at the loads of the row deliver-128: what each process used from the first put until the last delivery.
func measureCPU(ctx context.Context, b *bench, row *report.Row) error {
	run, err := b.deliver128(ctx, row)
	if err != nil {
		return err
	}
	if b.bento != "" {
		row.Ratio(ofBentos, "", report.AtMost(1.0/3))
	}
	for _, d := range run.rounds {
		perGB := func(parts ...string) float64 { return d.whole.sum(parts...).Seconds() / (float64(d.put.Bytes) / 1e9) }
		row.Figure("Hydrant: ingest, NATS, buffer, s3sink", "s/GB").Add(perGB(partIngest, partNATS, partBuffer, partSink))
		for _, part := range []string{partIngest, partNATS, partBuffer, partSink} {
			row.Figure("  "+part, "s/GB").Add(perGB(part))
		}
		row.Beside("beside them: S3 server", "s/GB").Add(perGB(partS3))
		row.Beside("beside them: load generator", "s/GB").Add(perGB(partLoad))
	}
	return b.bentoRounds(ctx, row)
}
