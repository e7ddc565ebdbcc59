package compose

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/checker"
)

// TestComposeUpgrade goes from one tag of the images to another and back, a service at a time and under load, by the commands of
// docs/upgrades.md. While a sink is replaced its destination refuses everything, so that each way it has to go on with what the one
// before tried in vain. What is behind the two tags is the same build, unless -compose.next names another: that versions with other formats
// get on with each other is tested in e2e/faults.
func TestComposeUpgrade(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	p := newProject(t, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s", "HYDRANT_S3_CREATE_BUCKETS=false")
	newer := p.nextTag()
	p.up()
	ways := p.upgradedWays()
	rng := rand.New(rand.NewPCG(*seed, 1))
	var loads []*load
	for _, w := range ways {
		loads = append(loads, p.produce(rng, w))
	}
	p.awaitMore("one")
	p.goTo(newer, upgraded())
	p.goTo(*version, reversed(upgraded()))

	p.allDelivered(loads...)
	for n, w := range ways {
		report := w.check(loads[n].ledger)
		p.verdict(report)
		if report.Ledger.Refused > 0 || report.Ledger.Unknown > 0 {
			t.Error("calls failed")
		}
	}
}

// nextTag is the tag of what is upgraded to.
func (p *project) nextTag() string {
	p.t.Helper()
	if *next != "" {
		return *next
	}
	for _, service := range upgraded() {
		p.docker(p.t.Context(), "tag", "hydrant-"+service+":"+*version, "hydrant-"+service+":"+*version+"-next")
	}
	return *version + "-next"
}

// upgradedWays are to each kind of destination, whose buckets nobody makes anew while they are away.
func (p *project) upgradedWays() []way {
	p.t.Helper()
	for _, bucket := range []string{bucket, staging, failed} {
		_, err := p.s3().CreateBucket(p.t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		p.must(err)
	}
	ways := []way{p.toLoggedS3("one"), p.toRedshift("rows")}
	if p.search != "" {
		ways = append(ways, p.toSearch("documents"))
	}
	return ways
}

// toLoggedS3 makes a delivery stream to S3 with an error log.
func (p *project) toLoggedS3(stream string) way {
	p.t.Helper()
	to := intoBucket(bucket, stream+"/")
	to.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)}
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &stream, ExtendedS3DestinationConfiguration: to})
	return way{streams: []string{stream}, check: func(ledger *checker.Ledger) *checker.Report { return p.checkObjects(ledger, bucket, "") }}
}

// goTo has every service run with another tag of the images.
func (p *project) goTo(tag string, services []string) {
	p.t.Helper()
	p.Env = append(p.Env, "HYDRANT_VERSION="+tag)
	refusals := p.refusals()
	for _, service := range services {
		if r, ok := refusals[service]; ok {
			p.rollRefused(service, tag, r)
		} else {
			p.roll(service, tag)
		}
		p.awaitMore("one")
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
