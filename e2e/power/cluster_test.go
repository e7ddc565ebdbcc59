//go:build linux

package power

import (
	"testing"
	"time"

	"hydrant/e2e/internal/deploy"
)

// TestCluster cuts the power of three NATS servers, of which each has everything, by turns of all in one moment and of one while the
// others go on.
func TestCluster(t *testing.T) {
	t.Parallel()
	r := newRig(t, deploy.Processes, deploy.Options{StoreBytes: 300 << 20, Cluster: true, Settings: map[string]string{"HYDRANT_REPLICAS": "3"}}, 512,
		"nats", "nats-2", "nats-3")
	catalog := newCatalog(r)
	stop := r.produce(15 * time.Second)
	servers := r.NATSServers()
	r.cuts(2, func(n int) {
		halt := catalog.change()
		r.moment(2 * time.Second)
		cut := servers
		if n%2 == 1 {
			one := r.rng.IntN(len(servers))
			cut = servers[one : one+1]
		}
		t.Logf("cutting %v", cut)
		r.cut(cut, cut...)
		halt()
		r.WaitReady()
		catalog.verify()
	})
	stop()
	must(t, r.report().Err())
	catalog.verifyLogs()
}
