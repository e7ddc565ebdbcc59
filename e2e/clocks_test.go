package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"hydrant/e2e/internal/deploy"
	"hydrant/shared/broker"
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
	c.mustTellClocks(half)
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

// mustTellClocks waits until ingest's metric has each server's clock, as ingest and one server are ahead by half, another is as much behind,
// and the third is right, as the machine is; and until the tool tells an operator of the two that are not.
func (c *clustered) mustTellClocks(half time.Duration) {
	c.t.Helper()
	shown := regexp.MustCompile(`hydrant_nats_clock_ahead_seconds\{server="([^"]+)",service="ingest"\} (\S+)`)
	want := fmt.Sprint(map[string]time.Duration{"nats": -half, "nats-2": 0, "nats-3": -2 * half})
	deploy.EventuallyWithin(c.t, 5*time.Minute, "ingest shows "+want, func() bool {
		got := map[string]time.Duration{}
		for _, m := range shown.FindAllStringSubmatch(c.Get("/metrics"), -1) {
			seconds, err := strconv.ParseFloat(m[2], 64)
			must(c.t, err)
			got[m[1]] = time.Duration(seconds * float64(time.Second)).Round(time.Second) // less by what asking took
		}
		return fmt.Sprint(got) == want
	})
	if half < broker.ClocksApart {
		return
	}
	told := regexp.MustCompile(`^[^:]* the clock of NATS server nats-2 is \S+ ahead of this machine's: [^:]* the clock of NATS server nats-3 is \S+ behind this machine's: [^:]*; store: `)
	deploy.Eventually(c.t, "status tells", func() bool { return told.MatchString(words(c.Hydrant("status"))) })
}
