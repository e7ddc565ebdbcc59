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
	"hydrant/shared/natstest"
)

var (
	asleepTurns = flag.Int("asleep.turns", 3, "how many times a NATS server of the cluster is stopped or cut off under load: each way and each role by turn, from a turn on that the seed says")
	asleepFor   = flag.Duration("asleep.for", 15*time.Second, "how long: longer than the servers take to elect another (9 s) and to give up leading (20 s) is best, longer than connections live without a word (60 s) is long")
)

// TestServersAsleep has a NATS server stopped, or cut off from one or both of the others, under load, for longer than the others take to
// elect another, and woken or joined again: by turn the one that leads a log, the one that leads the batches, and the one that decides
// where streams are. What it still believes when it wakes costs nothing: what was acknowledged is delivered, once, though meanwhile
// the delivery streams get other prefixes, of which it does not know.
func TestServersAsleep(t *testing.T) {
	t.Parallel()
	c := startCluster(t, programs, nil)
	for _, name := range []string{"one", "two"} {
		create(t, c.Deployment, name, destination(clusterBucket, name+"/", 1))
	}
	c.enough = 11 // nine of the installation, and two logs
	rng := rand.New(rand.NewPCG(*clusterSeed, 1))
	stop := c.produce(rng, "one", "two")
	c.disturbAll(rng)
	stop()
	c.verdict("one", "two")
}

func (c *clustered) disturbAll(rng *rand.Rand) {
	c.t.Helper()
	for n := range uint64(*asleepTurns) {
		c.disturb(rng, *clusterSeed+n)
	}
}

// disturb stops a server or cuts links of it, and waits until all have everything again.
func (c *clustered) disturb(rng *rand.Rand, turn uint64) {
	c.t.Helper()
	roles := []struct{ name, why string }{
		{c.leader("RECORDS_one"), "which leads a log"},
		{c.leader(names.BatchesStream), "which leads the batches"},
		{c.metaLeader(), "which decides where streams are"},
	}
	all := ways()
	role, way := roles[turn%uint64(len(roles))], all[turn%uint64(len(all))]
	other := c.another(rng, role.name)
	length := *asleepFor + time.Duration(rng.Int64N(int64(5*time.Second)))
	c.t.Logf("%s %s, %s, for %s; the other is %s", way.name, role.name, role.why, length, other)
	before := c.ledger.Counts()
	undo := way.do(c, role.name, other)
	longest := c.longestSilence(length)
	during := c.ledger.Counts()
	for _, stream := range []string{"one", "two"} {
		c.move(stream, turn)
	}
	undo()
	deploy.Eventually(c.t, role.name+" is current", func() bool { return c.current() })
	c.t.Logf("put before, during and until all were current again: %+v, %+v, %+v", before, during, c.ledger.Counts())
	c.t.Logf("for %s no put was acknowledged", longest)
}

// move gives a delivery stream another prefix. An API server whose NATS server is cut off refuses, and what becomes of a request without
// an answer is not known: either will do, and the other is seen to by other turns.
func (c *clustered) move(stream string, turn uint64) {
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

// longestSilence waits for so long, and returns the longest time in which no producer heard of a put that is stored.
func (c *clustered) longestSilence(length time.Duration) (longest time.Duration) {
	end := time.NewTimer(length)
	defer end.Stop()
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	last, since := c.ledger.Counts().Acknowledged, time.Now()
	for {
		select {
		case <-end.C:
			return longest
		case now := <-look.C:
			longest = max(longest, now.Sub(since))
			if n := c.ledger.Counts().Acknowledged; n != last {
				last, since = n, now
			}
		}
	}
}

// way is what is done to a server, until it is undone.
type way struct {
	name string
	do   func(c *clustered, server, other string) (undo func())
}

// ways are what is done to a server, and to the links between it and another. More of them than there are roles, so that by turn
// each way comes to each role.
func ways() []way {
	return []way{
		{"cutting off", cut(func(l *natstest.Links, server, _ string) { l.Cut(server) })},
		{"stopping", func(c *clustered, server, _ string) func() { return c.Pause(server) }},
		{"cutting from one other", cut((*natstest.Links).CutPair)},
		{"having one other not hear", cut(func(l *natstest.Links, server, other string) {
			l.CutWays(func(from, to string) bool { return from == server && to == other })
		})},
		{"having no other hear", cut(func(l *natstest.Links, server, _ string) {
			l.CutWays(func(from, _ string) bool { return from == server })
		})},
		{"making deaf", cut(func(l *natstest.Links, server, _ string) {
			l.CutWays(func(_, to string) bool { return to == server })
		})},
		{"resetting the connections to one other of", cut((*natstest.Links).Refuse)},
		{"cutting from one other, with all lost that was sent,", func(c *clustered, server, other string) func() {
			c.Links().CutPair(server, other)
			return func() { c.Links().Lose(); c.Links().Heal() }
		}},
	}
}

// cut is a way to cut links, which come back with what was sent meanwhile.
func cut(how func(links *natstest.Links, server, other string)) func(c *clustered, server, other string) (undo func()) {
	return func(c *clustered, server, other string) func() {
		how(c.Links(), server, other)
		return c.Links().Heal
	}
}

// another is a server other than that one.
func (c *clustered) another(rng *rand.Rand, server string) string {
	c.t.Helper()
	all := c.NATSServers()
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if all[0] != server {
		return all[0]
	}
	return all[1]
}

// metaLeader is the server that decides where streams are, when there is one.
func (c *clustered) metaLeader() string {
	c.t.Helper()
	var state struct {
		Meta struct{ Leader string } `json:"meta_cluster"`
	}
	deploy.Eventually(c.t, "there is one that decides where streams are", func() bool {
		must(c.t, json.Unmarshal([]byte(c.Monitor("/jsz")), &state))
		return state.Meta.Leader != ""
	})
	return state.Meta.Leader
}
