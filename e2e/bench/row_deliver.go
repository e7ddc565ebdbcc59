package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/report"
)

// tail is the interval hint, in seconds, which cuts the last batch of a load where it is not full.
const tail = 5

// drainEstimate is about what the rest of a load takes, and removing it.
const drainEstimate = 3 * time.Second

func deliverEstimate(o options) time.Duration {
	return o.everyRound(o.deliverLength() + o.aloneLength() + drainEstimate)
}

// deliveredRun is the rounds of one kind of delivery, and of what each was compared with.
type deliveredRun struct {
	rounds []delivered
	alone  []float64
}

// kind is a way to deliver.
type kind struct {
	name    string
	hints   hints
	bound   int64         // of what is undelivered
	align   int           // messages that fill a batch
	shorter time.Duration // by how much the load is shorter than others
}

func kind128() kind {
	const size = 128 << 20
	return kind{
		name: "deliver-128", hints: hints{sizeMB: 128, interval: tail, compression: types.CompressionFormatUncompressed},
		bound: 4 * size, align: (size + load.BatchBytes - 1) / load.BatchBytes,
	}
}

// kind5 cuts larger batches while some wait for the sink.
func kind5(name string, compression types.CompressionFormat) kind {
	return kind{name: name, hints: hints{sizeMB: 5, interval: 1, compression: compression}, bound: 128 << 20}
}

func measureDeliver128(ctx context.Context, b *bench, row *report.Row) error {
	d, err := b.deliver128(ctx, row)
	if err != nil {
		return err
	}
	d.describe(row, kind128())
	return nil
}

// deliver128 is measured once in a run, by the first row that needs it, which gets the figures of the disk.
func (b *bench) deliver128(ctx context.Context, row *report.Row) (*deliveredRun, error) {
	if b.delivered128 == nil {
		d, err := b.deliverRounds(ctx, row, kind128(), b.besideJetStream)
		if err != nil {
			return nil, err
		}
		b.delivered128 = d
	}
	return b.delivered128, nil
}

func measureDeliver5(ctx context.Context, b *bench, row *report.Row) error {
	k := kind5("deliver-5", types.CompressionFormatUncompressed)
	d, err := b.deliverRounds(ctx, row, k, b.besideJetStream)
	if err != nil {
		return err
	}
	d.describe(row, k)
	return nil
}

// together is one round: the load while all of it is delivered, and the MB/s of what it is compared with.
type together func(ctx context.Context, i *installation, k kind) (delivered, float64, error)

// deliverRounds starts every service as a process, and measures the rounds.
func (b *bench) deliverRounds(ctx context.Context, row *report.Row, k kind, round together) (run *deliveredRun, err error) {
	i, err := startProcesses(ctx, b.place(k.name), b.programs, partS3, partIngest, partBuffer, partSink)
	if err != nil {
		return nil, err
	}
	defer ended(i, &err)
	if err := i.createStreams(ctx, k.hints, oneStream); err != nil {
		return nil, err
	}
	if err := i.createBare(ctx); err != nil {
		return nil, err
	}
	run = &deliveredRun{}
	for n := range b.rounds {
		if _, err := b.disk(ctx, row); err != nil {
			return nil, err
		}
		d, alone, err := round(ctx, i, k)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", n+1, err)
		}
		run.rounds, run.alone = append(run.rounds, d), append(run.alone, alone)
		b.progress.say("round %d of %d: delivered %.0f MB/s while put, the other alone %.0f MB/s, ratio %.2f; %.0f MB undelivered at most",
			n+1, b.rounds, d.rate, alone, d.rate/alone, d.mostUndelivered())
	}
	return run, nil
}

// besideJetStream compares with JetStream alone.
func (b *bench) besideJetStream(ctx context.Context, i *installation, k kind) (delivered, float64, error) {
	bare, err := b.jetStreamAlone(ctx, i)
	if err != nil {
		return delivered{}, 0, err
	}
	d, err := b.deliverOnce(ctx, i, k)
	return d, bare.MBps(), err
}

// deliverOnce puts the load on while all of it is delivered. Nothing of it is left when it returns.
func (b *bench) deliverOnce(ctx context.Context, i *installation, k kind) (delivered, error) {
	l := b.batches(i)
	l.Length = b.deliverLength() - k.shorter
	d, err := i.deliverLoad(ctx, l, newBacklog(k.bound, k.align), k.hints.compression == types.CompressionFormatGzip)
	if err != nil {
		return d, err
	}
	if d.rate, err = deliveryRate(d.events, d.began, d.began.Add(d.put.Took)); err != nil {
		return d, err
	}
	return d, i.empty(ctx)
}

// describe adds the figures of a comparison with JetStream alone.
func (r *deliveredRun) describe(row *report.Row, k kind) {
	for n, d := range r.rounds {
		row.Ratio("ratio", "", report.AtLeast(0.45)).Add(d.rate / r.alone[n])
		row.Ratio("ratio, with the drain and writing the objects back", "", nil).Add(d.total() / r.alone[n])
		row.Figure("delivered while put", "MB/s").Add(d.rate)
		row.Figure("put, delivered and written back", "MB/s").Add(d.total())
		row.Figure(jetStreamMBps, "MB/s").Add(r.alone[n])
	}
	r.describeBacklog(row, k)
}

// describeBacklog shows that delivery keeps up.
func (r *deliveredRun) describeBacklog(row *report.Row, k kind) {
	for _, d := range r.rounds {
		row.Figure("undelivered, at most", "MB").Add(d.mostUndelivered())
		row.Figure("undelivered, growth in the second half", "MB/s").Add(d.growth())
		row.Figure("drain after the last put", "s").Add(d.drain.Seconds())
		row.Figure("writing the objects back after that", "s").Add(d.flush.Seconds())
		row.Figure("records of an object", "MB").Add(float64(d.put.Bytes) / 1e6 / float64(d.objects))
	}
	last := r.rounds[len(r.rounds)-1]
	row.Note("undelivered MB at each second of the last round: " + last.series())
	waited := 0.0
	for _, d := range r.rounds {
		waited += d.waited.Seconds() / d.put.Took.Seconds() / batchConnections / float64(len(r.rounds))
	}
	row.Note(fmt.Sprintf("puts wait while more than %d MB are undelivered: they did %.0f %% of the time", k.bound/1e6, 100*waited))
}
