package s3sink

import (
	"context"
	"errors"
	"io"
	"strconv"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/objectstore"
	"hydrant/shared/recordlog"
)

// metadataExpired is the metadata that tells of records of the batch that were lost before, if any.
const metadataExpired = "hydrant-expired"

// write makes the target from the log. holds is what the object is to hold: the batch, or what survived of it.
func (t *try) write(ctx context.Context, to target, holds batch.Descriptor) (*delivery.Result, error) {
	found, err := t.store.Write(ctx, t.newWrite(to, holds))
	if err != nil {
		return nil, err
	}
	return t.result(to, found), nil
}

func (t *try) newWrite(to target, holds batch.Descriptor) objectstore.Write {
	w := objectstore.Write{Object: t.object(to, holds), Again: t.Number > 1, Held: t.Held}
	w.Body = func(ctx context.Context, out io.Writer) error { return t.fill(ctx, to, holds, out) }
	// What it is as an object is known before it is read, and nobody has to read it twice for a signature.
	if t.store.Unsigned() && to.format == uncompressed && 0 < holds.Bytes && holds.Bytes <= t.putSize {
		w.Straight = &objectstore.Straight{Size: holds.Bytes, Open: func() objectstore.Source { return &source{t.records.Open(holds), holds} }}
	}
	return w
}

// object is a target as the store knows it.
func (t *try) object(at target, holds batch.Descriptor) objectstore.Object {
	o := at.Object
	o.Stream, o.ARN, o.Batch = t.Stream.Name, t.Stream.ARN, t.Batch.ID()
	o.Metadata, o.ContentEncoding = t.metadata(at, holds), at.format.contentEncoding()
	// What cannot be compressed grows by less than that in any format.
	o.InOnePart = t.Batch.Bytes+t.Batch.Bytes/32 < t.leastPart
	o.Same = func(found *objectstore.Found) bool { return t.same(at, found) }
	return o
}

func (t *try) metadata(at target, holds batch.Descriptor) map[string]string {
	m := map[string]string{
		objectstore.MetadataRecords: strconv.Itoa(holds.Records),
		objectstore.MetadataBytes:   strconv.FormatInt(holds.Bytes, 10),
	}
	if at.variant == survivors {
		m[metadataExpired] = strconv.Itoa(t.Batch.Records - holds.Records)
	}
	return m
}

// same tells whether an object with the batch's id is what the batch becomes at a target.
func (t *try) same(at target, found *objectstore.Found) bool {
	records, size, err := counts(found)
	return err == nil &&
		(at.format != uncompressed || found.Size == size) &&
		(at.variant == survivors || records == t.Batch.Records && size == t.Batch.Bytes)
}

// counts are what an object says that it holds.
func counts(found *objectstore.Found) (records int, size int64, err error) {
	records, errRecords := strconv.Atoi(found.Metadata[objectstore.MetadataRecords])
	size, errSize := strconv.ParseInt(found.Metadata[objectstore.MetadataBytes], 10, 64)
	return records, size, errors.Join(errRecords, errSize)
}

// result is the delivery that an object is which was written, or was found to be the same.
func (t *try) result(at target, found *objectstore.Found) *delivery.Result {
	records, size, _ := counts(found) // which were written, or compared
	return &delivery.Result{
		Outcome: batch.Delivered, Location: at.String(), Version: at.version,
		Records: records, Bytes: size, ExpiredRecords: t.Batch.Records - records,
		Warning: t.store.Warning(t.object(at, t.Batch), found),
	}
}

// fill reads the log into the object, through the compressor. It fails if it read other than what the object is to hold.
func (t *try) fill(ctx context.Context, to target, holds batch.Descriptor, out io.Writer) error {
	object := t.encoders.encode(to, out)
	counts, err := t.records.Read(ctx, holds, func(payload []byte) error {
		_, err := object.Write(payload)
		return err
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // a read that is cancelled may look like a short one
	}
	if !counts.Whole(holds) {
		return &shortError{want: holds, got: counts}
	}
	return object.Close()
}

// source is the log as the content of an object. It ends only if it gave what the object is to hold.
type source struct {
	*recordlog.Reader
	holds batch.Descriptor
}

var _ objectstore.Source = (*source)(nil)

// Next implements objectstore.Source.
func (s *source) Next(ctx context.Context) ([]byte, error) {
	payload, err := s.Reader.Next(ctx)
	got := s.Counts()
	if errors.Is(err, io.EOF) && !got.Whole(s.holds) || err == nil && got.Bytes > s.holds.Bytes {
		return nil, &shortError{want: s.holds, got: got}
	}
	return payload, err
}
