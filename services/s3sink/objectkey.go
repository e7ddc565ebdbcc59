package s3sink

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

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
	identity := batchHash(installation, d, v)
	t.uuid = batchUUID(identity)
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
func objectKey(identity [sha256.Size]byte, d batch.Descriptor, version int, to *types.ExtendedS3DestinationDescription) (string, error) {
	prefix, err := objectname.Parse(objectname.Prefix, aws.ToString(to.Prefix))
	if err != nil {
		return "", err
	}
	zone, err := objectname.Zone(aws.ToString(to.CustomTimeZone))
	if err != nil {
		return "", err
	}
	folder := prefix.Evaluate(objectname.Values{At: d.Oldest, Zone: zone, Seed: identity[:]})
	return folder + objectname.Name(string(d.Stream), version, d.Oldest, zone, batchUUID(identity)), nil
}

// batchHash is SHA-256 over what makes a batch this one and no other. The installation is in it because two may share a bucket,
// the stream's id because a stream made again under its old name begins at sequence 1, the arrival because a log restored
// from a backup may give a sequence out twice. Each field is preceded by its length, so that no two lists of fields are the
// same bytes.
func batchHash(installation string, d batch.Descriptor, v variant) [sha256.Size]byte {
	var fields []byte
	for _, field := range []string{
		installation, string(d.StreamID), string(d.Leg), strconv.Itoa(int(d.Shard)),
		strconv.FormatUint(d.First, 10), strconv.FormatInt(d.Oldest.UnixNano(), 10), string(v),
	} {
		fields = append(binary.BigEndian.AppendUint32(fields, uint32(len(field))), field...)
	}
	return sha256.Sum256(fields)
}

// batchUUID is a UUID of version 8 (RFC 9562) made of 122 bits of a batch's hash.
func batchUUID(identity [sha256.Size]byte) string {
	id := identity[:16]
	id[6] = id[6]&0x0f | 0x80 // version 8: custom
	id[8] = id[8]&0x3f | 0x80 // the RFC's variant
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
