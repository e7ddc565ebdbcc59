package ingest

import (
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

const oneDestination = "Exactly one destination configuration is supported for a Firehose"

// member is a member of a request, and whether it is set.
type member struct {
	name string
	set  bool
}

func checkCreate(in *firehose.CreateDeliveryStreamInput) error {
	var v violations
	v.streamName(in.DeliveryStreamName)
	enum(&v, "deliveryStreamType", in.DeliveryStreamType, in.DeliveryStreamType.Values())
	s3 := settingsOfCreate(in)
	if s3 != nil {
		s3.validate(&v, true)
	}
	if err := v.err(); err != nil {
		return err
	}
	if err := checkSource(in); err != nil {
		return err
	}
	err := checkDestinations([]member{
		{"S3DestinationConfiguration", plainConfiguration(in) != nil},
		{"ExtendedS3DestinationConfiguration", in.ExtendedS3DestinationConfiguration != nil},
		{"AmazonOpenSearchServerlessDestinationConfiguration", in.AmazonOpenSearchServerlessDestinationConfiguration != nil},
		{"AmazonopensearchserviceDestinationConfiguration", in.AmazonopensearchserviceDestinationConfiguration != nil},
		{"ElasticsearchDestinationConfiguration", in.ElasticsearchDestinationConfiguration != nil},
		{"HttpEndpointDestinationConfiguration", in.HttpEndpointDestinationConfiguration != nil},
		{"IcebergDestinationConfiguration", in.IcebergDestinationConfiguration != nil},
		{"RedshiftDestinationConfiguration", in.RedshiftDestinationConfiguration != nil},
		{"SnowflakeDestinationConfiguration", in.SnowflakeDestinationConfiguration != nil},
		{"SplunkDestinationConfiguration", in.SplunkDestinationConfiguration != nil},
	}, s3 != nil)
	if err != nil {
		return err
	}
	return s3.refuse()
}

// checkSource refuses any source but direct puts, and what else belongs to the delivery stream as a whole.
func checkSource(in *firehose.CreateDeliveryStreamInput) error {
	direct := neutral(in.DeliveryStreamType, types.DeliveryStreamTypeDirectPut)
	if direct && in.KinesisStreamSourceConfiguration != nil {
		return invalidArgument("KinesisSourceStreamConfig is only applicable for KinesisStreamAsSource stream type")
	}
	if !direct {
		return notBuilt("DeliveryStreamType " + string(in.DeliveryStreamType))
	}
	for _, m := range []member{
		{"DatabaseSourceConfiguration", in.DatabaseSourceConfiguration != nil},
		{"DirectPutSourceConfiguration", in.DirectPutSourceConfiguration != nil},
		{"MSKSourceConfiguration", in.MSKSourceConfiguration != nil},
		{"DeliveryStreamEncryptionConfigurationInput", in.DeliveryStreamEncryptionConfigurationInput != nil},
		{"Tags", len(in.Tags) > 0},
	} {
		if m.set {
			return notBuilt(m.name)
		}
	}
	return nil
}

// checkDestinations wants one destination, and that one built.
func checkDestinations(all []member, built bool) error {
	given := 0
	name := ""
	for _, m := range all {
		if m.set {
			given++
			name = m.name
		}
	}
	if given != 1 {
		return invalidArgument(oneDestination)
	}
	if !built {
		return notBuilt(name)
	}
	return nil
}

func checkUpdate(in *firehose.UpdateDestinationInput) error {
	var v violations
	v.streamName(in.DeliveryStreamName)
	v.requiredText("currentDeliveryStreamVersionId", in.CurrentDeliveryStreamVersionId, 1, 50, numberPattern)
	v.requiredText("destinationId", in.DestinationId, 1, 100, destPattern)
	s3 := settingsOfUpdate(in)
	if s3 != nil {
		s3.validate(&v, false)
	}
	if err := v.err(); err != nil {
		return err
	}
	err := checkDestinations([]member{
		{"S3DestinationUpdate", plainUpdate(in) != nil},
		{"ExtendedS3DestinationUpdate", in.ExtendedS3DestinationUpdate != nil},
		{"AmazonOpenSearchServerlessDestinationUpdate", in.AmazonOpenSearchServerlessDestinationUpdate != nil},
		{"AmazonopensearchserviceDestinationUpdate", in.AmazonopensearchserviceDestinationUpdate != nil},
		{"ElasticsearchDestinationUpdate", in.ElasticsearchDestinationUpdate != nil},
		{"HttpEndpointDestinationUpdate", in.HttpEndpointDestinationUpdate != nil},
		{"IcebergDestinationUpdate", in.IcebergDestinationUpdate != nil},
		{"RedshiftDestinationUpdate", in.RedshiftDestinationUpdate != nil},
		{"SnowflakeDestinationUpdate", in.SnowflakeDestinationUpdate != nil},
		{"SplunkDestinationUpdate", in.SplunkDestinationUpdate != nil},
	}, s3 != nil)
	if err != nil {
		return err
	}
	return s3.refuse()
}
