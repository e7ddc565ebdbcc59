package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
	"hydrant/shared/names"
)

var (
	asleepTurns = flag.Int("asleep.turns", 2, "how many times a NATS server of the cluster is stopped or cut off under load: each way and each role by turn")
	asleepFor   = flag.Duration("asleep.for", 15*time.Second, "how long: longer than the servers take to elect another (9 s) and to give up leading (20 s) is best, longer than connections live without a word (60 s) is long")
)

// TestServersAsleep has a NATS server stopped, or cut off from the two others, under load, for longer than the others take to
// elect another, and woken or joined again: by turn the one that leads a log, the one that leads the batches, and the one that decides
// where streams are. What it still believes when it wakes costs nothing: what was acknowledged is delivered, once, though meanwhile
// the delivery streams get other prefixes, of which it does not know.
func TestServersAsleep(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for _, name := range []string{"one", "two"} {
		create(t, c.Deployment, name, destination(clusterBucket, name+"/", 1))
	}
	c.enough = 11 // nine of the installation, and two logs
	rng := rand.New(rand.NewPCG(*clusterSeed, 1))
	stop := c.produce(rng, "one", "two")
	for n := range *asleepTurns {
		c.disturb(rng, n)
	}
	stop()
	c.verdict("one", "two")
}

// disturb stops a server or cuts it off, and waits until it has everything again.
func (c *clustered) disturb(rng *rand.Rand, turn int) {
	c.t.Helper()
	roles := []struct{ name, why string }{
		{c.leader("RECORDS_one"), "which leads a log"},
		{c.leader(names.BatchesStream), "which leads the batches"},
		{c.metaLeader(), "which decides where streams are"},
	}
	ways := []struct {
		name string
		do   func(string) func()
	}{{"stopping", c.Pause}, {"cutting off", c.CutServer}}
	role, way := roles[turn%len(roles)], ways[turn%len(ways)]
	length := *asleepFor + time.Duration(rng.Int64N(int64(5*time.Second)))
	c.t.Logf("%s %s, %s, for %s", way.name, role.name, role.why, length)
	before := c.ledger.Counts()
	undo := way.do(role.name)
	timer := time.NewTimer(length)
	<-timer.C
	during := c.ledger.Counts()
	for _, stream := range []string{"one", "two"} {
		c.move(stream, turn)
	}
	undo()
	deploy.Eventually(c.t, role.name+" is current", func() bool { return c.current() })
	c.t.Logf("put before, during and until all were current again: %+v, %+v, %+v", before, during, c.ledger.Counts())
}

// move gives a delivery stream another prefix. An API server whose NATS server is cut off refuses, and what becomes of a request without
// an answer is not known: either will do, and the other is seen to by other turns.
func (c *clustered) move(stream string, turn int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	described, err := c.Firehose().DescribeDeliveryStream(ctx, &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &stream})
	if err != nil {
		c.t.Logf("%s is not moved: %v", stream, err)
		return
	}
	is := described.DeliveryStreamDescription
	_, err = c.Firehose().UpdateDestination(ctx, &firehose.UpdateDestinationInput{
		DeliveryStreamName: &stream, CurrentDeliveryStreamVersionId: is.VersionId, DestinationId: is.Destinations[0].DestinationId,
		ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{Prefix: aws.String(fmt.Sprintf("%s-moved-%d/", stream, turn))},
	})
	c.t.Logf("%s is moved (%v)", stream, err)
}

// metaLeader is the server that decides where streams are.
func (c *clustered) metaLeader() string {
	c.t.Helper()
	var state struct {
		Meta struct{ Leader string } `json:"meta_cluster"`
	}
	must(c.t, json.Unmarshal([]byte(c.Monitor("/jsz")), &state))
	return state.Meta.Leader
}
