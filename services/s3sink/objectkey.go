package s3sink

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/objectname"
)

// variant tells the objects apart that one batch may become.
type variant string

const (
	wholeBatch variant = ""          // all of it
	survivors  variant = "survivors" // what was left in the log when the rest had expired
)

// target is an object that a batch may become, or became.
type target struct {
	bucket  string
	key     string
	version int // of the configuration that says so
	format  format
	uuid    string // of the batch, and the variant
	variant variant
	kms     string // ARN of the key that the store is to encrypt with, or ""
	role    string // ARN of the role that may write there
}

func (t target) String() string { return "s3://" + t.bucket + "/" + t.key }

// newTarget returns the object that a batch becomes under one version of a delivery stream's configuration. It fails for
// what this build cannot write, rather than write something else.
func newTarget(installation string, d batch.Descriptor, version int, to *types.ExtendedS3DestinationDescription, v variant) (target, error) {
	if to == nil {
		return target{}, fmt.Errorf("version %d of the delivery stream has no such S3 destination", version)
	}
	t := target{bucket: catalog.Bucket(aws.ToString(to.BucketARN)), version: version, variant: v, role: aws.ToString(to.RoleARN)}
	if e := to.EncryptionConfiguration; e != nil && e.KMSEncryptionConfig != nil {
		if t.kms = aws.ToString(e.KMSEncryptionConfig.AWSKMSKeyARN); t.kms == "" {
			return target{}, fmt.Errorf("version %d of the delivery stream asks for encryption with a KMS key and names none", version)
		}
	}
	format, err := formatOf(to.CompressionFormat)
	if err != nil {
		return target{}, fmt.Errorf("version %d of the delivery stream: %w", version, err)
	}
	t.format = format
	identity := objectname.Identify(installation, d, string(v))
	t.uuid = identity.UUID()
	name, err := objectKey(identity, d, version, to)
	if err != nil {
		return target{}, fmt.Errorf("version %d of the delivery stream: %w", version, err)
	}
	t.key = name + objectname.Extension(aws.ToString(to.FileExtension), format.extension())
	return t, nil
}

// objectKey is the guide's object name, without its extension:
//
//	<evaluated prefix><delivery stream>-<version>-YYYY-MM-DD-HH-MM-SS-<random>
//
// Package objectname says what prefixes evaluate to. All times are that of the arrival of the batch's oldest record, in the
// delivery stream's zone. What is random in it is derived from the batch, so that every attempt to deliver it means the same
// object. Settings were checked when they were stored; those that cannot be evaluated all the same are an error.
func objectKey(identity objectname.Identity, d batch.Descriptor, version int, to *types.ExtendedS3DestinationDescription) (string, error) {
	prefix, err := objectname.Parse(objectname.Prefix, aws.ToString(to.Prefix))
	if err != nil {
		return "", err
	}
	zone, err := objectname.Zone(aws.ToString(to.CustomTimeZone))
	if err != nil {
		return "", err
	}
	folder := prefix.Evaluate(objectname.Values{At: d.Oldest, Zone: zone, Seed: identity[:]})
	return folder + objectname.Name(string(d.Stream), version, d.Oldest, zone, identity.UUID()), nil
}
