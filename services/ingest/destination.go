package ingest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
)

// onlyDestination is the id of a delivery stream's destination: there is one.
const onlyDestination = "destinationId-000000000001"

// destinationSettings are those of a destination as a request gives them.
type destinationSettings interface {
	// check returns an error for settings that are wrong together, or not built yet, as far as the request alone tells.
	check() error
	// destination is a new destination of these settings, with every default filled in.
	destination(created time.Time) (catalog.Destination, error)
	// applied returns old with the members that are set; old stays as it is. The error is for settings that are wrong
	// together with those that are kept, and for a destination of another type.
	applied(old catalog.Destination, now time.Time) (catalog.Destination, error)
}

var _, _, _ destinationSettings = (*s3Settings)(nil), (*searchSettings)(nil), (*redshiftSettings)(nil)

// settingsOfCreate returns nil where the request has no destination that is built.
func settingsOfCreate(in *firehose.CreateDeliveryStreamInput) destinationSettings {
	if s := searchOfCreate(in); s != nil {
		return s
	}
	if s := redshiftOfCreate(in); s != nil {
		return s
	}
	if s := s3OfCreate(in); s != nil {
		return s
	}
	return nil
}

func settingsOfUpdate(in *firehose.UpdateDestinationInput) destinationSettings {
	if s := searchOfUpdate(in); s != nil {
		return s
	}
	if s := redshiftOfUpdate(in); s != nil {
		return s
	}
	if s := s3OfUpdate(in); s != nil {
		return s
	}
	return nil
}

// anotherType refuses to make one type of destination of another, in the service's own words.
func anotherType(name string) error {
	return invalidArgument("Changing the destination type to or from %s is not supported at this time.", name)
}

// s3Settings is an S3 destination, or the backup of one, as a request gives it: one of several shapes, brought to the widest.
type s3Settings struct {
	types.ExtendedS3DestinationConfiguration
	shape  string      // the request's member that held it
	backup *s3Settings // instead of S3BackupConfiguration
}

// settingsOf returns nil where the request has no such member.
func settingsOf[From any](from *From, shape string, backup *s3Settings) *s3Settings {
	if from == nil {
		return nil
	}
	s := &s3Settings{*converted[types.ExtendedS3DestinationConfiguration](from), shape, backup}
	s.S3BackupConfiguration = nil
	s.tidy()
	return s
}

func s3OfCreate(in *firehose.CreateDeliveryStreamInput) *s3Settings {
	const shape = "ExtendedS3DestinationConfiguration"
	if s3 := in.ExtendedS3DestinationConfiguration; s3 != nil {
		return settingsOf(s3, shape, settingsOf(s3.S3BackupConfiguration, shape+".S3BackupConfiguration", nil))
	}
	//nolint:staticcheck // the shape of 2016 is deprecated: the SDK steers clients away from it, Hydrant serves those that use it
	return settingsOf(in.S3DestinationConfiguration, "S3DestinationConfiguration", nil)
}

func s3OfUpdate(in *firehose.UpdateDestinationInput) *s3Settings {
	const shape = "ExtendedS3DestinationUpdate"
	if s3 := in.ExtendedS3DestinationUpdate; s3 != nil {
		return settingsOf(s3, shape, settingsOf(s3.S3BackupUpdate, shape+".S3BackupUpdate", nil))
	}
	return settingsOf(in.S3DestinationUpdate, "S3DestinationUpdate", nil) //nolint:staticcheck // deprecated, as above
}

// tidy takes out members that say nothing, and fills in what others leave open.
func (s *s3Settings) tidy() {
	if e := s.EncryptionConfiguration; e != nil && e.KMSEncryptionConfig == nil && e.NoEncryptionConfig == "" {
		s.EncryptionConfiguration = nil
	}
	if hints := s.BufferingHints; hints != nil && hints.SizeInMBs == nil && hints.IntervalInSeconds == nil {
		s.BufferingHints = nil
	}
	s.CloudWatchLoggingOptions = tidyLogging(s.CloudWatchLoggingOptions)
	s.ProcessingConfiguration = tidyProcessing(s.ProcessingConfiguration)
	if c := s.DynamicPartitioningConfiguration; c != nil {
		s.DynamicPartitioningConfiguration = merged(&types.DynamicPartitioningConfiguration{Enabled: aws.Bool(false)}, c)
	}
}

func tidyLogging(c *types.CloudWatchLoggingOptions) *types.CloudWatchLoggingOptions {
	if c == nil {
		return nil
	}
	return merged(&types.CloudWatchLoggingOptions{Enabled: aws.Bool(false)}, c)
}

func tidyProcessing(c *types.ProcessingConfiguration) *types.ProcessingConfiguration {
	if c == nil || len(c.Processors) > 0 {
		return c
	}
	return merged(&types.ProcessingConfiguration{Enabled: aws.Bool(false)}, c)
}

// processes tells whether records are to be processed, which they are unless that is switched off.
func processes(c *types.ProcessingConfiguration) bool {
	return c != nil && (c.Enabled == nil || *c.Enabled)
}

// check is that of destinationSettings. What is switched off asks for nothing: it is kept and shown.
func (s *s3Settings) check() error {
	if hints := s.BufferingHints; hints != nil && (hints.SizeInMBs == nil) != (hints.IntervalInSeconds == nil) {
		return halfHint(s.shape)
	}
	if e := s.EncryptionConfiguration; e != nil && e.KMSEncryptionConfig != nil && e.NoEncryptionConfig != "" {
		return invalidArgument("%s.EncryptionConfiguration: give either NoEncryptionConfig or KMSEncryptionConfig", s.shape)
	}
	// Format conversion is on unless it is switched off; the others are off unless they are switched on.
	if c := s.DataFormatConversionConfiguration; c != nil && (c.Enabled == nil || *c.Enabled) {
		return notBuilt(s.shape + ": DataFormatConversionConfiguration")
	}
	if processes(s.ProcessingConfiguration) {
		return notBuilt(s.shape + ": ProcessingConfiguration")
	}
	if c := s.DynamicPartitioningConfiguration; c != nil && *c.Enabled {
		return notBuilt(s.shape + ": DynamicPartitioningConfiguration")
	}
	if s.backup != nil {
		return s.backup.check()
	}
	return nil
}

func halfHint(shape string) error {
	return invalidArgument("%s.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither", shape)
}

func (s *s3Settings) destination(created time.Time) (catalog.Destination, error) {
	defaults := defaultS3()
	defaults.S3BackupMode = types.S3BackupModeDisabled
	return s.applied(catalog.Destination{ID: onlyDestination, S3: defaults}, created)
}

// defaultS3 holds what the API fills in, for a destination and for its backup.
func defaultS3() *types.ExtendedS3DestinationDescription {
	return &types.ExtendedS3DestinationDescription{
		Prefix:                   aws.String(""),
		BufferingHints:           &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
		CompressionFormat:        types.CompressionFormatUncompressed,
		EncryptionConfiguration:  &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false)},
	}
}

func (s *s3Settings) applied(old catalog.Destination, now time.Time) (catalog.Destination, error) {
	switch {
	case old.Search != nil:
		return old, anotherType(string(old.Search.API))
	case old.Redshift != nil:
		return old, anotherType(redshiftName)
	}
	to := catalog.Destination{ID: old.ID, S3: s.mergedInto(old.S3), BackupSince: old.BackupSince}
	if err := checkNames(to.S3); err != nil {
		return to, err
	}
	return to, s.applyBackup(&to, old.S3.S3BackupMode == types.S3BackupModeEnabled, now)
}

func (s *s3Settings) mergedInto(old *types.ExtendedS3DestinationDescription) *types.ExtendedS3DestinationDescription {
	to := merged(old, &s.ExtendedS3DestinationConfiguration)
	for _, member := range []**string{&to.ErrorOutputPrefix, &to.FileExtension, &to.CustomTimeZone} {
		if *member != nil && **member == "" {
			*member = nil // unset: an empty one is not shown
		}
	}
	return to
}

// applyBackup changes the backup of a destination whose backup was on or not before.
func (s *s3Settings) applyBackup(to *catalog.Destination, was bool, now time.Time) error {
	change := backupChange{s.shape, s.backup, to.S3.S3BackupDescription, was, to.S3.S3BackupMode == types.S3BackupModeEnabled}
	if change.is && !change.was {
		to.BackupSince = now
	}
	var err error
	to.S3.S3BackupDescription, err = change.applied()
	return err
}

// backupChange is what a request makes of the backup of a destination. The API has no way to switch it off.
type backupChange struct {
	shape   string      // the request's member that held the destination
	given   *s3Settings // nil if the request has no settings of the backup
	before  *types.S3DestinationDescription
	was, is bool // on
}

// applied returns the backup's settings.
func (c backupChange) applied() (*types.S3DestinationDescription, error) {
	switch {
	case c.was && !c.is:
		return nil, invalidArgument("%s.S3BackupMode: a backup that is Enabled cannot be Disabled", c.shape)
	case !c.is && c.given != nil:
		return nil, invalidArgument("%s: a backup needs S3BackupMode Enabled", c.given.shape)
	case c.is && !c.was && c.given == nil:
		return nil, invalidArgument("%s.S3BackupMode: Enabled needs the settings of the backup", c.shape)
	case c.given == nil:
		return c.before, nil
	}
	before := defaultS3()
	if c.was {
		before = converted[types.ExtendedS3DestinationDescription](c.before)
	}
	backup := c.given.mergedInto(before)
	if backup.BucketARN == nil || backup.RoleARN == nil {
		return nil, invalidArgument("%s: a backup needs BucketARN and RoleARN", c.given.shape)
	}
	return converted[types.S3DestinationDescription](backup), checkNames(backup)
}

// describeDestination is a destination as DescribeDeliveryStream shows it: S3 in the form of both S3 shapes, whichever created it.
func describeDestination(d catalog.Destination) types.DestinationDescription {
	shown := types.DestinationDescription{DestinationId: aws.String(d.ID)}
	switch {
	case d.Redshift != nil:
		shown.RedshiftDestinationDescription = &d.Redshift.Description
	case d.Search == nil:
		shown.ExtendedS3DestinationDescription = d.S3
		shown.S3DestinationDescription = converted[types.S3DestinationDescription](d.S3)
	case d.Search.API == catalog.ElasticsearchAPI:
		shown.ElasticsearchDestinationDescription = converted[types.ElasticsearchDestinationDescription](&d.Search.Description)
	default:
		shown.AmazonopensearchserviceDestinationDescription = &d.Search.Description
	}
	return shown
}
