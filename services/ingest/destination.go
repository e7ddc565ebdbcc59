package ingest

import (
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
)

// onlyDestination is the id of a delivery stream's destination: there is one.
const onlyDestination = "destinationId-000000000001"

// s3Settings is an S3 destination as a request gives it: one of four shapes, brought to the widest.
type s3Settings struct {
	types.ExtendedS3DestinationConfiguration
	shape string // the request's member that held it
}

// plainConfiguration is the shape of 2016. The SDK steers clients away from it; Hydrant serves those that use it.
func plainConfiguration(in *firehose.CreateDeliveryStreamInput) *types.S3DestinationConfiguration {
	return in.S3DestinationConfiguration //nolint:staticcheck // deprecated, see above
}

func plainUpdate(in *firehose.UpdateDestinationInput) *types.S3DestinationUpdate {
	return in.S3DestinationUpdate //nolint:staticcheck // deprecated, see above
}

func settingsOfCreate(in *firehose.CreateDeliveryStreamInput) *s3Settings {
	if in.ExtendedS3DestinationConfiguration != nil {
		return &s3Settings{*in.ExtendedS3DestinationConfiguration, "ExtendedS3DestinationConfiguration"}
	}
	if s3 := plainConfiguration(in); s3 != nil {
		return &s3Settings{types.ExtendedS3DestinationConfiguration{
			BucketARN:                s3.BucketARN,
			RoleARN:                  s3.RoleARN,
			BufferingHints:           s3.BufferingHints,
			CloudWatchLoggingOptions: s3.CloudWatchLoggingOptions,
			CompressionFormat:        s3.CompressionFormat,
			EncryptionConfiguration:  s3.EncryptionConfiguration,
			ErrorOutputPrefix:        s3.ErrorOutputPrefix,
			Prefix:                   s3.Prefix,
		}, "S3DestinationConfiguration"}
	}
	return nil
}

func settingsOfUpdate(in *firehose.UpdateDestinationInput) *s3Settings {
	if s3 := in.ExtendedS3DestinationUpdate; s3 != nil {
		settings := &s3Settings{types.ExtendedS3DestinationConfiguration{
			BucketARN:                         s3.BucketARN,
			RoleARN:                           s3.RoleARN,
			BufferingHints:                    s3.BufferingHints,
			CloudWatchLoggingOptions:          s3.CloudWatchLoggingOptions,
			CompressionFormat:                 s3.CompressionFormat,
			CustomTimeZone:                    s3.CustomTimeZone,
			DataFormatConversionConfiguration: s3.DataFormatConversionConfiguration,
			DynamicPartitioningConfiguration:  s3.DynamicPartitioningConfiguration,
			EncryptionConfiguration:           s3.EncryptionConfiguration,
			ErrorOutputPrefix:                 s3.ErrorOutputPrefix,
			FileExtension:                     s3.FileExtension,
			Prefix:                            s3.Prefix,
			ProcessingConfiguration:           s3.ProcessingConfiguration,
			S3BackupMode:                      s3.S3BackupMode,
		}, "ExtendedS3DestinationUpdate"}
		if s3.S3BackupUpdate != nil {
			settings.S3BackupConfiguration = &types.S3DestinationConfiguration{}
		}
		return settings
	}
	if s3 := plainUpdate(in); s3 != nil {
		return &s3Settings{types.ExtendedS3DestinationConfiguration{
			BucketARN:                s3.BucketARN,
			RoleARN:                  s3.RoleARN,
			BufferingHints:           s3.BufferingHints,
			CloudWatchLoggingOptions: s3.CloudWatchLoggingOptions,
			CompressionFormat:        s3.CompressionFormat,
			EncryptionConfiguration:  s3.EncryptionConfiguration,
			ErrorOutputPrefix:        s3.ErrorOutputPrefix,
			Prefix:                   s3.Prefix,
		}, "S3DestinationUpdate"}
	}
	return nil
}

// validate adds what breaks a constraint of the API's model. A destination that is created needs a bucket and a role; an
// update may leave any member out.
func (s *s3Settings) validate(v *violations, create bool) {
	path := func(member string) string {
		return strings.ToLower(s.shape[:1]) + s.shape[1:] + "." + member
	}
	if create && s.BucketARN == nil {
		v.missing(path("bucketARN"))
	}
	if create && s.RoleARN == nil {
		v.missing(path("roleARN"))
	}
	v.text(path("bucketARN"), s.BucketARN, 1, 2048, bucketPattern)
	v.text(path("roleARN"), s.RoleARN, 1, 512, rolePattern)
	v.text(path("prefix"), s.Prefix, 0, 1024, "")
	v.text(path("errorOutputPrefix"), s.ErrorOutputPrefix, 0, 1024, "")
	if hints := s.BufferingHints; hints != nil {
		v.number(path("bufferingHints.sizeInMBs"), hints.SizeInMBs, 1, 128)
		v.number(path("bufferingHints.intervalInSeconds"), hints.IntervalInSeconds, 0, 900)
	}
	enum(v, path("compressionFormat"), s.CompressionFormat, []types.CompressionFormat{
		types.CompressionFormatZip, types.CompressionFormatHadoopSnappy, types.CompressionFormatSnappy,
		types.CompressionFormatGzip, types.CompressionFormatUncompressed,
	})
	if e := s.EncryptionConfiguration; e != nil {
		enum(v, path("encryptionConfiguration.noEncryptionConfig"), e.NoEncryptionConfig, e.NoEncryptionConfig.Values())
	}
	if c := s.CloudWatchLoggingOptions; c != nil {
		v.text(path("cloudWatchLoggingOptions.logGroupName"), c.LogGroupName, 0, 512, logPattern)
		v.text(path("cloudWatchLoggingOptions.logStreamName"), c.LogStreamName, 0, 512, logPattern)
	}
	enum(v, path("s3BackupMode"), s.S3BackupMode, s.S3BackupMode.Values())
	if d := s.DynamicPartitioningConfiguration; d != nil && d.RetryOptions != nil {
		v.number(path("dynamicPartitioningConfiguration.retryOptions.durationInSeconds"), d.RetryOptions.DurationInSeconds, 0, 7200)
	}
}

// refuse returns an error for settings that are wrong together, or not built yet. A setting of its neutral value asks for
// nothing, and is accepted.
func (s *s3Settings) refuse() error {
	if hints := s.BufferingHints; hints != nil && (hints.SizeInMBs == nil) != (hints.IntervalInSeconds == nil) {
		return invalidArgument("%s.BufferingHints: give both SizeInMBs and IntervalInSeconds, or neither", s.shape)
	}
	for _, setting := range []struct {
		name string
		used bool
	}{
		{"Prefix with an expression (!{…})", strings.Contains(aws.ToString(s.Prefix), "!{")},
		{"CompressionFormat " + string(s.CompressionFormat), !neutral(s.CompressionFormat, types.CompressionFormatUncompressed, types.CompressionFormatGzip)},
		{"EncryptionConfiguration.KMSEncryptionConfig", s.EncryptionConfiguration != nil && s.EncryptionConfiguration.KMSEncryptionConfig != nil},
		{"ErrorOutputPrefix", aws.ToString(s.ErrorOutputPrefix) != ""},
		{"FileExtension", aws.ToString(s.FileExtension) != ""},
		{"CustomTimeZone", !neutral(aws.ToString(s.CustomTimeZone), "UTC")},
		{"S3BackupMode " + string(s.S3BackupMode), !neutral(s.S3BackupMode, types.S3BackupModeDisabled)},
		{"S3 backup", s.S3BackupConfiguration != nil},
		{"DataFormatConversionConfiguration", converts(s.DataFormatConversionConfiguration)},
		{"ProcessingConfiguration", processes(s.ProcessingConfiguration)},
		{"DynamicPartitioningConfiguration", s.DynamicPartitioningConfiguration != nil && aws.ToBool(s.DynamicPartitioningConfiguration.Enabled)},
	} {
		if setting.used {
			return notBuilt(s.shape + ": " + setting.name)
		}
	}
	return nil
}

// neutral tells whether value is missing, or one of those that are accepted.
func neutral[T ~string](value T, accepted ...T) bool {
	return value == "" || slices.Contains(accepted, value)
}

// converts tells whether c asks for format conversion, which is on unless it is switched off; or has details, which would
// be ignored.
func converts(c *types.DataFormatConversionConfiguration) bool {
	return c != nil && (aws.ToBool(c.Enabled) || c.Enabled == nil ||
		c.InputFormatConfiguration != nil || c.OutputFormatConfiguration != nil || c.SchemaConfiguration != nil)
}

func processes(c *types.ProcessingConfiguration) bool {
	return c != nil && (aws.ToBool(c.Enabled) || len(c.Processors) > 0)
}

// destination is a new destination of these settings, with every default filled in.
func (s *s3Settings) destination() catalog.Destination {
	return s.applied(catalog.Destination{ID: onlyDestination, S3: &types.ExtendedS3DestinationDescription{
		Prefix:                   aws.String(""),
		BufferingHints:           &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
		CompressionFormat:        types.CompressionFormatUncompressed,
		EncryptionConfiguration:  &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(false)},
		S3BackupMode:             types.S3BackupModeDisabled,
	}})
}

// applied returns old with the members that are set in s; old stays as it is.
func (s *s3Settings) applied(old catalog.Destination) catalog.Destination {
	to := *old.S3
	set(&to.BucketARN, s.BucketARN)
	set(&to.RoleARN, s.RoleARN)
	set(&to.Prefix, s.Prefix)
	if s.BufferingHints != nil && s.BufferingHints.SizeInMBs != nil {
		to.BufferingHints = s.BufferingHints
	}
	if s.CompressionFormat != "" {
		to.CompressionFormat = s.CompressionFormat
	}
	if c := s.CloudWatchLoggingOptions; c != nil {
		logging := *c
		logging.Enabled = aws.Bool(aws.ToBool(c.Enabled))
		to.CloudWatchLoggingOptions = &logging
	}
	set(&to.CustomTimeZone, s.CustomTimeZone)
	set(&to.DataFormatConversionConfiguration, s.DataFormatConversionConfiguration)
	set(&to.ProcessingConfiguration, s.ProcessingConfiguration)
	set(&to.DynamicPartitioningConfiguration, s.DynamicPartitioningConfiguration)
	return catalog.Destination{ID: old.ID, S3: &to}
}

func set[T any](to **T, value *T) {
	if value != nil {
		*to = value
	}
}

// describe is a destination as DescribeDeliveryStream shows it: in the form of both S3 shapes, whichever created it.
func describeDestination(d catalog.Destination) types.DestinationDescription {
	return types.DestinationDescription{
		DestinationId:                    aws.String(d.ID),
		ExtendedS3DestinationDescription: d.S3,
		S3DestinationDescription: &types.S3DestinationDescription{
			RoleARN:                  d.S3.RoleARN,
			BucketARN:                d.S3.BucketARN,
			Prefix:                   d.S3.Prefix,
			ErrorOutputPrefix:        d.S3.ErrorOutputPrefix,
			BufferingHints:           d.S3.BufferingHints,
			CompressionFormat:        d.S3.CompressionFormat,
			EncryptionConfiguration:  d.S3.EncryptionConfiguration,
			CloudWatchLoggingOptions: d.S3.CloudWatchLoggingOptions,
		},
	}
}
