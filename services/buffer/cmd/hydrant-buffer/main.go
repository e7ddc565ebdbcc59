// Command hydrant-buffer cuts the records of delivery streams into batches.
package main

import (
	"os"

	"hydrant/services/buffer"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-buffer", "Cuts the records of delivery streams into batches, and trims what was delivered.",
		func(cfg buffer.Config, rt service.Runtime) (service.Service, error) { return buffer.New(cfg, rt) }))
}
