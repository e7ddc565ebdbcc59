package deploy

import (
	"fmt"

	"hydrant/e2e/internal/composed"
)

// startContainers starts compose.yaml as it is, but for what the other kinds have otherwise too: buckets are a test's to make, and the
// store is small.
func (d *Deployment) startContainers() {
	d.t.Helper()
	if d.options.Cluster {
		d.t.Fatal("compose.cluster.yaml publishes one of its servers: a test that kills them has nobody to ask")
	}
	settings := []string{
		"COMPOSE_PROFILES=", "HYDRANT_S3_CREATE_BUCKETS=false", fmt.Sprintf("HYDRANT_STORE_BYTES=%d", d.options.StoreBytes),
	}
	for name, value := range d.options.Settings {
		settings = append(settings, name+"="+value)
	}
	d.project = composed.New(d.t, d.programs.images, settings...)
	d.API, d.S3, d.NATS = "http://"+d.project.API, "http://"+d.project.S3, "nats://"+d.project.NATS
	d.project.Up()
}

// killContainers kills all replicas of a service.
func (d *Deployment) killContainers(service string) (start func()) {
	d.t.Helper()
	running := d.project.Containers(service)
	if len(running) == 0 {
		d.t.Fatalf("no %s is running", service)
	}
	for _, container := range running {
		d.project.Kill(container)
	}
	return d.project.Up
}
