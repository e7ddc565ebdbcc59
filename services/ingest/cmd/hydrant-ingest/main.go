// Hydrant-ingest is the Firehose-compatible API as a process of its own.
package main

import (
	"os"

	"hydrant/services/ingest"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-ingest", "Takes records and keeps delivery streams: the Firehose-compatible HTTP API.", build))
}

func build(cfg ingest.Config, runtime service.Runtime) (service.Service, error) {
	return ingest.New(cfg, runtime)
}
