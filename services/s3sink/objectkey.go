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
	gzip    bool
	variant variant
}

func (t target) String() string { return "s3://" + t.bucket + "/" + t.key }

// newTarget returns the object that a batch becomes under one version of a delivery stream's configuration. It fails for
// what this build cannot write, rather than write something else.
func newTarget(installation string, d batch.Descriptor, version int, to *types.ExtendedS3DestinationDescription, v variant) (target, error) {
	if to == nil {
		return target{}, fmt.Errorf("version %d of the delivery stream has no such S3 destination", version)
	}
	if e := to.EncryptionConfiguration; e != nil && e.KMSEncryptionConfig != nil {
		return target{}, fmt.Errorf("version %d of the delivery stream asks for encryption with a KMS key, which is not supported", version)
	}
	t := target{bucket: catalog.Bucket(aws.ToString(to.BucketARN)), version: version, variant: v}
	suffix := ""
	switch to.CompressionFormat {
	case types.CompressionFormatUncompressed, "":
	case types.CompressionFormatGzip:
		t.gzip, suffix = true, ".gz"
	default:
		return target{}, fmt.Errorf("version %d of the delivery stream asks for the compression %s, which is not supported", version, to.CompressionFormat)
	}
	t.key = objectKey(installation, d, version, aws.ToString(to.Prefix), v) + suffix
	return t, nil
}

// objectKey is the guide's object name, without the ending of a compression:
//
//	<prefix>YYYY/MM/DD/HH/<delivery stream>-<version>-YYYY-MM-DD-HH-MM-SS-<random>
//
// The prefix is put before it as it is. The times are UTC, of the batch's oldest record. The "random" part is derived from
// the batch, so that every attempt to deliver it means the same object.
func objectKey(installation string, d batch.Descriptor, version int, prefix string, v variant) string {
	at := d.Oldest.UTC()
	return prefix + at.Format("2006/01/02/15/") + string(d.Stream) + "-" + strconv.Itoa(version) +
		at.Format("-2006-01-02-15-04-05-") + batchUUID(installation, d, v)
}

// batchUUID is a UUID of version 8 (RFC 9562) made of 122 bits of SHA-256 over what makes a batch this one and no other.
// The installation is in it because two may share a bucket, the stream's id because a stream made again under its old name
// begins at sequence 1, the arrival because a log restored from a backup may give a sequence out twice. Each field is
// preceded by its length, so that no two lists of fields are the same bytes.
func batchUUID(installation string, d batch.Descriptor, v variant) string {
	h := sha256.New()
	for _, field := range []string{
		installation, string(d.StreamID), string(d.Leg), strconv.Itoa(int(d.Shard)),
		strconv.FormatUint(d.First, 10), strconv.FormatInt(d.Oldest.UnixNano(), 10), string(v),
	} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(field))))
		_, _ = h.Write([]byte(field))
	}
	id := h.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x80 // version 8: custom
	id[8] = id[8]&0x3f | 0x80 // the RFC's variant
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
