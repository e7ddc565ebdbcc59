package deploy

import (
	"context"
	"time"
)

// IntoCluster ends the services and the one NATS server, and starts them again with three servers, which have nothing of it: save is
// called when the services have ended, and load when the three are there. Only where parts are processes.
func (d *Deployment) IntoCluster(save, load func()) {
	d.t.Helper()
	for _, name := range []string{"ingest", "buffer", "s3sink", "es", "redshift"} {
		must(d.t, d.parts[name].Terminate(stopTime))
	}
	save()
	must(d.t, d.parts["nats"].Terminate(stopTime))
	delete(d.ready, "nats")
	d.nats = cluster(d.t, natsServer{name: "nats-1"})
	d.NATS = d.natsURL()
	d.startNATS()
	d.waitServers()
	load()
	d.startServices()
	d.WaitReady()
}

func (d *Deployment) waitServers() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, s := range d.nats {
		must(d.t, d.parts[s.name].WaitReady(ctx, d.ready[s.name]))
	}
}
