package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"hydrant/e2e/bench/internal/report"
)

// spec is a row: what it is, about how long it takes, and how it is measured.
type spec struct {
	name, title string
	estimate    func(options) time.Duration
	measure     func(context.Context, *bench, *report.Row) error
}

// specs are the rows in the order of the table.
func specs() []spec {
	return []spec{
		{"batch", "PutRecordBatch, 500 × 1 KB, 16 connections, synced, delivery held back; beside JetStream alone", batchEstimate, measureBatch},
		{"deliver-128", "the same while all is delivered to the S3 server, uncompressed, in objects of 128 MB", deliverEstimate, measureDeliver128},
		{"deliver-5", "the same in objects of 5 MB", deliverEstimate, measureDeliver5},
		{"deliver-gzip", "the same with GZIP, hints of 5 MB; beside the compressor alone on the cores left", gzipEstimate, measureGzip},
		{"put-one", "PutRecord, 1 KB, 256 connections; beside single synced JetStream publishes, 256 in flight", putOneEstimate, measurePutOne},
		{"latency", "put to readable object, interval 0, one producer", latencyEstimate, measureLatency},
		{"cpu", "CPU seconds a GB, put to object, in the loads of deliver-128", cpuEstimate, measureCPU},
		{"search", "log to index by hydrant-es; beside esutil.BulkIndexer from memory, on the same Elasticsearch node", searchEstimate, measureSearch},
		{"redshift", "staged objects to rows by hydrant-redshift, with its ledger; beside one COPY of the same objects by hand, through the same stand-in and PostgreSQL", redshiftEstimate, measureRedshift},
		{"memory", "resident memory at most: the services in the loads of deliver-128, and the all-in-one program", memoryEstimate, measureMemory},
		{"streams", "1, 10, 100, 1,000 delivery streams, the same load of 500 KB calls, all-in-one, delivered", streamsEstimate, measureStreams},
		{"streams-single", "1, 100, 1,000 delivery streams, PutRecord, 1 KB, 256 connections; beside the disk's fsyncs", singleEstimate, measureStreamsSingle},
		{"start", "start of the all-in-one program with 1,000 delivery streams and 1 GB of backlog", startEstimate, measureStart},
	}
}

// chosen are the rows of a list of names, in the order of the table; for an empty list all but those of scaling.
func chosen(list string) ([]spec, error) {
	switch list {
	case "":
		return specs(), nil
	case scaling:
		return scalingSpecs(), nil
	}
	all := append(specs(), scalingSpecs()...)
	wanted := strings.Split(list, ",")
	for _, name := range wanted {
		if !slices.ContainsFunc(all, func(s spec) bool { return s.name == name }) {
			return nil, fmt.Errorf("-rows %s: there is no row %q; -list lists them", list, name)
		}
	}
	return slices.DeleteFunc(all, func(s spec) bool { return !slices.Contains(wanted, s.name) }), nil
}

func listRows(out io.Writer, rows []spec, o options) error {
	for _, s := range rows {
		if _, err := fmt.Fprintf(out, "%-15s about %-5s %s\n", s.name, clock(s.estimate(o)), s.title); err != nil {
			return err
		}
	}
	return nil
}
