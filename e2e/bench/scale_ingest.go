package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/report"
)

// shardedStream is a delivery stream of four shards, beside the one of oneStream.
const (
	shardedStream = "bench-shards"
	shards        = 4
)

// ingestCase is a line of the table.
type ingestCase struct {
	replicas int
	front    bool
	stream   string
}

func (c ingestCase) String() string {
	text := replicasText(c.replicas)
	if !c.front {
		text += ", no HAProxy"
	}
	if c.stream == shardedStream {
		text += fmt.Sprintf(", %d shards", shards)
	}
	return text
}

// base is what a case is compared with: one replica behind HAProxy, one shard.
func (c ingestCase) base() string { return ingestCase{1, true, oneStream}.String() }

func ingestCases() []ingestCase {
	cases := []ingestCase{{1, false, oneStream}}
	for _, count := range replicaCounts() {
		cases = append(cases, ingestCase{count, true, oneStream})
	}
	return append(cases, ingestCase{1, true, shardedStream}, ingestCase{4, true, shardedStream})
}

// caseTime is about what starting and ending the processes of a case takes, and removing what it has stored.
const caseTime = 2 * time.Second

func scaleIngestEstimate(o options) time.Duration {
	return startingTime + time.Duration(o.rounds)*(time.Duration(len(ingestCases()))*(o.length+caseTime)+o.diskLength())
}

// scaleIngest is a row of ingest while it is measured.
type scaleIngest struct {
	*bench
	*installation
	row  *report.Row
	unit string
	load func(addr string, target load.Target) load.Load
	rate func(load.Result) float64
}

func measureScaleIngest(ctx context.Context, b *bench, row *report.Row) error {
	return b.scaleIngest(ctx, row, scaleIngest{unit: "MB/s", rate: load.Result.MBps, load: func(addr string, target load.Target) load.Load {
		return load.Load{Addr: addr, Connections: batchConnections, Length: b.length, Next: func(connection, n int) load.Call {
			return b.data.PutBatch(target, 7*connection+n)
		}}
	}})
}

func measureScaleIngestOne(ctx context.Context, b *bench, row *report.Row) error {
	return b.scaleIngest(ctx, row, scaleIngest{unit: "calls/s", rate: load.Result.Rate, load: func(addr string, target load.Target) load.Load {
		return load.Load{Addr: addr, Connections: singleConnections, Length: b.length, Next: func(connection, n int) load.Call {
			return b.data.PutSingle(target, 31*connection+n)
		}}
	}})
}

func (b *bench) scaleIngest(ctx context.Context, row *report.Row, s scaleIngest) (err error) {
	if _, err := haproxy(); err != nil {
		return err
	}
	i, err := startProcesses(ctx, b.place(row.Name), b.programs)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	s.bench, s.installation, s.row = b, i, row
	held := hints{sizeMB: 128, interval: 900}
	err = errors.Join(i.createWith(ctx, held, 1, oneStream), i.createWith(ctx, held, shards, shardedStream))
	if err != nil {
		return err
	}
	for round := range b.rounds {
		if err := s.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return nil
}

// createWith makes delivery streams of so many shards, by an ingest of its own, which is gone afterwards.
func (i *installation) createWith(ctx context.Context, h hints, shards int, streams ...string) error {
	s := i.spec(partIngest)
	s.Env = append(s.Env, fmt.Sprintf("HYDRANT_SHARDS=%d", shards))
	if err := i.run(s); err != nil {
		return err
	}
	if err := i.waitReady(ctx, partIngest); err != nil {
		return err
	}
	return errors.Join(i.createStreams(ctx, h, streams...), i.end(partIngest))
}

func (s *scaleIngest) round(ctx context.Context, round int) error {
	if _, err := s.disk(ctx, s.row); err != nil {
		return err
	}
	base := map[string]string{}
	for _, c := range turnOf(ingestCases(), round) {
		s.row.Cell(c.String(), rateColumn, s.unit) // in the order of the first round
		s.row.Cell(c.String(), ratioToOne, "")
		if err := s.measure(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		base[c.String()] = c.base()
		s.progress.say("round %d of %d: %s: %s", round+1, s.rounds, c, s.row.LastIn(c.String(), rateColumn, "idle"))
	}
	ratios(s.row, s.unit, base)
	return nil
}

// measure puts the load on so many replicas, which are gone afterwards.
func (s *scaleIngest) measure(ctx context.Context, c ingestCase) (err error) {
	replicas, err := s.startReplicas(ctx, partIngest, c.replicas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.endReplicas(replicas)) }()
	addr := replicas[0].api
	if c.front {
		defer s.endFront()
		if addr, err = s.startFront(ctx, replicas); err != nil {
			return err
		}
	}
	var got load.Result
	o, err := s.observe(ctx, func() (err error) {
		got, err = s.load(addr, load.NewTarget(c.stream)).Run(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.row.Cell(c.String(), rateColumn, s.unit).Add(s.rate(got))
	o.add(s.row, c.String(), partIngest, []column{{partIngest, "ingest"}, {partFront, "HAProxy"}, {partNATS, "NATS"}, {partLoad, "load"}})
	return s.empty(ctx)
}
