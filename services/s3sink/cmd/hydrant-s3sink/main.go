// Command hydrant-s3sink delivers batches to S3.
package main

import (
	"os"
	"runtime/debug"

	"hydrant/services/s3sink"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-s3sink", "Delivers the batches of delivery streams to S3.",
		func(cfg s3sink.Config, rt service.Runtime) (service.Service, error) {
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(cfg.Memory()) // records that were sent are not to lie about until there are as many more
			}
			return s3sink.New(cfg, rt)
		}))
}
