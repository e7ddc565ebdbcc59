// Package compose tests Hydrant as compose.yaml starts it: with the images that Dockerfile makes, a proxy in front, and replicas
// that come, go and are killed under load. It needs a container engine, so it is not a part of make test: make compose-test.
package compose

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/producer"
)

var (
	run      = flag.Bool("compose.run", false, "start the installation; without, only its files are looked at")
	duration = flag.Duration("compose.duration", 20*time.Second, "how long to kill and scale at random, after each was done once")
	version  = flag.String("compose.version", "local", "tag of Hydrant's images, which must be there")
	next     = flag.String("compose.next", "", "tag of the images that are upgraded to and back from; if empty, the same images under another tag")
	seed     = flag.Uint64("compose.seed", 1, "seed of what is done at random")
	steps    = flag.String("compose.steps", "", "do those steps alone whose names match this, such as 'of several'")
	search   = flag.Bool("compose.search", true, "deliver to Elasticsearch too, and to OpenSearch")
)

const (
	bucket  = "compose"
	ackWait = 5 * time.Second
)

func TestCompose(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	p := newProject(t, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s")
	began := time.Now()
	p.up()
	t.Logf("everything is healthy after %s", time.Since(began).Round(time.Second))
	for _, service := range []string{"ingest", "buffer", "s3sink", "es", "redshift"} {
		p.looksInto(service)
	}
	p.firstObject()
	p.firstRow()
	ways := []way{p.toS3("one", "two"), p.toRedshift("rows")}
	if p.search != "" {
		ways = append(ways, p.toSearch("documents"))
	}

	t.Logf("seed %d: repeat with make compose-test DURATION=%s SEED=%d", *seed, *duration, *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	var loads []*load
	for _, w := range ways {
		loads = append(loads, p.produce(rng, w))
	}
	p.drive(rng, p.chosen(), *duration)
	p.allDelivered(loads...)
	for n, w := range ways {
		p.verdict(w.check(loads[n].ledger))
	}
	p.logTakeovers()
}

// way is where some delivery streams go, and how what is there is compared with what their producers know.
type way struct {
	streams   []string
	documents bool
	largest   int // bytes of a record; the API's limit if 0
	check     func(*checker.Ledger) *checker.Report
}

// toS3 makes delivery streams to S3.
func (p *project) toS3(streams ...string) way {
	p.t.Helper()
	for _, stream := range streams {
		p.create(stream, bucket, stream+"/")
	}
	return way{streams: streams, check: func(ledger *checker.Ledger) *checker.Report { return p.checkObjects(ledger, bucket, "") }}
}

// firstObject is what a new user does.
func (p *project) firstObject() {
	p.t.Helper()
	p.create("first", "first", "")
	const data = "hello\n"
	_, err := p.firehose().PutRecord(p.t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: aws.String("first"), Record: &types.Record{Data: []byte(data)},
	})
	p.must(err)
	p.eventually("there is an object", time.Minute, func() bool { return bytes.Equal(p.content("first"), []byte(data)) })
}

func (p *project) create(stream, bucket, prefix string) {
	p.t.Helper()
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &stream, ExtendedS3DestinationConfiguration: intoBucket(bucket, prefix)})
}

func (p *project) createStream(in *firehose.CreateDeliveryStreamInput) {
	p.t.Helper()
	_, err := p.firehose().CreateDeliveryStream(p.t.Context(), in)
	p.must(err)
}

func intoBucket(bucket, prefix string) *types.ExtendedS3DestinationConfiguration {
	return &types.ExtendedS3DestinationConfiguration{
		RoleARN: aws.String("arn:aws:iam::000000000000:role/local"), BucketARN: aws.String("arn:aws:s3:::" + bucket), Prefix: &prefix,
		BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
	}
}

// content is what the objects of a bucket hold, one after the other.
func (p *project) content(bucket string) []byte {
	p.t.Helper()
	list, err := p.s3().ListObjectsV2(p.t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		return nil // the bucket is made with the first object
	}
	var all []byte
	for _, object := range list.Contents {
		got, err := p.s3().GetObject(p.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: object.Key})
		p.must(err)
		body, err := io.ReadAll(got.Body)
		p.must(err)
		p.must(got.Body.Close())
		all = append(all, body...)
	}
	return all
}

func (p *project) api() string { return "http://" + p.apiAddr }

func (p *project) firehose() *firehose.Client { return producer.NewClient(p.api(), nil) }

func (p *project) s3() *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://" + p.s3Addr), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("local", "localsecret", ""),
	})
}

func (p *project) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) eventually(what string, within time.Duration, yes func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for !yes() {
		select {
		case <-deadline.C:
			p.t.Fatalf("did not happen within %s: %s", within, what)
		case <-ticker.C:
		}
	}
}
