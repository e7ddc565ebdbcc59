// Command hydrant-es delivers batches to Elasticsearch and OpenSearch.
package main

import (
	"os"

	"hydrant/services/es"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-es", "Delivers the batches of delivery streams to Elasticsearch and OpenSearch.",
		func(cfg es.Config, rt service.Runtime) (service.Service, error) {
			service.BoundMemory(cfg.Memory())
			return es.New(cfg, rt)
		}))
}
