package compose

import (
	"iter"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/esnode"
	"hydrant/shared/record"
)

// toSearch makes an index and a delivery stream into it, both of one name.
func (p *project) toSearch(name string) way {
	p.t.Helper()
	p.must(p.searchNode().CreateIndex(p.t.Context(), name, map[string]any{
		"settings": map[string]any{"index.number_of_replicas": 0}, "mappings": checker.Mapping(),
	}))
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, AmazonopensearchserviceDestinationConfiguration: intoIndex(name)})
	return way{streams: []string{name}, documents: true, check: func(ledger *checker.Ledger) *checker.Report { return p.checkDocuments(ledger, name) }}
}

const failed = "failed"

// intoIndex has the address as compose.yaml's comment gives it to users.
func intoIndex(name string) *types.AmazonopensearchserviceDestinationConfiguration {
	role := aws.String("arn:aws:iam::000000000000:role/local")
	return &types.AmazonopensearchserviceDestinationConfiguration{
		RoleARN: role, ClusterEndpoint: aws.String("http://elasticsearch:9200"), IndexName: &name,
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
