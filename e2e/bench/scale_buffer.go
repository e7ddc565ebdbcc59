package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
	"hydrant/shared/names"
)

const (
	cutStreams  = 256
	callsPerCut = 3 // of 512 kB, which exceed the hint of 1 MiB
	cutsEach    = 4 // of a delivery stream

	// lateStreams is how many delivery streams two replicas share when one of them is killed.
	lateStreams = 16
	// takeovers is in how many rounds that is done.
	takeovers = 2

	cutTime      = 5 * time.Second  // about what a case takes
	takeoverTime = 15 * time.Second // and a takeover
)

func scaleBufferEstimate(o options) time.Duration {
	return startingTime + 20*time.Second + time.Duration(o.rounds*len(replicaCounts()))*cutTime + time.Duration(min(takeovers, o.rounds))*takeoverTime
}

// bufferRow is the row while it is measured. The buffer has no state but its last descriptors: with those removed it cuts the same log
// anew.
type bufferRow struct {
	*bench
	*installation
	row   *report.Row
	bytes int64
}

func measureScaleBuffer(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startProcesses(ctx, b.place(row.Name), b.programs, partIngest)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	r := &bufferRow{bench: b, installation: i, row: row}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for round := range b.rounds {
		if err := r.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	if err := r.empty(ctx); err != nil {
		return err
	}
	return r.takeovers(ctx)
}

func (r *bufferRow) prepare(ctx context.Context) (err error) {
	list := streamNames()[:cutStreams]
	if err := r.createStreams(ctx, hints{sizeMB: 1, interval: 900}, list...); err != nil {
		return err
	}
	r.bytes, err = r.putEvenly(ctx, r.installation, list, callsPerCut*cutsEach)
	return err
}

func (r *bufferRow) round(ctx context.Context, round int) error {
	if _, err := r.disk(ctx, r.row); err != nil {
		return err
	}
	base := map[string]string{}
	for _, count := range turnOf(replicaCounts(), round) {
		line := replicasText(count)
		r.row.Cell(line, rateColumn, "batches/s")
		r.row.Cell(line, ratioToOne, "")
		if err := r.cut(ctx, count); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		base[line] = replicasText(1)
		r.progress.say("round %d of %d: %s: %s", round+1, r.rounds, line, r.row.LastIn(line, rateColumn, "idle"))
	}
	ratios(r.row, "batches/s", base)
	return nil
}

// cut has so many replicas cut everything. The rate is the slope over the cuts: it does not count how long the processes take to
// start, and to hear of each other.
func (r *bufferRow) cut(ctx context.Context, count int) (err error) {
	if err := r.purge(ctx, names.BatchesStream); err != nil {
		return err
	}
	batches, stop, err := r.watchBatches(names.AllBatches)
	if err != nil {
		return err
	}
	defer stop()
	var replicas []replica
	var all []cutBatch
	o, err := r.observe(ctx, func() (err error) {
		if replicas, err = r.startReplicas(ctx, partBuffer, count); err == nil {
			all, err = batches.reach(ctx, r.bytes)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, r.alive())
	}
	if err := o.residents(r.installation, replicas); err != nil {
		return err
	}
	rate := cutRate(all)
	line := replicasText(count)
	r.row.Cell(line, rateColumn, "batches/s").Add(rate)
	r.row.Cell(line, ratioToOne, "")
	o.add(r.row, line, partBuffer, []column{{partBuffer, "buffer"}, {partNATS, "NATS"}})
	return errors.Join(r.endReplicas(replicas), machine.Flush(r.root))
}

// cutRate is batches a second: the slope of the line through their number at each cut.
func cutRate(all []cutBatch) float64 {
	var x, y []float64
	for n, b := range all {
		x, y = append(x, b.at.Sub(all[0].at).Seconds()), append(y, float64(n+1))
	}
	return report.Slope(x, y)
}

// takeovers kills one of two replicas, and looks how long records that are put then wait for their batch.
func (r *bufferRow) takeovers(ctx context.Context) error {
	list := make([]string, lateStreams)
	for n := range list {
		list[n] = fmt.Sprintf("late-%d", n)
	}
	if err := r.createStreams(ctx, hints{sizeMB: 1, interval: 1}, list...); err != nil {
		return err
	}
	for range min(takeovers, r.rounds) {
		late, err := r.takeover(ctx, list)
		if err != nil {
			return fmt.Errorf("takeover: %w", err)
		}
		r.row.Beside("longest wait of a record for its batch, with a hint of 1 s, when one of two replicas was killed", "s").Add(late.Seconds())
		r.progress.say("takeover: %.1f s", late.Seconds())
	}
	return nil
}

func (r *bufferRow) takeover(ctx context.Context, list []string) (late time.Duration, err error) {
	replicas, err := r.startReplicas(ctx, partBuffer, 2)
	if err != nil {
		return 0, err
	}
	defer r.kill(replicas[1].name)
	if _, err := r.cutOnce(ctx, list); err != nil { // so that both are at work
		return 0, errors.Join(err, r.alive())
	}
	r.kill(replicas[0].name)
	return r.cutOnce(ctx, list)
}

// cutOnce puts a record on each delivery stream, and returns how long it took until all were in batches.
func (r *bufferRow) cutOnce(ctx context.Context, list []string) (time.Duration, error) {
	batches, stop, err := r.watchBatches(names.AllBatches)
	if err != nil {
		return 0, err
	}
	defer stop()
	conn, err := load.Dial(ctx, r.addr.api)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	for n, target := range targetsOf(list) {
		if err := conn.Do(r.data.PutSingle(target, n)); err != nil {
			return 0, err
		}
	}
	_, err = batches.reach(ctx, int64(len(list)*load.RecordBytes))
	return time.Since(began), err
}
