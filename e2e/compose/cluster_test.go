package compose

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestComposeCluster starts the installation with compose.cluster.yaml, and kills each of its NATS servers under load: the one that is
// back has everything before the next is killed.
func TestComposeCluster(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	p := newProject(t, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s", "COMPOSE_PROFILES=")
	p.Files = clusterFiles()
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

// clusterFiles make the installation one with a cluster, of which health is asked for as of all else.
func clusterFiles() []string {
	return []string{"compose.cluster.yaml", "e2e/internal/composed/hurried.cluster.yaml"}
}

// mustBeKeptThrice asks the tool that an operator would ask, until it says that all are current: a server that is healthy may be behind
// again, by what was written just now.
func (p *project) mustBeKeptThrice() {
	p.t.Helper()
	p.eventually("three replicas of everything, all current", 2*time.Minute, func() bool {
		said := p.Ask(p.t.Context(), "replicas")
		p.t.Log(said)
		return strings.Contains(said, "replicas of the installation: 3\n") && strings.Contains(said, ", 0 with another number of replicas than 3, all current")
	})
}
