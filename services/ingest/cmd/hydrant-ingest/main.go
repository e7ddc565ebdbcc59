// Hydrant-ingest is the Firehose-compatible API as a process of its own.
package main

import (
	"os"
	"runtime/debug"

	"hydrant/services/ingest"
	"hydrant/shared/service"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// What is alive is small, and buffers are bounded by --request-memory: a heap three times as large costs little memory
		// and saves most collections, which also empty the pools.
		debug.SetGCPercent(heapGrowth)
	}
	os.Exit(service.Main("hydrant-ingest", "Takes records and keeps delivery streams: the Firehose-compatible HTTP API.", build))
}

const heapGrowth = 200 // percent

func build(cfg ingest.Config, runtime service.Runtime) (service.Service, error) {
	return ingest.New(cfg, runtime)
}
