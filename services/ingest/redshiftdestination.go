package ingest

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/jdbcurl"
)

const redshiftName = "Redshift"

// redshiftSettings is a Redshift destination as a request gives it.
type redshiftSettings struct {
	types.RedshiftDestinationConfiguration
	shape  string      // the request's member that held it
	s3     *s3Settings // the staging, instead of S3Configuration
	backup *s3Settings // instead of S3BackupConfiguration
}

func redshiftOfCreate(in *firehose.CreateDeliveryStreamInput) *redshiftSettings {
	const shape = redshiftName + "DestinationConfiguration"
	to := in.RedshiftDestinationConfiguration
	if to == nil {
		return nil
	}
	return redshiftOf(to, shape, settingsOf(to.S3Configuration, shape+".S3Configuration", nil),
		settingsOf(to.S3BackupConfiguration, shape+".S3BackupConfiguration", nil))
}

func redshiftOfUpdate(in *firehose.UpdateDestinationInput) *redshiftSettings {
	const shape = redshiftName + "DestinationUpdate"
	to := in.RedshiftDestinationUpdate
	if to == nil {
		return nil
	}
	return redshiftOf(to, shape, settingsOf(to.S3Update, shape+".S3Update", nil),
		settingsOf(to.S3BackupUpdate, shape+".S3BackupUpdate", nil))
}

func redshiftOf[From any](from *From, shape string, s3, backup *s3Settings) *redshiftSettings {
	s := &redshiftSettings{*converted[types.RedshiftDestinationConfiguration](from), shape, s3, backup}
	s.S3Configuration, s.S3BackupConfiguration = nil, nil
	s.tidy()
	return s
}

// tidy takes out members that say nothing, and fills in what others leave open.
func (s *redshiftSettings) tidy() {
	if retry := s.RetryOptions; retry != nil && retry.DurationInSeconds == nil {
		s.RetryOptions = nil
	}
	if c := s.CopyCommand; c != nil {
		copied := *c
		for _, member := range []**string{&copied.DataTableColumns, &copied.CopyOptions} {
			if aws.ToString(*member) == "" {
				*member = nil // an empty one is not shown
			}
		}
		s.CopyCommand = &copied
	}
	s.CloudWatchLoggingOptions = tidyLogging(s.CloudWatchLoggingOptions)
	s.ProcessingConfiguration = tidyProcessing(s.ProcessingConfiguration)
}

func (s *redshiftSettings) check() error {
	if processes(s.ProcessingConfiguration) {
		return notBuilt(s.shape + ": ProcessingConfiguration")
	}
	if c := s.SecretsManagerConfiguration; c != nil && (c.Enabled == nil || *c.Enabled) {
		return invalidArgument("%s: give Username and Password: SecretsManagerConfiguration is not built yet", s.shape)
	}
	for _, s3 := range []*s3Settings{s.s3, s.backup} {
		if s3 == nil {
			continue
		}
		if err := s3.check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *redshiftSettings) destination(created time.Time) (catalog.Destination, error) {
	defaults := &catalog.RedshiftDestination{Description: defaultRedshift()}
	return s.applied(catalog.Destination{ID: onlyDestination, Redshift: defaults}, created)
}

// defaultRedshift holds what the API fills in.
func defaultRedshift() types.RedshiftDestinationDescription {
	return types.RedshiftDestinationDescription{
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false)},
		RetryOptions:             &types.RedshiftRetryOptions{DurationInSeconds: aws.Int32(3600)},
		S3BackupMode:             types.RedshiftS3BackupModeDisabled,
		S3DestinationDescription: converted[types.S3DestinationDescription](defaultS3()),
	}
}

// applied is that of destinationSettings.
func (s *redshiftSettings) applied(old catalog.Destination, now time.Time) (catalog.Destination, error) {
	if old.Redshift == nil {
		return old, anotherType(redshiftName)
	}
	from := &old.Redshift.Description
	redshift := &catalog.RedshiftDestination{Description: *s.mergedInto(from), Password: old.Redshift.Password}
	if s.Password != nil {
		redshift.Password = catalog.NewPassword(*s.Password)
	}
	to := catalog.Destination{ID: old.ID, Redshift: redshift, BackupSince: old.BackupSince}
	if err := s.checkWhole(redshift); err != nil {
		return to, err
	}
	change := backupChange{
		shape: s.shape, given: s.backup, before: from.S3BackupDescription,
		was: from.S3BackupMode == types.RedshiftS3BackupModeEnabled,
		is:  redshift.Description.S3BackupMode == types.RedshiftS3BackupModeEnabled,
	}
	if change.is && !change.was {
		to.BackupSince = now
	}
	var err error
	redshift.Description.S3BackupDescription, err = change.applied()
	return to, err
}

func (s *redshiftSettings) mergedInto(old *types.RedshiftDestinationDescription) *types.RedshiftDestinationDescription {
	to := merged(old, &s.RedshiftDestinationConfiguration)
	if s.s3 != nil {
		s3 := s.s3.mergedInto(converted[types.ExtendedS3DestinationDescription](old.S3DestinationDescription))
		to.S3DestinationDescription = converted[types.S3DestinationDescription](s3)
	}
	return to
}

// checkWhole returns an error for a destination that nothing can be loaded into, whatever is there. No error repeats a value:
// somebody may have put the password into the wrong member.
func (s *redshiftSettings) checkWhole(to *catalog.RedshiftDestination) error {
	if to.Description.Username == nil || to.Password.Plain() == "" {
		return invalidArgument("%s: give Username and Password", s.shape)
	}
	if strings.ContainsRune(*to.Description.Username+to.Password.Plain(), 0) {
		return invalidArgument("%s: neither Username nor Password can have a character of code 0", s.shape)
	}
	if _, err := jdbcurl.Parse(aws.ToString(to.Description.ClusterJDBCURL)); err != nil {
		return invalidArgument("%s.ClusterJDBCURL: %v", s.shape, err)
	}
	if err := s.checkCopy(to.Description.CopyCommand); err != nil {
		return err
	}
	return s.checkStaging(to.Description.S3DestinationDescription)
}

// checkCopy refuses texts that do not stay in the place in the statement that they are meant for.
func (s *redshiftSettings) checkCopy(c *types.CopyCommand) error {
	for _, part := range []struct {
		name string
		text *string
	}{
		{"DataTableName", c.DataTableName}, {"DataTableColumns", c.DataTableColumns}, {"CopyOptions", c.CopyOptions},
	} {
		if problem := statementProblem(aws.ToString(part.text)); problem != "" {
			return invalidArgument("%s.CopyCommand.%s: %s", s.shape, part.name, problem)
		}
	}
	return nil
}

func (s *redshiftSettings) checkStaging(s3 *types.S3DestinationDescription) error {
	switch s3.CompressionFormat {
	case types.CompressionFormatUncompressed, types.CompressionFormatGzip:
	default:
		return invalidArgument("%s: Redshift loads no objects of that CompressionFormat: give UNCOMPRESSED or GZIP", s.shape)
	}
	if strings.Contains(aws.ToString(s3.Prefix)+aws.ToString(s3.ErrorOutputPrefix), "!{") {
		return invalidArgument("%s: the Prefix and ErrorOutputPrefix of what is loaded into Redshift cannot have expressions", s.shape)
	}
	return checkNames(converted[types.ExtendedS3DestinationDescription](s3))
}
