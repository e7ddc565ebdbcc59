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
			boundMemory(cfg)
			return s3sink.New(cfg, rt)
		}))
}

// boundMemory has the collector run when the memory that the service needs is full, and not each time that what little it
// keeps has doubled: nearly all of its memory is records that were sent. GOMEMLIMIT and GOGC, where set, are left alone.
func boundMemory(cfg s3sink.Config) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	debug.SetMemoryLimit(cfg.Memory())
	debug.SetGCPercent(400)
}
