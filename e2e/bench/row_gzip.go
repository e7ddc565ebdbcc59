package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/klauspost/compress/gzip"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/report"
)

const (
	// gzipLevel is the level that s3sink compresses at.
	gzipLevel = 2

	compressTime = 1500 * time.Millisecond
)

func gzipEstimate(o options) time.Duration {
	return o.everyRound(o.deliverLength()/2 + compressTime + drainEstimate)
}

// measureGzip compares with the compressor alone on the cores left: all cores, less what ingest, NATS, the S3 server and
// the load generator used in the same round, at its rate. What the buffer and the sink use beside the compressor counts
// against them.
func measureGzip(ctx context.Context, b *bench, row *report.Row) error {
	k := kind5("deliver-gzip", types.CompressionFormatGzip)
	k.shorter = b.deliverLength() / 2
	var left []float64
	run, err := b.deliverRounds(ctx, row, k, func(ctx context.Context, i *installation, k kind) (delivered, float64, error) {
		d, err := b.deliverOnce(ctx, i, k)
		if err != nil {
			return d, 0, err
		}
		cores := coresLeft(d)
		left = append(left, cores)
		alone, err := b.compressorAlone(ctx, cores)
		return d, alone, err
	})
	if err != nil {
		return err
	}
	for n, d := range run.rounds {
		row.Ratio("ratio", "", report.AtLeast(0.8)).Add(d.rate / run.alone[n])
		row.Figure("delivered while put, bytes of records", "MB/s").Add(d.rate)
		row.Figure("the compressor alone on the cores left", "MB/s").Add(run.alone[n])
		row.Figure("cores left", "").Add(left[n])
		row.Figure("objects, of the records' size", "%").Add(100 * float64(d.stored) / float64(d.put.Bytes))
	}
	row.Note(fmt.Sprintf("the compressor is klauspost/compress/gzip at level %d, on the same records", gzipLevel))
	run.describeBacklog(row, k)
	return nil
}

// coresLeft is never less than a tenth of one, so that it can be divided by.
func coresLeft(d delivered) float64 {
	used := d.whilePut.sum(partIngest, partNATS, partS3, partLoad).Seconds() / d.put.Took.Seconds()
	return max(float64(runtime.NumCPU())-used, 0.1)
}

// compressorAlone returns the MB/s of records that so many goroutines compress as there are cores left, the last of them for
// its share.
func (b *bench) compressorAlone(ctx context.Context, cores float64) (float64, error) {
	count := int(math.Ceil(cores))
	var bytes atomic.Int64
	failures := make([]error, count)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range count {
		wg.Go(func() { failures[n] = b.compress(ctx, start.Add(compressTime), n, &bytes) })
	}
	wg.Wait()
	rate := float64(bytes.Load()) / 1e6 / time.Since(start).Seconds()
	return rate * cores / float64(count), errors.Join(append(failures, ctx.Err())...)
}

func (b *bench) compress(ctx context.Context, until time.Time, number int, done *atomic.Int64) error {
	z, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
	if err != nil {
		return err
	}
	for n := number; time.Now().Before(until) && ctx.Err() == nil; n++ {
		if _, err := z.Write(b.data.Batch(n)); err != nil {
			return err
		}
		done.Add(load.BatchBytes)
	}
	return z.Close()
}
