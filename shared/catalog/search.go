package catalog

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/names"
)

// SearchAPI is one of the two shapes in which the API has the destination Elasticsearch or OpenSearch.
type SearchAPI string

// The shapes there are. They have the same members, and mean the same destination.
const (
	ElasticsearchAPI SearchAPI = "Elasticsearch"
	OpenSearchAPI    SearchAPI = "Amazonopensearchservice"
)

// SearchDestination is the destination Elasticsearch or OpenSearch.
//
// Description has every default filled in: BufferingHints, IndexRotationPeriod, RetryOptions, S3BackupMode,
// DocumentIdOptions, CloudWatchLoggingOptions and S3DestinationDescription are there. One of DomainARN and ClusterEndpoint is.
type SearchDestination struct {
	API         SearchAPI                                           `json:"api"`         // the shape that the owner used last
	Description types.AmazonopensearchserviceDestinationDescription `json:"description"` // in the newer shape, whatever API says
}

// s3Of returns where the backup leg writes objects to: every record, unless only what fails is to be kept.
func (s *SearchDestination) s3Of(leg names.Leg) *types.ExtendedS3DestinationDescription {
	all := s.Description.S3BackupMode == types.AmazonopensearchserviceS3BackupModeAllDocuments
	if leg != names.LegBackup || !all {
		return nil
	}
	return widened(s.Description.S3DestinationDescription)
}

// legs returns the legs there are from the delivery stream's creation on: the backup mode of this destination never changes.
func (s *SearchDestination) legs(created time.Time) []LegHints {
	legs := []LegHints{hints(names.LegES, created, types.BufferingHints{
		SizeInMBs: s.Description.BufferingHints.SizeInMBs, IntervalInSeconds: s.Description.BufferingHints.IntervalInSeconds,
	})}
	if s3 := s.s3Of(names.LegBackup); s3 != nil {
		legs = append(legs, hints(names.LegBackup, created, *s3.BufferingHints))
	}
	return legs
}
