package e2e

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"hydrant/e2e/internal/deploy"
)

var clocksApart = flag.Duration("clocks.apart", 0, "have the clocks of two NATS servers of a cluster that far apart, that of the third between them, and those of the services from one end to the other")

// TestClocksApart has the servers of a cluster, and the services, have clocks that are apart, while servers that lead are killed and
// stopped, so that others lead, by whose clocks it is earlier or later. What was acknowledged is delivered, once.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	if *clocksApart == 0 {
		t.Skip("builds all programs, and Go's own packages, anew: make clocks runs it")
	}
	apart, err := deploy.BuildWithClocks(t.Context(), t.TempDir())
	must(t, err)
	half := (*clocksApart / 2).Truncate(time.Second)
	c := startCluster(t, apart, map[string]time.Duration{
		"nats-2": half, "nats-3": -half, "ingest": half, "buffer": -half, "s3sink": half, "es": -half, "redshift": half,
	})
	for _, name := range []string{"one", "two"} {
		create(t, c.Deployment, name, destination(clusterBucket, name+"/", 1))
	}
	c.apart = *clocksApart
	c.enough = 11 // nine of the installation, and two logs
	rng := rand.New(rand.NewPCG(*clusterSeed, 2))
	stop := c.produce(rng, "one", "two")
	for n := range *clusterKills {
		c.killServer(rng, 2*(n%2))
	}
	c.disturbAll(rng)
	stop()
	c.verdict("one", "two")
}
