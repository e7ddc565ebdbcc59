package ingest

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/objectname"
)

// checkNames refuses settings from which no object name can be made. The text may be AWS's own, so nothing is put before it.
func checkNames(s3 *types.ExtendedS3DestinationDescription) error {
	err := objectname.Check(objectname.Settings{
		Prefix:            aws.ToString(s3.Prefix),
		ErrorOutputPrefix: aws.ToString(s3.ErrorOutputPrefix),
		FileExtension:     aws.ToString(s3.FileExtension),
		CustomTimeZone:    aws.ToString(s3.CustomTimeZone),
	})
	if err != nil {
		return invalidArgument("%v", err)
	}
	return nil
}
