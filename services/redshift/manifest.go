package redshift

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/objectname"
	"hydrant/shared/objectstore"
)

// What the two kinds of manifests are for, which is their folder.
const (
	toLoad  = "manifests"        // what a COPY is to load
	skipped = "errors/manifests" // what was given up, for a COPY by hand
)

// manifest names objects for one COPY, in the form that Redshift reads.
type manifest struct {
	Entries []manifestEntry `json:"entries"`
}

type manifestEntry struct {
	URL string `json:"url"`
	// Mandatory has the COPY fail if the object is not there. Without, it would be passed over.
	Mandatory bool `json:"mandatory"`
}

// encode is the same bytes for the same objects. Characters of URLs are not escaped: who reads it may be a simple reader.
func (m manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false)
	err := to.Encode(m)
	return b.Bytes(), err
}

func manifestOf(objects []*object) manifest {
	m := manifest{Entries: []manifestEntry{}}
	for _, o := range objects {
		m.Entries = append(m.Entries, manifestEntry{URL: o.Location, Mandatory: true})
	}
	return m
}

// manifests writes manifests into the bucket where the delivery stream's objects are staged.
type manifests struct {
	store        *objectstore.Store
	installation string
}

// object is the manifest of some staged objects as an object in S3. Its name is derived from them, so that every attempt at the same
// ones means the same object, and a stopped process that wakes can overwrite nothing.
func (m manifests) object(stream *catalog.DeliveryStream, kind string, objects []*object) (objectstore.Object, error) {
	s3 := stream.Destination.S3Of(names.LegS3)
	if s3 == nil {
		return objectstore.Object{}, fmt.Errorf("version %d of the delivery stream has no bucket for staged objects", stream.Version)
	}
	identity := m.identify(stream.ID, kind, objects)
	key, err := manifestKey(stream, s3, kind, oldest(objects), identity)
	o := objectstore.Object{
		Bucket: catalog.Bucket(aws.ToString(s3.BucketARN)), Key: key, Role: aws.ToString(s3.RoleARN), Stream: stream.Name, ARN: stream.ARN,
		Batch: manifestID(stream.ID, identity),
	}
	if e := s3.EncryptionConfiguration; e != nil && e.KMSEncryptionConfig != nil {
		o.KMS = aws.ToString(e.KMSEncryptionConfig.AWSKMSKeyARN)
	}
	return o, err
}

// manifestID stands where objects of one batch have that batch's.
func manifestID(stream names.StreamID, identity [sha256.Size]byte) batch.ID {
	return batch.ID(string(stream) + ".redshift." + hex.EncodeToString(identity[:16]))
}

// manifestKey is the name: the folder of the kind, under the ErrorOutputPrefix for what was given up, and the hour of the oldest object.
func manifestKey(stream *catalog.DeliveryStream, s3 *types.ExtendedS3DestinationDescription, kind string, at time.Time, identity [sha256.Size]byte) (string, error) {
	under := ""
	if kind == skipped {
		under = aws.ToString(s3.ErrorOutputPrefix)
	}
	folder, err := objectname.ParseError("", under)
	if err != nil {
		return "", fmt.Errorf("version %d of the delivery stream: %w", stream.Version, err)
	}
	return folder.Evaluate(objectname.Values{At: at, Seed: identity[:], ErrorType: kind}) +
		objectname.Name(string(stream.Name), stream.Version, at, nil, uuid(identity)), nil
}

// identify is SHA-256 over what makes a manifest this one and no other. Each field is preceded by its length.
func (m manifests) identify(stream names.StreamID, kind string, objects []*object) [sha256.Size]byte {
	fields := []string{m.installation, string(stream), kind, strconv.Itoa(len(objects))}
	for _, o := range objects {
		fields = append(fields, string(o.Batch), o.Location)
	}
	var data []byte
	for _, field := range fields {
		data = append(binary.BigEndian.AppendUint32(data, uint32(len(field))), field...)
	}
	return sha256.Sum256(data)
}

// uuid is one of version 8 (RFC 9562), made of 122 bits of a hash.
func uuid(identity [sha256.Size]byte) string {
	id := identity[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// oldest is when the first record of any of the objects arrived.
func oldest(objects []*object) time.Time {
	first := slices.MinFunc(objects, func(a, b *object) int { return a.Oldest.Compare(b.Oldest) })
	return first.Oldest.UTC()
}

// write writes a manifest once: a lost answer or a repeat finds it, and it is the same.
func (m manifests) write(ctx context.Context, at objectstore.Object, objects []*object, held func() error) error {
	data, err := manifestOf(objects).encode()
	if err != nil {
		return err
	}
	_, err = m.store.Create(ctx, objectstore.Write{
		Object: at, Held: held,
		Body: func(_ context.Context, w io.Writer) error {
			_, err := w.Write(data)
			return err
		},
	})
	return err
}
