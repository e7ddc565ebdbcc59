package main

import (
	"context"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
	"hydrant/shared/pause"
)

const (
	manyStreams = 1000

	// createTime is about what making them takes.
	createTime = 12 * time.Second

	// idleTime is how long the program has had nothing to do when its memory is looked at. NATS keeps what was read for ten
	// seconds, and Go gives memory back some seconds after that.
	idleTime = 32 * time.Second

	// mostCalls bounds what a load puts, and with it the space on the disk.
	mostCalls = 800

	// contextRounds is in how many rounds there are loads on 10 and 100 streams as well.
	contextRounds = 1
)

func streamsEstimate(o options) time.Duration {
	loads := 2*o.rounds + 2*min(contextRounds, o.rounds)
	return createTime + idleTime + time.Duration(loads)*(o.aloneLength()+drainEstimate/2)
}

// measureStreams makes a thousand delivery streams in an all-in-one program, and puts the same load on one of them, on 10, on
// 100 and on all, in turn. What a thousand that rest cost is so in every figure.
func measureStreams(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startAllInOne(ctx, b.place("streams"), b.programs)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	streams := streamNames()
	began := time.Now()
	if err := i.createStreams(ctx, hints{sizeMB: 1, interval: 1}, streams...); err != nil {
		return err
	}
	b.progress.say("made %d delivery streams in %.0f s", manyStreams, time.Since(began).Seconds())
	many := &manyLoads{b: b, i: i, row: row, targets: targetsOf(streams)}
	for round := range b.rounds {
		if err := many.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		b.progress.say("round %d of %d: %s", round+1, b.rounds,
			row.Last("ratio of 1,000 to 1, delivered", "delivered, 1 stream", "delivered, 1000 streams"))
	}
	return many.idle(ctx)
}

func targetsOf(streams []string) []load.Target {
	targets := make([]load.Target, len(streams))
	for n, name := range streams {
		targets[n] = load.NewTarget(name)
	}
	return targets
}

// manyLoads are loads on more or fewer of the delivery streams of one installation.
type manyLoads struct {
	b       *bench
	i       *installation
	row     *report.Row
	targets []load.Target
	turn    int // where the next load begins, so that all get their share
}

func (m *manyLoads) round(ctx context.Context, round int) error {
	if _, err := m.b.disk(ctx, m.row); err != nil {
		return err
	}
	counts := []int{1, manyStreams}
	if round < contextRounds {
		counts = []int{1, 10, 100, manyStreams}
	}
	deliveredRatio := m.row.Ratio("ratio of 1,000 to 1, delivered", "", report.AtLeast(0.8))
	putRatio := m.row.Ratio("ratio of 1,000 to 1, put", "", report.AtLeast(0.8))
	put, done := map[int]float64{}, map[int]float64{}
	for _, count := range counts {
		d, err := m.load(ctx, count)
		if err != nil {
			return fmt.Errorf("%d streams: %w", count, err)
		}
		put[count], done[count] = d.put.MBps(), d.rate
	}
	deliveredRatio.Add(done[manyStreams] / done[1])
	putRatio.Add(put[manyStreams] / put[1])
	for _, count := range counts {
		m.row.Figure("delivered, "+streamCount(count), "MB/s").Add(done[count])
		m.row.Figure("put, "+streamCount(count), "MB/s").Add(put[count])
	}
	return nil
}

func streamCount(count int) string {
	if count == 1 {
		return "1 stream"
	}
	return fmt.Sprintf("%d streams", count)
}

// load puts batches on so many streams in turn, and waits until all is delivered. The rate is taken over all deliveries: it
// does not count that the first, and the last, wait for their interval.
func (m *manyLoads) load(ctx context.Context, count int) (delivered, error) {
	start := m.turn
	l := m.b.batches(m.i)
	l.Length, l.Calls = m.b.aloneLength(), mostCalls
	l.Next = func(connection, n int) load.Call {
		return m.b.data.PutBatch(m.targets[(start+connection+n*batchConnections)%count], 7*connection+n)
	}
	d, err := m.i.deliverLoad(ctx, l, newBacklog(512<<20, 0), false)
	if err != nil {
		return d, err
	}
	m.turn += d.put.Calls
	d.rate, err = deliveryRate(d.events, d.began, d.began.Add(d.put.Took+d.drain))
	resident := float64(d.peak[partAllInOne]) / 1e6
	m.row.Goal("resident at most, "+streamCount(count), "MB", report.AtMost(1500)).Add(resident)
	return d, err
}

// idle looks at what the program keeps in memory when it has had nothing to do for a while.
func (m *manyLoads) idle(ctx context.Context) error {
	m.b.progress.say("waiting %.0f s to look at the memory of an idle program", idleTime.Seconds())
	if !pause.For(ctx, idleTime) {
		return ctx.Err()
	}
	resident, err := machine.Resident(m.i.parts[partAllInOne].PID())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("resident %.0f s after the last delivery", idleTime.Seconds())
	m.row.Goal(name, "MB", report.AtMost(300)).Add(float64(resident) / 1e6)
	return nil
}
