package compose

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestComposeUpgrade goes from one tag of the images to another and back, a service at a time and under load, by the commands of
// docs/upgrades.md. What is behind the two tags is the same build: that versions with other formats get on with each other is
// tested in e2e/faults.
func TestComposeUpgrade(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	p := newProject(t, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s", "COMPOSE_PROFILES=")
	for _, service := range upgraded() {
		p.docker(t.Context(), "tag", "hydrant-"+service+":"+*version, "hydrant-"+service+":"+*version+"-next")
	}
	p.up()
	one := p.toS3("one")
	load := p.produce(rand.New(rand.NewPCG(*seed, 1)), one)
	p.awaitMore("one")

	p.Env = append(p.Env, "HYDRANT_VERSION="+*version+"-next")
	for _, service := range upgraded() {
		p.roll(service, *version+"-next")
		p.awaitMore("one")
	}
	p.Env = append(p.Env, "HYDRANT_VERSION="+*version)
	for _, service := range reversed(upgraded()) {
		p.roll(service, *version)
		p.awaitMore("one")
	}

	p.allDelivered(load)
	report := one.check(load.ledger)
	p.verdict(report)
	if report.Ledger.Refused > 0 || report.Ledger.Unknown > 0 {
		t.Error("calls failed")
	}
}

// upgraded are the services in the order of an upgrade: readers before writers.
func upgraded() []string { return []string{"redshift", "es", "s3sink", "buffer", "ingest"} }

func reversed(services []string) (back []string) {
	for _, service := range services {
		back = append([]string{service}, back...)
	}
	return back
}

// roll has the service run with the present tag, the ingest with a replica beside the one that is replaced.
func (p *project) roll(service, tag string) {
	p.t.Helper()
	began := time.Now()
	if service == "ingest" {
		p.compose(p.t.Context(), "up", "--detach", "--no-deps", "--no-build", "--wait", "--no-recreate", "--scale", "ingest=2", "ingest")
		p.t.Logf("beside each other run %v", p.images("ingest"))
	}
	p.compose(p.t.Context(), "up", "--detach", "--no-deps", "--no-build", "--wait", service)
	p.t.Logf("%s replaced in %s", service, time.Since(began).Round(time.Second))
	if images := p.images(service); len(images) != 1 || !strings.HasSuffix(images[0], ":"+tag) {
		p.t.Errorf("%s runs as %v, not %s", service, images, tag)
	}
}

// images are those of a service's running containers.
func (p *project) images(service string) (images []string) {
	p.t.Helper()
	for _, container := range p.containers(service) {
		images = append(images, strings.TrimSpace(p.docker(p.t.Context(), "inspect", "--format", "{{.Config.Image}}", container)))
	}
	return images
}

// awaitMore waits until more of the delivery stream is delivered.
func (p *project) awaitMore(stream string) {
	p.t.Helper()
	before := len(p.objects(bucket, stream+"/"))
	p.eventually("deliveries go on", time.Minute, func() bool { return len(p.objects(bucket, stream+"/")) > before })
}
