// Command hydrant-redshift loads the staged objects of delivery streams into Redshift.
package main

import (
	"os"

	"hydrant/services/redshift"
	"hydrant/shared/service"
)

func main() {
	os.Exit(service.Main("hydrant-redshift", "Loads the staged objects of delivery streams into Redshift.",
		func(cfg redshift.Config, rt service.Runtime) (service.Service, error) { return redshift.New(cfg, rt) }))
}
