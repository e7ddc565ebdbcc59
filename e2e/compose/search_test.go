package compose

import (
	"iter"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/record"
)

// TestComposeSearch has a user who wants documents choose between the two profiles, deliver a first one, and then many while replicas of
// the sink and the node itself are killed, and the node's container is replaced. Each profile is a test of its own, after the other:
// TestComposeSearch/opensearch is one.
func TestComposeSearch(t *testing.T) {
	if !*run || !*search {
		t.Skip("it needs a container engine, and images of Elasticsearch and OpenSearch: make compose-test")
	}
	for _, node := range []string{"elasticsearch", "opensearch"} {
		t.Run(node, func(t *testing.T) {
			p := newProjectOf(t, node, node, "HYDRANT_ACK_WAIT="+ackWait.String(), "HYDRANT_RETRY_MAX=2s")
			p.up()
			p.firstDocument()
			rng := rand.New(rand.NewPCG(*seed, 2))
			documents := p.toSearch("documents")
			l := p.produce(rng, documents)
			p.drive(rng, p.searchSteps(), 0)
			p.allDelivered(l)
			p.verdict(documents.check(l.ledger))
			if !p.hasFirstDocument() {
				t.Errorf("%s lost the first document", node)
			}
			p.logTakeovers()
		})
	}
}

// firstDocument is what a new user of the profile does: the index is made by the node.
func (p *project) firstDocument() {
	p.t.Helper()
	p.createStream(&firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("people"), AmazonopensearchserviceDestinationConfiguration: p.intoIndex("people"),
	})
	_, err := p.firehose().PutRecord(p.t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: aws.String("people"), Record: &types.Record{Data: []byte(`{"name": "Ada", "born": 1815}`)},
	})
	p.must(err)
	p.eventually("there is a document", time.Minute, p.hasFirstDocument)
	p.t.Logf("%s has a document", p.info())
}

// hasFirstDocument finds none in an index that is not made yet, or not any more.
func (p *project) hasFirstDocument() bool {
	for found, err := range p.documents("people") {
		return err == nil && string(found.Source) == `{"name": "Ada", "born": 1815}`
	}
	return false
}

// info is what the node says that it is, which has to be what the profile says.
func (p *project) info() string {
	p.t.Helper()
	info, err := p.searchNode().Info(p.t.Context())
	p.must(err)
	if isOpenSearch := info.Version.Distribution == "opensearch"; isOpenSearch != (p.search == "opensearch") {
		p.t.Errorf("the profile %s has %+v", p.search, info)
	}
	return p.search + " " + info.Version.Number
}

// toSearch makes an index and a delivery stream into it, both of one name.
func (p *project) toSearch(name string) way {
	p.t.Helper()
	p.must(p.searchNode().CreateIndex(p.t.Context(), name, map[string]any{
		"settings": map[string]any{"index.number_of_replicas": 0}, "mappings": checker.Mapping(),
	}))
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, AmazonopensearchserviceDestinationConfiguration: p.intoIndex(name)})
	return way{streams: []string{name}, documents: true, check: func(ledger *checker.Ledger) *checker.Report { return p.checkDocuments(ledger, name) }}
}

const failed = "failed"

// intoIndex has the address as compose.yaml's comment gives it to users.
func (p *project) intoIndex(name string) *types.AmazonopensearchserviceDestinationConfiguration {
	role := aws.String("arn:aws:iam::000000000000:role/local")
	return &types.AmazonopensearchserviceDestinationConfiguration{
		RoleARN: role, ClusterEndpoint: aws.String("http://" + p.search + ":9200"), IndexName: &name,
		IndexRotationPeriod: types.AmazonopensearchserviceIndexRotationPeriodNoRotation,
		BufferingHints:      &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
		RetryOptions:        &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(3600)},
		S3Configuration:     &types.S3DestinationConfiguration{RoleARN: role, BucketARN: aws.String("arn:aws:s3:::" + failed)},
	}
}

// checkDocuments counts every record that is in an index. Nothing may be set aside: the retry duration is an hour.
func (p *project) checkDocuments(ledger *checker.Ledger, index string) *checker.Report {
	p.t.Helper()
	report, err := checker.CheckDocuments(p.t.Context(), ledger, p.documents(index), p.objects(failed, ""), checker.DocumentOptions{
		Streams: map[string]checker.Search{index: {Index: index, Rotation: checker.NoRotation}},
		Arrived: func(id string) (time.Time, error) { // the one index has no time in its name
			_, err := record.ParseID(id)
			return time.Time{}, err
		},
	})
	p.must(err)
	return report
}

func (p *project) documents(index string) iter.Seq2[checker.Found, error] {
	return func(yield func(checker.Found, error) bool) {
		for d, err := range p.searchNode().Documents(p.t.Context(), index) {
			if !yield(checker.Found{Index: d.Index, ID: d.ID, Version: d.Version, Source: d.Source}, err) {
				return
			}
		}
	}
}

func (p *project) searchNode() *esnode.Client {
	return &esnode.Client{URL: "http://" + p.searchAddr, HTTP: &http.Client{Timeout: time.Minute}}
}
