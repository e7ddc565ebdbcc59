// Command hydrant-s3sink delivers batches to S3.
package main

import (
	"os"

	"hydrant/services/s3sink"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-s3sink", "Delivers the batches of delivery streams to S3.",
		func(cfg s3sink.Config, rt service.Runtime) (service.Service, error) {
			service.BoundMemory(cfg.Memory())
			return s3sink.New(cfg, rt)
		}))
}
