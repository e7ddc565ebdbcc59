package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/natscli"
	"hydrant/shared/names"
)

// TestIntoCluster moves an installation from one NATS server to three, as docs/operations.md says, with records that wait, a staged object
// that is not loaded, a log that was trimmed of all it had, and producers that go on: the three have all that the one had, each
// acknowledged record is delivered once, and then everything is kept on each of the three.
func TestIntoCluster(t *testing.T) {
	t.Parallel()
	terminal := natscli.New(t)
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: map[string]string{"HYDRANT_ACK_WAIT": "5s", "HYDRANT_RETRY_MAX": "2s"}})
	c := &clustered{Deployment: d, t: t, js: d.JetStream(), ledger: checker.NewLedger()}
	c.makeOneOfEach()
	makeBucket(t, d, "staged")
	put(t, d, "loaded", "waits for a table\n")
	put(t, d, "copied", "is delivered\n")
	if got := body(t, d, "copied", "", len("is delivered\n")); got != "is delivered\n" {
		t.Errorf("delivered %q", got)
	}
	c.empty("RECORDS_copied")
	deploy.Eventually(t, "an object is staged", func() bool { return c.state()[names.StagingStream+" redshift_loaded"].waiting > 0 })

	stop := c.produce(rand.New(rand.NewPCG(1, 0)), "one", "two")
	deploy.Eventually(t, "the first objects are delivered", func() bool {
		return len(d.Objects(clusterBucket, "one/")) > 0 && len(d.Objects(clusterBucket, "two/")) > 0
	})
	var before map[string]position
	d.IntoCluster(
		func() {
			before = c.state()
			terminal.Backup(t, d.NATS)
		},
		func() {
			terminal.Restore(t, d.NATS, "../docs/operations.md")
			c.js = d.JetStream()
			if after := c.state(); !maps.Equal(after, before) {
				t.Errorf("restored is\n%v\nwant\n%v", after, before)
			}
		})
	t.Log(c.Hydrant("replicas", "3"))
	c.mustHave(3)
	put(t, d, "copied", "goes on\n")
	if got := body(t, d, "copied", "", len("is delivered\ngoes on\n")); got != "is delivered\ngoes on\n" {
		t.Errorf("delivered %q", got)
	}
	stop()
	c.verdict("one", "two")
}

// empty removes everything from the stream with that beginning of a name, as the buffer does beyond the replay window.
func (c *clustered) empty(beginning string) {
	c.t.Helper()
	for _, info := range c.streams() {
		if strings.HasPrefix(info.Config.Name, beginning) {
			stream, err := c.js.Stream(c.t.Context(), info.Config.Name)
			must(c.t, err)
			must(c.t, stream.Purge(c.t.Context()))
		}
	}
}

// position is where a stream or a consumer is.
type position struct {
	first, last, messages uint64
	waiting               uint64 // of a consumer: what is not acknowledged
}

func (p position) String() string {
	return fmt.Sprintf("%d to %d, %d messages, %d waiting", p.first, p.last, p.messages, p.waiting)
}

// state is where everything in NATS is that lasts; the services' membership, which expires, is left out. Consumers are named without the
// ids of their delivery streams.
func (c *clustered) state() map[string]position {
	c.t.Helper()
	all := map[string]position{}
	for _, info := range c.streams() {
		if info.Config.Name == "KV_"+names.MembersBucket {
			continue
		}
		all[info.Config.Name] = positionIn(info.State)
		for _, consumer := range c.consumersOf(info.Config.Name) {
			if consumer.Config.Durable != "" {
				all[info.Config.Name+" "+withoutID(consumer.Name)] = positionOf(consumer)
			}
		}
	}
	return all
}

// positionIn leaves out where an empty stream begins, which is told as 0 or 1 where it never had a message.
func positionIn(s jetstream.StreamState) position {
	if s.Msgs == 0 {
		s.FirstSeq = 0
	}
	return position{s.FirstSeq, s.LastSeq, s.Msgs, 0}
}

func withoutID(consumer string) string { return consumer[:strings.LastIndexByte(consumer, '_')] }

func positionOf(c *jetstream.ConsumerInfo) position {
	return position{c.AckFloor.Stream, c.Delivered.Stream, 0, c.NumPending + uint64(c.NumAckPending)}
}
