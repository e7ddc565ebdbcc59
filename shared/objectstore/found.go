package objectstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
)

// Metadata of an object, as x-amz-meta-….
const (
	MetadataBatch   = "hydrant-batch"   // the id of the batch that it is of
	MetadataRecords = "hydrant-records" // records in it
	MetadataBytes   = "hydrant-bytes"   // their bytes, before compression
)

const sweepTime = 10 * time.Second

// Found is an object that is there and is what it should be.
type Found struct {
	Metadata map[string]string
	Size     int64 // in bytes, as it is in the store
	Plain    bool  // the store did not say that it encrypts with the key that it was given
	Created  bool  // by the Write that returned it; otherwise it was there
}

// ForeignError says that the object under a name is not what should be there. It is not overwritten.
type ForeignError struct {
	at       Object
	metadata map[string]string
}

func (e *ForeignError) Error() string {
	id := e.metadata[MetadataBatch]
	if id == "" {
		return fmt.Sprintf("%s is there and was not written by this installation, or the store does not keep metadata: it is not overwritten", e.at)
	}
	return fmt.Sprintf("%s is there and holds batch %s, %s records, %s bytes: it is not overwritten", e.at, id, e.metadata[MetadataRecords], e.metadata[MetadataBytes])
}

// permanent is what the owner of the delivery stream is told.
func (e *ForeignError) permanent() error {
	return &delivery.Error{
		Class: delivery.Permanent, Code: CodeInternal, Err: e,
		Message: "Another object has the name of the batch's object. Move it away, or change the prefix of the delivery stream.",
	}
}

// Find returns the object if it is there, and nil if it is not. If something else has its name, that is a permanent error. All
// its errors are classified.
//
// Nothing is changed in S3, so that a lost answer and a repeat are as good as one. An earlier attempt that is still at its
// upload may complete it right after the look, unless Sweep ended that upload before.
func (s *Store) Find(ctx context.Context, o Object) (*Found, error) {
	found, err := s.Look(ctx, o)
	var other *ForeignError
	if errors.As(err, &other) {
		err = other.permanent()
	}
	return found, s.Classify(o, err)
}

// Look is Find with the error as it came, which may be a ForeignError, for those who have more to decide.
func (s *Store) Look(ctx context.Context, o Object) (*Found, error) { return s.look(ctx, o) }

func (s *Store) look(ctx context.Context, at Object, options ...func(*s3.Options)) (*Found, error) {
	object, err := s.client(at).HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.Bucket, Key: &at.Key}, options...)
	if err != nil {
		if absent(err) {
			return nil, nil
		}
		return nil, err
	}
	found := &Found{
		Metadata: object.Metadata, Size: aws.ToInt64(object.ContentLength), Plain: !encrypted(at, object.ServerSideEncryption),
	}
	if batch.ID(found.Metadata[MetadataBatch]) != at.Batch || at.Same != nil && !at.Same(found) {
		return nil, &ForeignError{at: at, metadata: found.Metadata}
	}
	return found, nil
}

// Sweep aborts the unfinished uploads of an object, which a worker that was killed or that stalls left behind. A lost answer
// leaves one for the next sweep; a worker that is still at it finds its upload gone, and then finds the object. What goes
// wrong is logged: an unfinished upload costs its owner money and nothing else.
func (s *Store) Sweep(ctx context.Context, at Object) {
	if at.InOnePart {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	list, err := s.client(at).ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &at.Bucket, Prefix: &at.Key})
	if err != nil {
		if !absent(err) {
			s.logOf(at).Warn("unfinished uploads cannot be listed; S3 keeps and charges what there is", "object", at.String(), "error", err)
		}
		return
	}
	for _, u := range list.Uploads {
		if aws.ToString(u.Key) == at.Key {
			s.sweepOne(ctx, at, u.UploadId)
		}
	}
}

func (s *Store) sweepOne(ctx context.Context, at Object, id *string) {
	log := s.logOf(at).With("object", at.String(), "upload", aws.ToString(id))
	_, err := s.client(at).AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &at.Bucket, Key: &at.Key, UploadId: id})
	if err != nil && !absent(err) {
		log.Warn("unfinished upload not aborted", "error", err)
		return
	}
	log.Info("unfinished upload of an earlier attempt aborted")
}
