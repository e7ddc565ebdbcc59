package s3sink

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/objectname"
	"hydrant/shared/objectstore"
)

// variant tells the objects apart that one batch may become.
type variant string

const (
	wholeBatch variant = ""          // all of it
	survivors  variant = "survivors" // what was left in the log when the rest had expired
)

// target is an object that a batch may become, or became.
type target struct {
	objectstore.Object
	version int // of the configuration that says so
	format  format
	uuid    string // of the batch, and the variant
	variant variant
}

// newTarget returns the object that a batch becomes under one version of a delivery stream's configuration. It fails for
// what this build cannot write, rather than write something else.
func newTarget(installation string, d batch.Descriptor, version int, to *types.ExtendedS3DestinationDescription, v variant) (target, error) {
	object, err := objectstore.In(to)
	if err != nil {
		return target{}, fmt.Errorf("version %d of the delivery stream: %w", version, err)
	}
	t := target{Object: object, version: version, variant: v}
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
	t.Key = name + objectname.Extension(aws.ToString(to.FileExtension), format.extension())
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
