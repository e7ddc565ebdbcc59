package objectstore

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

func TestIn(t *testing.T) {
	encrypted := func(key *string) *types.EncryptionConfiguration {
		return &types.EncryptionConfiguration{KMSEncryptionConfig: &types.KMSEncryptionConfig{AWSKMSKeyARN: key}}
	}
	plain := &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption}
	const key = "arn:aws:kms:us-east-1:111111111111:key/k"
	tests := []struct {
		name    string
		to      *types.ExtendedS3DestinationDescription
		want    Object
		refused bool
	}{
		{"none", nil, Object{}, true},
		{"in clear", destinationWith(plain), Object{Bucket: "data", Role: roleA}, false},
		{"encrypted", destinationWith(encrypted(aws.String(key))), Object{Bucket: "data", Role: roleA, KMS: key}, false},
		{"encrypted with nothing", destinationWith(encrypted(nil)), Object{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := In(tt.to)
			wantEqual(t, "whether it is refused", err != nil, tt.refused)
			wantEqual(t, "the bucket", got.Bucket, tt.want.Bucket)
			wantEqual(t, "the role", got.Role, tt.want.Role)
			wantEqual(t, "the key of the encryption", got.KMS, tt.want.KMS)
		})
	}
}

func destinationWith(encryption *types.EncryptionConfiguration) *types.ExtendedS3DestinationDescription {
	return &types.ExtendedS3DestinationDescription{
		BucketARN: aws.String("arn:aws:s3:::data"), RoleARN: aws.String(roleA), EncryptionConfiguration: encryption,
	}
}
