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
	o, err := objectstore.In(s3)
	if err != nil {
		return o, fmt.Errorf("version %d of the delivery stream: manifests: %w", stream.Version, err)
	}
	identity := m.identify(stream.ID, kind, objects)
	o.Stream, o.ARN, o.Batch, o.InOnePart = stream.Name, stream.ARN, manifestID(stream.ID, identity), true
	o.Key, err = manifestKey(stream, s3, kind, oldest(objects), identity)
	return o, err
}

// manifestID stands where objects of one batch have that batch's.
func manifestID(stream names.StreamID, identity objectname.Identity) batch.ID {
	return batch.ID(string(stream) + ".redshift." + hex.EncodeToString(identity[:16]))
}

// manifestKey is the name: the folder of the kind, under the ErrorOutputPrefix for what was given up, and the hour of the oldest object.
func manifestKey(stream *catalog.DeliveryStream, s3 *types.ExtendedS3DestinationDescription, kind string, at time.Time, identity objectname.Identity) (string, error) {
	under := ""
	if kind == skipped {
		under = text(s3.ErrorOutputPrefix)
	}
	folder, err := objectname.ParseError("", under)
	if err != nil {
		return "", fmt.Errorf("version %d of the delivery stream: %w", stream.Version, err)
	}
	return folder.Evaluate(objectname.Values{At: at, Seed: identity[:], ErrorType: kind}) +
		objectname.Name(string(stream.Name), stream.Version, at, nil, identity.UUID()), nil
}

// identify is SHA-256 over what makes a manifest this one and no other. Each field is preceded by its length.
func (m manifests) identify(stream names.StreamID, kind string, objects []*object) objectname.Identity {
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
