package deploy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hydrant/shared/natstest"
	"hydrant/shared/proc"
)

// natsServer is a NATS server of an installation of processes.
type natsServer struct {
	name                 string // of its part, and its own in the cluster
	port, monitor, route int    // no route where it is alone
}

// cluster is the first server and two more, at ports of their own.
func cluster(t testing.TB, first natsServer) []natsServer {
	t.Helper()
	all := []natsServer{first, {name: "nats-2"}, {name: "nats-3"}}
	for i := range all {
		for _, p := range []*int{&all[i].port, &all[i].monitor, &all[i].route} {
			if *p == 0 {
				port, err := proc.FreePort()
				must(t, err)
				*p = port
			}
		}
	}
	return all
}

// NATSServers are the names of the parts that are NATS servers, by which JetStream calls them too.
func (d *Deployment) NATSServers() []string {
	names := make([]string, len(d.nats))
	for i, s := range d.nats {
		names[i] = s.name
	}
	return names
}

func (d *Deployment) natsURL() string {
	urls := make([]string, len(d.nats))
	for i, s := range d.nats {
		urls[i] = "nats://" + local(s.port)
	}
	return strings.Join(urls, ",")
}

func (d *Deployment) monitorURL() string {
	urls := make([]string, len(d.nats))
	for i, s := range d.nats {
		urls[i] = "http://" + local(s.monitor)
	}
	return strings.Join(urls, ",")
}

func (d *Deployment) startNATS() {
	d.t.Helper()
	if len(d.nats) > 1 {
		d.link()
	}
	for _, s := range d.nats {
		config := filepath.Join(d.dir, s.name+".conf")
		body := NATSConfig(local(s.port), local(s.monitor), filepath.Join(d.dir, s.name), d.options.StoreBytes)
		if d.options.Unsynced {
			body = bytes.Replace(body, []byte("sync_interval: always, "), nil, 1)
		}
		must(d.t, os.WriteFile(config, append(body, d.clusterConfig(s)...), 0o600))
		d.start(s.name, "nats-server", local(s.monitor)+"/healthz", nil, "-c", config)
	}
}

// link puts links between the servers, which a test can cut.
func (d *Deployment) link() {
	d.t.Helper()
	listening := map[string]string{}
	for _, s := range d.nats {
		listening[s.name] = local(s.route)
	}
	d.links = natstest.NewLinks(d.t, listening)
}

// Links are those between the NATS servers of a cluster.
func (d *Deployment) Links() *natstest.Links { return d.links }

// clusterConfig is what a server has to know of the others; nothing where there are none.
func (d *Deployment) clusterConfig(s natsServer) []byte {
	if d.links == nil {
		return nil
	}
	var routes []string
	for _, address := range d.links.From(s.name) {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+address))
	}
	return fmt.Appendf(nil, "server_name: %q\ncluster { name: hydrant, listen: %q, advertise: %q, ping_interval: 5s, routes: [%s] }\n",
		s.name, local(s.route), natstest.Nowhere, strings.Join(routes, ", "))
}

// NATSConfig is the configuration that Hydrant asks of a NATS server.
func NATSConfig(addr, monitor, dir string, storeBytes int64) []byte {
	return fmt.Appendf(nil, "listen: %q\nhttp: %q\nping_interval: 20s\nping_max: 2\njetstream { store_dir: %q, sync_interval: always, max_file_store: %d }\n",
		addr, monitor, dir, storeBytes)
}
