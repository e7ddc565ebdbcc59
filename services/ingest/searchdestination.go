package ingest

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
)

// searchSettings is an Elasticsearch or OpenSearch destination as a request gives it: one of the API's two shapes, which have
// the same members, brought to the newer.
type searchSettings struct {
	types.AmazonopensearchserviceDestinationConfiguration
	api   catalog.SearchAPI
	shape string      // the request's member that held it
	s3    *s3Settings // instead of S3Configuration
}

func searchOfCreate(in *firehose.CreateDeliveryStreamInput) *searchSettings {
	const kind, s3 = "DestinationConfiguration", "S3Configuration"
	switch es, opensearch := in.ElasticsearchDestinationConfiguration, in.AmazonopensearchserviceDestinationConfiguration; {
	case es != nil:
		return searchOf(es, catalog.ElasticsearchAPI, kind, es.S3Configuration, s3)
	case opensearch != nil:
		return searchOf(opensearch, catalog.OpenSearchAPI, kind, opensearch.S3Configuration, s3)
	}
	return nil
}

func searchOfUpdate(in *firehose.UpdateDestinationInput) *searchSettings {
	const kind, s3 = "DestinationUpdate", "S3Update"
	switch es, opensearch := in.ElasticsearchDestinationUpdate, in.AmazonopensearchserviceDestinationUpdate; {
	case es != nil:
		return searchOf(es, catalog.ElasticsearchAPI, kind, es.S3Update, s3)
	case opensearch != nil:
		return searchOf(opensearch, catalog.OpenSearchAPI, kind, opensearch.S3Update, s3)
	}
	return nil
}

func searchOf[From, S3 any](from *From, api catalog.SearchAPI, kind string, s3 *S3, s3Member string) *searchSettings {
	shape := string(api) + kind
	s := &searchSettings{
		*converted[types.AmazonopensearchserviceDestinationConfiguration](from), api, shape,
		settingsOf(s3, shape+"."+s3Member, nil),
	}
	s.S3Configuration = nil
	s.tidy()
	return s
}

// tidy takes out members that say nothing, and fills in what others leave open.
func (s *searchSettings) tidy() {
	if hints := s.BufferingHints; hints != nil && hints.SizeInMBs == nil && hints.IntervalInSeconds == nil {
		s.BufferingHints = nil
	}
	if retry := s.RetryOptions; retry != nil && retry.DurationInSeconds == nil {
		s.RetryOptions = nil
	}
	s.CloudWatchLoggingOptions = tidyLogging(s.CloudWatchLoggingOptions)
	s.ProcessingConfiguration = tidyProcessing(s.ProcessingConfiguration)
}

func (s *searchSettings) check() error {
	hints := s.BufferingHints
	switch {
	case hints != nil && (hints.SizeInMBs == nil) != (hints.IntervalInSeconds == nil):
		return halfHint(s.shape)
	case s.DomainARN != nil && s.ClusterEndpoint != nil:
		return invalidArgument("%s: give either DomainARN or ClusterEndpoint", s.shape)
	case s.VpcConfiguration != nil:
		return notBuilt(s.shape + ": VpcConfiguration")
	case processes(s.ProcessingConfiguration):
		return notBuilt(s.shape + ": ProcessingConfiguration")
	case s.s3 != nil:
		return s.s3.check()
	}
	return nil
}

func (s *searchSettings) destination(created time.Time) (catalog.Destination, error) {
	defaults := &catalog.SearchDestination{API: s.api, Description: defaultSearch()}
	return s.applied(catalog.Destination{ID: onlyDestination, Search: defaults}, created)
}

// defaultSearch holds what the API fills in.
func defaultSearch() types.AmazonopensearchserviceDestinationDescription {
	return types.AmazonopensearchserviceDestinationDescription{
		BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false)},
		DocumentIdOptions:        &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatFirehoseDefault},
		IndexRotationPeriod:      types.AmazonopensearchserviceIndexRotationPeriodOneDay,
		RetryOptions:             &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(300)},
		S3BackupMode:             types.AmazonopensearchserviceS3BackupModeFailedDocumentsOnly,
		S3DestinationDescription: converted[types.S3DestinationDescription](defaultS3()),
	}
}

// applied is that of destinationSettings. Either of the two shapes changes what either has made, and Describe answers in the last one.
func (s *searchSettings) applied(old catalog.Destination, _ time.Time) (catalog.Destination, error) {
	if old.Search == nil {
		return old, anotherType(string(s.api))
	}
	to := s.mergedInto(&old.Search.Description)
	err := s.checkWhole(to)
	return catalog.Destination{ID: old.ID, Search: &catalog.SearchDestination{API: s.api, Description: *to}}, err
}

func (s *searchSettings) mergedInto(old *types.AmazonopensearchserviceDestinationDescription) *types.AmazonopensearchserviceDestinationDescription {
	to := merged(old, &s.AmazonopensearchserviceDestinationConfiguration)
	switch {
	case s.DomainARN != nil:
		to.ClusterEndpoint = nil // one takes the place of the other
	case s.ClusterEndpoint != nil:
		to.DomainARN = nil
	}
	if aws.ToString(to.TypeName) == "" {
		to.TypeName = nil // unset: an empty one is not shown
	}
	if s.s3 != nil {
		s3 := s.s3.mergedInto(converted[types.ExtendedS3DestinationDescription](old.S3DestinationDescription))
		to.S3DestinationDescription = converted[types.S3DestinationDescription](s3)
	}
	return to
}

// checkWhole returns an error for a destination that cannot be delivered to, whatever is there.
func (s *searchSettings) checkWhole(to *types.AmazonopensearchserviceDestinationDescription) error {
	if to.DomainARN == nil && to.ClusterEndpoint == nil {
		return invalidArgument("%s: give one of DomainARN and ClusterEndpoint", s.shape)
	}
	if to.ClusterEndpoint != nil && !isEndpoint(*to.ClusterEndpoint) {
		return invalidArgument("%s.ClusterEndpoint: give an address that begins with https:// or http://, such as https://search.example.com:9200, without a user, a query or a fragment", s.shape)
	}
	if problem := indexProblem(aws.ToString(to.IndexName), to.IndexRotationPeriod); problem != "" {
		return invalidArgument("%s.IndexName: no index can have such a name: %s", s.shape, problem)
	}
	if problem := typeProblem(aws.ToString(to.TypeName)); problem != "" {
		return invalidArgument("%s.TypeName: no type can have such a name: %s", s.shape, problem)
	}
	return checkNames(converted[types.ExtendedS3DestinationDescription](to.S3DestinationDescription))
}

// isEndpoint tells whether requests can be sent to an address as it is. One with a user may have a password in it, which
// Describe would show to everybody.
func isEndpoint(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(address, "?#") {
		return false
	}
	if u.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}
