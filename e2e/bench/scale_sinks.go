package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
	"hydrant/shared/names"
)

const (
	// replayCalls are put on the delivery streams of a sink's row together: 1 GB.
	replayCalls = 2048
	// manySinkStreams is how many delivery streams there are where there is more than one.
	manySinkStreams = 8
	// replayTime is about what a case of a sink takes.
	replayTime = 6 * time.Second
)

func scaleSinkEstimate(o options) time.Duration {
	cases := 2 * len(replicaCounts())
	return startingTime + 15*time.Second + time.Duration(o.rounds)*time.Duration(cases)*replayTime
}

// sinkRow is a row of a sink while it is measured: what waits for it is cut before, and published anew for each case.
type sinkRow struct {
	*bench
	*installation
	row     *report.Row
	part    string
	columns []column
	unit    string
	rate    func(records int, bytes int64, took time.Duration) float64
	// clean counts what has been delivered and removes it.
	clean func(ctx context.Context, records int, bytes int64) error

	backlogs map[int][]cutBatch // by the number of delivery streams
}

func measureScaleS3(ctx context.Context, b *bench, row *report.Row) (err error) {
	i, err := startProcesses(ctx, b.place(row.Name), b.programs, partS3, partIngest)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	s := &sinkRow{bench: b, installation: i, row: row, part: partSink, unit: "MB/s"}
	s.columns = []column{{partSink, "s3sink"}, {partNATS, "NATS"}, {partS3, "S3 server"}}
	s.rate = func(_ int, bytes int64, took time.Duration) float64 { return float64(bytes) / 1e6 / took.Seconds() }
	s.clean = func(ctx context.Context, _ int, bytes int64) error { return i.cleanObjects(ctx, bytes) }
	return s.measure(ctx, names.LegS3, func(stream string) error {
		return i.createStreams(ctx, hints{sizeMB: 5, interval: tail}, stream)
	})
}

// cleanObjects removes the objects, which have to hold so many bytes together.
func (i *installation) cleanObjects(ctx context.Context, bytes int64) error {
	client := i.s3Client()
	found, err := listObjects(ctx, client)
	if err != nil {
		return err
	}
	if found.bytes != bytes {
		return fmt.Errorf("%d bytes were to be delivered, and the %d objects hold %d", bytes, len(found.keys), found.bytes)
	}
	return deleteObjects(ctx, client, found)
}

func measureScaleES(ctx context.Context, b *bench, row *report.Row) (err error) {
	server, err := startBulkServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	i, err := startProcesses(ctx, b.place(row.Name), b.programs, partIngest)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	s := &sinkRow{bench: b, installation: i, row: row, part: partES, unit: "documents/s"}
	s.columns = []column{{partES, "es"}, {partNATS, "NATS"}, {partLoad, "bulk server"}}
	s.rate = func(records int, _ int64, took time.Duration) float64 { return float64(records) / took.Seconds() }
	s.clean = func(_ context.Context, records int, _ int64) error {
		if got := server.documents.Swap(0); got != int64(records) {
			return fmt.Errorf("%d documents were to be delivered, and %d were", records, got)
		}
		return nil
	}
	return s.measure(ctx, names.LegES, func(stream string) error { return i.createSearch(ctx, server.url, stream, "scale") })
}

// measure makes the backlogs, one delivery stream and several, and has more or fewer replicas deliver each of them, in turn.
func (s *sinkRow) measure(ctx context.Context, leg names.Leg, create func(stream string) error) error {
	s.backlogs = map[int][]cutBatch{}
	for _, streams := range []int{1, manySinkStreams} {
		var err error
		if s.backlogs[streams], err = s.backlog(ctx, leg, streams, create); err != nil {
			return fmt.Errorf("make the backlog: %w", err)
		}
	}
	// Each case publishes them anew.
	if err := errors.Join(s.end(partIngest), s.purge(ctx, names.BatchesStream)); err != nil {
		return err
	}
	for round := range s.rounds {
		if err := s.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return nil
}

// backlog puts records on so many delivery streams, and returns their batches when all are cut and the buffer has ended.
func (s *sinkRow) backlog(ctx context.Context, leg names.Leg, streams int, create func(string) error) ([]cutBatch, error) {
	list := make([]string, streams)
	for n := range list {
		list[n] = fmt.Sprintf("of-%d-%d", streams, n)
		if err := create(list[n]); err != nil {
			return nil, err
		}
	}
	cut, stop, err := s.watchBatches(names.BatchesSubject(leg, "*", 0))
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := s.start(ctx, partBuffer); err != nil {
		return nil, err
	}
	bytes, err := s.putEvenly(ctx, s.installation, list, replayCalls/streams)
	if err != nil {
		return nil, err
	}
	batches, err := cut.reach(ctx, bytes)
	return batches, errors.Join(err, s.end(partBuffer))
}

// sinkCase is a line of the table.
type sinkCase struct{ replicas, streams int }

func (c sinkCase) String() string {
	if c.streams == 1 {
		return replicasText(c.replicas) + ", 1 delivery stream"
	}
	return fmt.Sprintf("%s, %d delivery streams", replicasText(c.replicas), c.streams)
}

func sinkCases() (cases []sinkCase) {
	for _, streams := range []int{1, manySinkStreams} {
		for _, count := range replicaCounts() {
			cases = append(cases, sinkCase{count, streams})
		}
	}
	return cases
}

func (s *sinkRow) round(ctx context.Context, round int) error {
	if _, err := s.disk(ctx, s.row); err != nil {
		return err
	}
	base := map[string]string{}
	for _, c := range turnOf(sinkCases(), round) {
		s.row.Cell(c.String(), rateColumn, s.unit)
		s.row.Cell(c.String(), ratioToOne, "")
		if err := s.deliver(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		base[c.String()] = sinkCase{1, c.streams}.String()
		s.progress.say("round %d of %d: %s: %s", round+1, s.rounds, c, s.row.LastIn(c.String(), rateColumn, "idle"))
	}
	ratios(s.row, s.unit, base)
	return nil
}

// deliver has so many replicas, which are ready and wait, deliver a backlog. Its time begins with the first descriptor.
func (s *sinkRow) deliver(ctx context.Context, c sinkCase) (err error) {
	replicas, err := s.startReplicas(ctx, s.part, c.replicas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.endReplicas(replicas)) }()
	batches := s.backlogs[c.streams]
	records, bytes := sizeOf(batches)
	var took time.Duration
	o, err := s.observe(ctx, func() (err error) {
		took, err = s.replay(ctx, batches, bytes)
		return err
	})
	if err != nil {
		return err
	}
	s.row.Cell(c.String(), rateColumn, s.unit).Add(s.rate(records, bytes, took))
	o.add(s.row, c.String(), s.part, s.columns)
	return errors.Join(s.clean(ctx, records, bytes), machine.Flush(s.root))
}

func sizeOf(batches []cutBatch) (records int, bytes int64) {
	for _, b := range batches {
		records, bytes = records+b.Records, bytes+b.Bytes
	}
	return records, bytes
}

// replay publishes the descriptors, and waits until each batch is delivered.
func (s *sinkRow) replay(ctx context.Context, batches []cutBatch, bytes int64) (time.Duration, error) {
	back := newBacklog(0, 0)
	back.ack(bytes)
	stop, err := back.watch(s.conn)
	if err != nil {
		return 0, err
	}
	defer stop()
	timed, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	began := time.Now()
	if err := errors.Join(s.again(timed, batches), back.drained(timed)); err != nil {
		return 0, errors.Join(err, s.alive())
	}
	events := back.history()
	return events[len(events)-1].at.Sub(began), nil
}
