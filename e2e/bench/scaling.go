package main

import (
	"fmt"
	"slices"

	"hydrant/e2e/bench/internal/report"
)

// scaling is the name, for -rows, of all rows that show what more replicas of a service add.
const scaling = "scaling"

// scalingSpecs are measured only when they are named: they are of docs/scaling.md, not of the table of what is to be reached.
func scalingSpecs() []spec {
	return []spec{
		{"scale-ingest", "PutRecordBatch, 500 × 1 KB, 16 connections to one delivery stream, no delivery", scaleIngestEstimate, measureScaleIngest},
		{"scale-ingest-one", "PutRecord, 1 KB, 256 connections to one delivery stream, no delivery", scaleIngestEstimate, measureScaleIngestOne},
		{"scale-buffer", "batches of 1.5 MB cut from a backlog of 256 delivery streams, no sink", scaleBufferEstimate, measureScaleBuffer},
		{"scale-s3sink", "log to uncompressed objects of 5 MB, from a backlog", scaleSinkEstimate, measureScaleS3},
		{"scale-es", "log to a server that takes bulk requests at the speed of memory, from a backlog", scaleSinkEstimate, measureScaleES},
	}
}

// replicaCounts are how many replicas of a service are compared.
func replicaCounts() []int { return []int{1, 2, 4} }

// turnOf is the order in which a round takes its cases: there and back, so that none is always behind the same.
func turnOf[T any](cases []T, round int) []T {
	order := slices.Clone(cases)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

func replicasText(count int) string {
	if count == 1 {
		return "1 replica"
	}
	return fmt.Sprintf("%d replicas", count)
}

// ratios adds, at the end of a round, each line's newest rate by that of the line it is compared with.
func ratios(row *report.Row, unit string, base map[string]string) {
	for line, of := range base {
		mine, theirs := row.Cell(line, rateColumn, unit).Rounds, row.Cell(of, rateColumn, unit).Rounds
		row.Cell(line, ratioToOne, "").Add(mine[len(mine)-1] / theirs[len(theirs)-1])
	}
}

// The first two columns: what is compared, and its ratio.
const (
	rateColumn = "rate"
	ratioToOne = "of one replica's"
)
