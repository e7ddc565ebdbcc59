package ingest

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// redshiftPassword is to be found nowhere but in the catalog.
const redshiftPassword = "SECRET-Pa55word"

// redshift is the least that a Redshift destination needs.
func redshift() *types.RedshiftDestinationConfiguration {
	return &types.RedshiftDestinationConfiguration{
		RoleARN:         aws.String("arn:aws:iam::000000000000:role/r"),
		ClusterJDBCURL:  aws.String("jdbc:redshift://cluster.example.com:5439/dev"),
		CopyCommand:     &types.CopyCommand{DataTableName: aws.String("clicks")},
		Username:        aws.String("loader"),
		Password:        aws.String(redshiftPassword),
		S3Configuration: &types.S3DestinationConfiguration{BucketARN: plainS3().BucketARN, RoleARN: plainS3().RoleARN},
	}
}

func (r *replica) createRedshift(name string, to *types.RedshiftDestinationConfiguration) {
	r.t.Helper()
	_, err := r.client.CreateDeliveryStream(r.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name, RedshiftDestinationConfiguration: to,
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *replica) updateRedshift(name, version string, to *types.RedshiftDestinationUpdate) error {
	_, err := r.client.UpdateDestination(r.t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: &version,
		DestinationId: aws.String(onlyDestination), RedshiftDestinationUpdate: to,
	})
	return err
}

const (
	redshiftShape = "RedshiftDestinationConfiguration"
	someCluster   = `"ClusterJDBCURL":"jdbc:redshift://cluster.example.com:5439/dev"`
	someCopy      = `"CopyCommand":{"DataTableName":"clicks"}`
	someUser      = `"Username":"loader"`
	somePassword  = `"Password":"` + redshiftPassword + `"`
	someRedshift  = someRole + `,` + someCluster + `,` + someCopy + `,` + someUser + `,` + somePassword + `,` + someS3
)

// createRedshiftWith is a request for a Redshift destination of some members, which win over those that every one has.
func createRedshiftWith(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"DeliveryStreamName":"s","` + redshiftShape + `":{` + someRedshift + members + `}}`
}
