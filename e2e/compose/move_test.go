package compose

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
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

	saved := filepath.Join(t.TempDir(), "backup")
	p.compose(t.Context(), "stop", "ingest", "buffer", "s3sink", "es", "redshift")
	p.natsCLI("backup", "account", "--force", saved)
	p.compose(t.Context(), "stop", "nats")
	p.Files = []string{"compose.cluster.yaml"}
	p.compose(t.Context(), "up", "--detach", "--wait", "nats", "nats-2", "nats-3")
	p.natsCLI("backup", "restore", "account", saved)
	p.compose(t.Context(), "up", "--detach", "--wait")
	t.Log(p.compose(t.Context(), "run", "--rm", "--no-deps", "hydrant", "replicas", "3"))

	p.mustBeKeptThrice()
	p.awaitMore("one")
	p.allDelivered(load)
	p.verdict(one.check(load.ledger))
}

// natsCLI runs NATS' own command line, which make compose-test builds.
func (p *project) natsCLI(args ...string) {
	p.t.Helper()
	program := os.Getenv("HYDRANT_TEST_NATS_CLI")
	if program == "" {
		p.t.Fatal("HYDRANT_TEST_NATS_CLI is not set: make compose-test sets it")
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...) // #nosec G204 -- the test's own arguments
	home := p.t.TempDir()
	command.Env = []string{"NATS_URL=nats://" + p.natsAddr, "HOME=" + home, "XDG_CONFIG_HOME=" + home}
	if out, err := command.CombinedOutput(); err != nil {
		p.t.Fatalf("nats %v: %v\n%s", args, err, out)
	}
}
