package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

const (
	// searchBatches is how many batches of 5 MB each load has.
	searchBatches = 8

	nodeTime   = 8 * time.Second // about what starting Elasticsearch takes
	searchTime = 5 * time.Second // and a round

	searchHydrant, searchBulk = "hydrant-es, log to index", "BulkIndexer, memory to index"
)

func searchEstimate(o options) time.Duration {
	return startingTime + nodeTime + time.Duration(o.rounds+1)*searchTime
}

// searchRow is the row while it is measured.
type searchRow struct {
	*bench
	*installation
	row    *report.Row
	node   *esnode.Server
	client *esnode.Client
}

// measureSearch has hydrant-es index what waits in the log, in turn with a BulkIndexer that has the same documents in memory.
// A load of each goes before, which is not counted: the node is slow until its code is compiled.
func measureSearch(ctx context.Context, b *bench, row *report.Row) (err error) {
	dir := b.place("search-node")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	node, err := esnode.Run(ctx, dir, esnode.Elasticsearch9, esnode.Options{Optimise: true})
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	defer node.Kill()
	i, err := startProcesses(ctx, b.place("search"), b.programs, partIngest, partBuffer)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	s := &searchRow{b, i, row, node, &esnode.Client{URL: node.URL, HTTP: &http.Client{Transport: transport, Timeout: drainTime}}}
	for round := range b.rounds + 1 {
		if err := s.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

// round compares both on the same documents. They take turns in who is first.
func (s *searchRow) round(ctx context.Context, round int) error {
	stream := fmt.Sprintf("search-%d", round)
	if err := s.createSearch(ctx, s.node.URL, stream, stream+"-hydrant"); err != nil {
		return err
	}
	batches, err := s.putForSearch(ctx, s.installation, stream, searchBatches)
	if err != nil {
		return err
	}
	documents, err := s.documents(ctx, batches)
	if err != nil {
		return err
	}
	ours := comparison{index: stream + "-hydrant", load: func() (indexed, error) { return s.hydrant(ctx, batches) }}
	theirs := comparison{index: stream + "-bulk", load: func() (indexed, error) { return s.bulk(ctx, stream+"-bulk", documents) }}
	order := []*comparison{&theirs, &ours}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, c := range order {
		if c.did, err = s.indexing(ctx, *c, len(documents)); err != nil {
			return fmt.Errorf("%s: %w", c.index, err)
		}
	}
	s.report(round, ours.did, theirs.did)
	return s.empty(ctx)
}

// comparison is a load with the index that it fills.
type comparison struct {
	index string
	load  func() (indexed, error)
	did   indexed
}

// indexed is what a load took.
type indexed struct {
	documents int
	took      time.Duration
	start     time.Duration // of the process, before
	cpu       time.Duration // of the process that sends
	nats      time.Duration
	server    time.Duration // of Elasticsearch
}

func (d indexed) rate() float64 { return float64(d.documents) / d.took.Seconds() }

// perMillion is CPU seconds for each million documents.
func (d indexed) perMillion(cpu time.Duration) float64 {
	return cpu.Seconds() * 1e6 / float64(d.documents)
}

// indexing puts a load on an index of its own, and counts what is in it then. Nothing of it is left when it returns.
func (s *searchRow) indexing(ctx context.Context, c comparison, documents int) (did indexed, err error) {
	settings := map[string]any{"settings": map[string]any{"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}}
	if err := s.client.CreateIndex(ctx, c.index, settings); err != nil {
		return did, err
	}
	if did, err = s.watched(c.load); err != nil {
		return did, err
	}
	if did.documents, err = s.client.Count(ctx, c.index); err != nil {
		return did, err
	}
	if did.documents != documents {
		return did, fmt.Errorf("%d documents were sent, and %d are there", documents, did.documents)
	}
	return did, errors.Join(s.client.DeleteIndex(ctx, c.index), machine.Flush(s.root))
}

// watched puts a load on, and looks at what the servers used meanwhile.
func (s *searchRow) watched(load func() (indexed, error)) (did indexed, err error) {
	node, nats := s.node.PID(), s.parts[partNATS].PID()
	nodeBefore, err1 := machine.CPU(node)
	natsBefore, err2 := machine.CPU(nats)
	if err := errors.Join(err1, err2); err != nil {
		return did, err
	}
	if did, err = load(); err != nil {
		return did, err
	}
	did.server, err1 = since(node, nodeBefore)
	did.nats, err2 = since(nats, natsBefore)
	return did, errors.Join(err1, err2)
}

// since is what a process has used of the cores after an earlier look.
func since(pid int, before time.Duration) (time.Duration, error) {
	now, err := machine.CPU(pid)
	return now - before, err
}

func (s *searchRow) bulk(ctx context.Context, index string, documents []document) (did indexed, err error) {
	before, err := machine.OwnCPU()
	if err != nil {
		return did, err
	}
	began := time.Now()
	indexer, err := newBulkIndexer(s.node.URL, index)
	if err != nil {
		return did, err
	}
	if err := indexer.index(ctx, documents); err != nil {
		return did, err
	}
	did.took = time.Since(began)
	after, err := machine.OwnCPU()
	did.cpu = after - before
	return did, err
}

// hydrant starts hydrant-es on the backlog, and ends it when the last batch is delivered. The time begins when it is ready.
func (s *searchRow) hydrant(ctx context.Context, batches []batch.Descriptor) (did indexed, err error) {
	bytes := int64(0)
	for _, d := range batches {
		bytes += d.Bytes
	}
	c, err := s.clear(ctx, partES, names.DeliveriesSubject(names.LegES, batches[0].Stream), bytes)
	if err != nil {
		return did, err
	}
	did.start, did.took = c.start, c.took
	if did.cpu, err = machine.CPU(s.parts[partES].PID()); err != nil {
		return did, err
	}
	return did, s.end(partES)
}

// report adds what a round came to. Round 0 warms the node up.
func (s *searchRow) report(round int, ours, theirs indexed) {
	if round == 0 {
		s.progress.say("warmed up: hydrant-es %.0f, BulkIndexer %.0f documents/s", ours.rate(), theirs.rate())
		return
	}
	row := s.row
	row.Ratio("ratio", "", report.AtLeast(0.7)).Add(ours.rate() / theirs.rate())
	row.Figure(searchHydrant, "/s").Add(ours.rate())
	row.Figure(searchBulk, "/s").Add(theirs.rate())
	row.Figure("CPU a million documents: hydrant-es", "s").Add(ours.perMillion(ours.cpu))
	row.Figure("CPU a million documents: BulkIndexer's process", "s").Add(theirs.perMillion(theirs.cpu))
	row.Figure("CPU a million documents: NATS, for hydrant-es", "s").Add(ours.perMillion(ours.nats))
	row.Beside("CPU a million documents: Elasticsearch, for hydrant-es", "s").Add(ours.perMillion(ours.server))
	row.Beside("CPU a million documents: Elasticsearch, for BulkIndexer", "s").Add(theirs.perMillion(theirs.server))
	row.Beside("start of hydrant-es, not counted", "s").Add(ours.start.Seconds())
	s.progress.say("round %d of %d: %s", round, s.rounds, row.Last("ratio", searchHydrant, searchBulk))
}
