// Command hydrant-es delivers batches to Elasticsearch and OpenSearch.
package main

import (
	"os"
	"runtime/debug"

	"hydrant/services/es"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-es", "Delivers the batches of delivery streams to Elasticsearch and OpenSearch.",
		func(cfg es.Config, rt service.Runtime) (service.Service, error) {
			boundMemory(cfg)
			return es.New(cfg, rt)
		}))
}

// boundMemory has the collector run when the memory that the service needs is full, and not each time that what little it
// keeps has doubled: nearly all of its memory is requests that were sent. GOMEMLIMIT and GOGC, where set, are left alone.
func boundMemory(cfg es.Config) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	debug.SetMemoryLimit(cfg.Memory())
	debug.SetGCPercent(400)
}
