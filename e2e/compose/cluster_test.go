package compose

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// TestComposeCluster starts the installation with compose.cluster.yaml, and kills each of its NATS servers under load: the one that is
// back has everything before the next is killed.
func TestComposeCluster(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	p := newProject(t, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s", "COMPOSE_PROFILES=")
	p.Files = []string{"compose.cluster.yaml"}
	p.up()
	p.mustBeKeptThrice()
	one := p.toS3("one")
	rng := rand.New(rand.NewPCG(*seed, 0))
	load := p.produce(rng, one)
	for _, server := range clusterServers() {
		t.Log("kill", server)
		killed(server).do(p, rng) // and waits until all are healthy
	}
	p.allDelivered(load)
	p.verdict(one.check(load.ledger))
	p.mustBeKeptThrice()
}

// mustBeKeptThrice asks the tool that an operator would ask.
func (p *project) mustBeKeptThrice() {
	p.t.Helper()
	said := p.compose(p.t.Context(), "run", "--rm", "--no-deps", "hydrant", "replicas")
	if !strings.Contains(said, "replicas of the installation: 3\n") || !strings.Contains(said, ", 0 with another number of replicas than 3, all current") {
		p.t.Errorf("hydrant replicas says\n%s", said)
	}
}
