package e2e

// searching is the life of delivery streams to Elasticsearch and OpenSearch, without a record: no such server runs here.
func searching() []call {
	const (
		role   = `"RoleARN":"arn:aws:iam::000000000000:role/r"`
		s3     = `"S3Configuration":{` + role + `,"BucketARN":"arn:aws:s3:::bucket-NAME","Prefix":"failed/"}`
		update = `"DestinationId":"destinationId-000000000001","CurrentDeliveryStreamVersionId":`
	)
	return []call{{
		name: "create for Elasticsearch", operation: "CreateDeliveryStream",
		input: `{"DeliveryStreamName":"NAME.search","ElasticsearchDestinationConfiguration":{` + role + `,` + s3 + `,"ClusterEndpoint":"http://127.0.0.1:9200","IndexName":"logs","TypeName":"line",
			"IndexRotationPeriod":"OneWeek","BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":60},"RetryOptions":{"DurationInSeconds":0},"S3BackupMode":"AllDocuments"}}`,
		want: `{"DeliveryStreamARN":"arn:aws:firehose:us-east-1:000000000000:deliverystream/NAME.search"}`,
	}, {
		name: "describe Elasticsearch", operation: "DescribeDeliveryStream", input: `{"DeliveryStreamName":"NAME.search"}`,
		want: `{"DeliveryStreamDescription":{"VersionId":"1","DeliveryStreamStatus":"ACTIVE","Destinations":[{"ElasticsearchDestinationDescription":{` + role + `,
			"ClusterEndpoint":"http://127.0.0.1:9200","IndexName":"logs","TypeName":"line","IndexRotationPeriod":"OneWeek","BufferingHints":{"SizeInMBs":1,"IntervalInSeconds":60},
			"RetryOptions":{"DurationInSeconds":0},"S3BackupMode":"AllDocuments","CloudWatchLoggingOptions":{"Enabled":false},
			"S3DestinationDescription":{"BucketARN":"arn:aws:s3:::bucket-NAME","Prefix":"failed/","CompressionFormat":"UNCOMPRESSED","BufferingHints":{"SizeInMBs":5,"IntervalInSeconds":300}}}}]}}`,
	}, {
		name: "update Elasticsearch in the newer shape", operation: "UpdateDestination", want: `{}`,
		input: `{"DeliveryStreamName":"NAME.search",` + update + `"1","AmazonopensearchserviceDestinationUpdate":{"DomainARN":"arn:aws:es:us-east-1:000000000000:domain/logs",
			"DocumentIdOptions":{"DefaultDocumentIdFormat":"NO_DOCUMENT_ID"},"S3Update":{"Prefix":"other/"}}}`,
	}, {
		name: "describe OpenSearch", operation: "DescribeDeliveryStream", input: `{"DeliveryStreamName":"NAME.search"}`,
		want: `{"DeliveryStreamDescription":{"VersionId":"2","Destinations":[{"AmazonopensearchserviceDestinationDescription":{"DomainARN":"arn:aws:es:us-east-1:000000000000:domain/logs","IndexName":"logs",
			"DocumentIdOptions":{"DefaultDocumentIdFormat":"NO_DOCUMENT_ID"},"S3DestinationDescription":{"BucketARN":"arn:aws:s3:::bucket-NAME","Prefix":"other/"}}}]}}`,
	}, {
		name: "make S3 of it", operation: "UpdateDestination", code: "InvalidArgumentException",
		input:   `{"DeliveryStreamName":"NAME.search",` + update + `"2","ExtendedS3DestinationUpdate":{"Prefix":"x"}}`,
		message: "Changing the destination type to or from Amazonopensearchservice is not supported at this time.",
	}, {
		name: "make Elasticsearch of S3", operation: "UpdateDestination", code: "InvalidArgumentException",
		input:   `{"DeliveryStreamName":"NAME.old",` + update + `"1","ElasticsearchDestinationUpdate":{"IndexName":"x"}}`,
		message: "Changing the destination type to or from Elasticsearch is not supported at this time.",
	}, {
		name: "create with an index that no server has", operation: "CreateDeliveryStream", code: "InvalidArgumentException",
		input:   `{"DeliveryStreamName":"NAME.none","AmazonopensearchserviceDestinationConfiguration":{` + role + `,` + s3 + `,"ClusterEndpoint":"https://search.example.com","IndexName":"Logs"}}`,
		message: "AmazonopensearchserviceDestinationConfiguration.IndexName: no index can have such a name: it must be in lower case",
	}, {
		name: "create without a cluster", operation: "CreateDeliveryStream", code: "InvalidArgumentException",
		input:   `{"DeliveryStreamName":"NAME.none","AmazonopensearchserviceDestinationConfiguration":{` + role + `,` + s3 + `,"IndexName":"logs"}}`,
		message: "AmazonopensearchserviceDestinationConfiguration: give one of DomainARN and ClusterEndpoint",
	}, {
		name: "delete Elasticsearch", operation: "DeleteDeliveryStream", input: `{"DeliveryStreamName":"NAME.search"}`, want: `{}`,
	}}
}
