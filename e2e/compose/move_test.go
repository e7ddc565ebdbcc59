package compose

import (
	"math/rand/v2"
	"testing"

	"hydrant/e2e/internal/natscli"
)

// TestComposeIntoCluster moves an installation of compose.yaml into the servers of compose.cluster.yaml by the commands of
// docs/operations.md, with producers that go on.
func TestComposeIntoCluster(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	p := newProject(t, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s", "COMPOSE_PROFILES=")
	p.up()
	one := p.toS3("one")
	load := p.produce(rand.New(rand.NewPCG(*seed, 2)), one)
	p.awaitMore("one")

	terminal, server := natscli.New(t), "nats://"+p.natsAddr
	p.compose(t.Context(), "stop", "ingest", "buffer", "s3sink", "es", "redshift")
	terminal.Backup(t, server)
	p.compose(t.Context(), "stop", "nats")
	p.Files = clusterFiles()
	p.compose(t.Context(), "up", "--detach", "--wait", "nats", "nats-2", "nats-3")
	terminal.Restore(t, server, "../../docs/operations.md")
	p.compose(t.Context(), "up", "--detach", "--wait")
	t.Log(p.Ask(t.Context(), "replicas", "3"))

	p.mustBeKeptThrice()
	p.awaitMore("one")
	p.allDelivered(load)
	p.verdict(one.check(load.ledger))
}
