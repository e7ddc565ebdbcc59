package s3sink

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
)

// Metadata of a delivered object, as x-amz-meta-….
const (
	metadataBatch   = "hydrant-batch"   // the batch's id
	metadataRecords = "hydrant-records" // records in the object
	metadataBytes   = "hydrant-bytes"   // their bytes, before compression
	metadataExpired = "hydrant-expired" // records of the batch that were lost before, if any
)

const sweepTime = 10 * time.Second

// lookBack looks for what an earlier attempt delivered. Under the earlier configurations it is the only protection against
// a second object, so it is done even if JetStream knows of no earlier attempt: its count does not outlive a consumer.
// Under the newest one the condition of the write protects, and looking first saves reading and sending a batch again.
func (t *try) lookBack(ctx context.Context) (*delivery.Result, error) {
	for _, old := range t.previous {
		result, err := t.look(ctx, old)
		if result != nil {
			return result, nil
		}
		if err == nil {
			continue
		}
		// An answer that will not change cannot be waited for. A failure that may pass is waited for, but not until
		// there is nothing left to deliver.
		if over(ctx, err) || !refused(err) && time.Since(t.Batch.Oldest) < t.Stream.Retention()/2 {
			return nil, fmt.Errorf("look for an earlier delivery at %s: %w", old, err)
		}
		t.log.Warn("batch possibly delivered twice: whether it was delivered under an earlier configuration cannot be found out",
			"object", old, "version", old.version, "error", err)
	}
	if t.Number == 1 {
		return nil, nil
	}
	result, err := t.lookHere(ctx)
	overdue := time.Since(t.Batch.Newest) > t.Stream.Retention()
	if err != nil && (refused(err) || overdue) && !over(ctx, err) {
		return nil, nil // the write will tell, or the log that nothing is left to write
	}
	return result, err
}

// over tells that an attempt ends for a reason which has nothing to do with S3.
func over(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, delivery.ErrNotHeld)
}

// lookHere looks under the newest configuration.
func (t *try) lookHere(ctx context.Context) (*delivery.Result, error) {
	for _, here := range []target{t.whole, t.rest} {
		if result, err := t.look(ctx, here); result != nil || err != nil {
			return result, err
		}
	}
	return nil, nil
}

// look returns what an earlier attempt made of the batch at a target, or nil. Unfinished uploads there are aborted first,
// so that a worker which stalled in the middle of one cannot complete it after we looked.
func (t *try) look(ctx context.Context, at target) (*delivery.Result, error) {
	if t.Number > 1 {
		if err := t.Held(); err != nil {
			return nil, err
		}
		t.sweep(ctx, at)
	}
	result, err := t.head(ctx, at)
	var other *foreignError
	if errors.As(err, &other) {
		return nil, nil
	}
	return result, err
}

// head returns the delivery that the object at a target is, nil if there is no object, and a foreignError if it is
// anything but this batch.
func (t *try) head(ctx context.Context, at target, options ...func(*s3.Options)) (*delivery.Result, error) {
	object, err := t.client(at).HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.bucket, Key: &at.key}, options...)
	if err != nil {
		if absent(err) {
			return nil, nil
		}
		return nil, err
	}
	id := batch.ID(object.Metadata[metadataBatch])
	records, errRecords := strconv.Atoi(object.Metadata[metadataRecords])
	size, errSize := strconv.ParseInt(object.Metadata[metadataBytes], 10, 64)
	same := id == t.Batch.ID() && errRecords == nil && errSize == nil &&
		(at.format != uncompressed || aws.ToInt64(object.ContentLength) == size) &&
		(at.variant == survivors || records == t.Batch.Records && size == t.Batch.Bytes)
	if !same {
		return nil, &foreignError{at: at, batch: id, records: object.Metadata[metadataRecords], bytes: object.Metadata[metadataBytes]}
	}
	return &delivery.Result{
		Outcome: batch.Delivered, Location: at.String(), Version: at.version,
		Records: records, Bytes: size, ExpiredRecords: t.Batch.Records - records,
		Warning: t.warning(at, !encrypted(at, object.ServerSideEncryption)),
	}, nil
}

// foreignError says that the object under a batch's name is not that batch.
type foreignError struct {
	at             target
	batch          batch.ID
	records, bytes string
}

func (e *foreignError) Error() string {
	if e.batch == "" {
		return fmt.Sprintf("%s is there and was not written by this installation, or the store does not keep metadata: it is not overwritten", e.at)
	}
	return fmt.Sprintf("%s is there and holds batch %s, %s records, %s bytes: it is not overwritten", e.at, e.batch, e.records, e.bytes)
}

// sweep aborts the unfinished uploads of a target, which a worker that was killed or that stalls left behind. A lost answer
// leaves one for the next sweep; a worker that is still at it finds its upload gone, and then finds the object.
func (t *try) sweep(ctx context.Context, at target) {
	if t.Batch.Bytes+t.Batch.Bytes/32 < minPartSize {
		return // not even the smallest parts made more than one of it, and what cannot be compressed grows by less in any format
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	list, err := t.client(at).ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &at.bucket, Prefix: &at.key})
	if err != nil {
		if !absent(err) {
			t.log.Warn("unfinished uploads cannot be listed; S3 keeps and charges what there is", "object", at, "error", err)
		}
		return
	}
	for _, u := range list.Uploads {
		if aws.ToString(u.Key) != at.key {
			continue
		}
		_, err := t.client(at).AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &at.bucket, Key: &at.key, UploadId: u.UploadId})
		if err != nil && !absent(err) {
			t.log.Warn("unfinished upload not aborted", "object", at, "upload", aws.ToString(u.UploadId), "error", err)
			continue
		}
		t.log.Info("unfinished upload of an earlier attempt aborted", "object", at, "upload", aws.ToString(u.UploadId))
	}
}
