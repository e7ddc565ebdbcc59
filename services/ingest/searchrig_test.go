package ingest

import (
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// opensearch is the least that a search destination needs.
func opensearch() *types.AmazonopensearchserviceDestinationConfiguration {
	return &types.AmazonopensearchserviceDestinationConfiguration{
		RoleARN:         aws.String("arn:aws:iam::000000000000:role/r"),
		ClusterEndpoint: aws.String("https://search.example.com:9200"),
		IndexName:       aws.String("logs"),
		S3Configuration: &types.S3DestinationConfiguration{BucketARN: plainS3().BucketARN, RoleARN: plainS3().RoleARN},
	}
}

func (r *replica) createSearch(name string, to *types.AmazonopensearchserviceDestinationConfiguration) {
	r.t.Helper()
	_, err := r.client.CreateDeliveryStream(r.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name, AmazonopensearchserviceDestinationConfiguration: to,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

const (
	elasticsearchShape = "ElasticsearchDestinationConfiguration"
	opensearchShape    = "AmazonopensearchserviceDestinationConfiguration"
	someEndpoint       = `"ClusterEndpoint":"https://search.example.com:9200"`
	someIndex          = `"IndexName":"logs"`
	someS3             = `"S3Configuration":{` + someBucket + `,` + someRole + `}`
)

// createSearchWith is a request for a search destination of some members, beside those that every one has.
func createSearchWith(shape, members string) string {
	return `{"DeliveryStreamName":"s","` + shape + `":{` + someRole + `,` + someS3 + `,` + members + `}}`
}

func (r *replica) updateSearch(name, version string, to *types.AmazonopensearchserviceDestinationUpdate) error {
	_, err := r.client.UpdateDestination(r.t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: &version,
		DestinationId: aws.String(onlyDestination), AmazonopensearchserviceDestinationUpdate: to,
	})
	return err
}

func (r *replica) updateElasticsearch(name, version string, to *types.ElasticsearchDestinationUpdate) error {
	_, err := r.client.UpdateDestination(r.t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: &version,
		DestinationId: aws.String(onlyDestination), ElasticsearchDestinationUpdate: to,
	})
	return err
}

// shown is a delivery stream's destination on the wire.
func (r *replica) shown(name string) string {
	r.t.Helper()
	var answer struct {
		DeliveryStreamDescription struct{ Destinations []json.RawMessage }
	}
	body := r.raw("DescribeDeliveryStream", `{"DeliveryStreamName":"`+name+`"}`).Body
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.DeliveryStreamDescription.Destinations) != 1 {
		r.t.Fatal(body)
	}
	return string(answer.DeliveryStreamDescription.Destinations[0])
}
