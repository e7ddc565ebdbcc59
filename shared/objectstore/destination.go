package objectstore

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
)

// In is an object where a delivery stream's S3 settings say: in which bucket, by whom, encrypted with what. Its key and what
// it holds are the caller's. It fails for settings that cannot be followed, rather than write something else.
func In(to *types.ExtendedS3DestinationDescription) (Object, error) {
	if to == nil {
		return Object{}, errors.New("no such S3 destination")
	}
	o := Object{Bucket: catalog.Bucket(aws.ToString(to.BucketARN)), Role: aws.ToString(to.RoleARN)}
	if e := to.EncryptionConfiguration; e != nil && e.KMSEncryptionConfig != nil {
		if o.KMS = aws.ToString(e.KMSEncryptionConfig.AWSKMSKeyARN); o.KMS == "" {
			return Object{}, errors.New("encryption with a KMS key is asked for, and none is named")
		}
	}
	return o, nil
}
