package objectstore

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
)

// Listed is an object as a listing of its bucket has it.
type Listed struct {
	Key      string
	Size     int64
	Modified time.Time
	Version  string // its ETag
}

// List is the objects of a bucket whose keys begin with a prefix, in the order of their keys. Only the bucket and the role of in are
// looked at. An error, which is classified, is the last. A bucket that would be made on demand is empty.
func (s *Store) List(ctx context.Context, in Object, prefix string) iter.Seq2[Listed, error] {
	return func(yield func(Listed, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client(in), &s3.ListObjectsV2Input{Bucket: &in.Bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if s.cfg.S3CreateBuckets && noBucket(err) {
				return // it is made when something is written
			}
			if err != nil {
				in.Key = prefix
				yield(Listed{}, s.Classify(in, err))
				return
			}
			for _, o := range page.Contents {
				listed := Listed{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified), Version: aws.ToString(o.ETag)}
				if !yield(listed, nil) {
					return
				}
			}
		}
	}
}

// Described is an object that is there, whatever it is.
type Described struct {
	Metadata map[string]string
	Size     int64
	Modified time.Time
	Version  string // its ETag
}

// Describe returns what an object says of itself; nil if it is not there. Its errors are classified.
func (s *Store) Describe(ctx context.Context, o Object) (*Described, error) {
	head, err := s.client(o).HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key})
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, s.Classify(o, err)
	}
	return &Described{
		Metadata: head.Metadata, Size: aws.ToInt64(head.ContentLength), Modified: aws.ToTime(head.LastModified), Version: aws.ToString(head.ETag),
	}, nil
}

// Open returns an object's content as it is stored; nil if it is not there. Its errors, those of reading among them, are classified.
// Reading fails where nothing comes for as long as S3 may take to answer. Whoever opened it closes it.
func (s *Store) Open(ctx context.Context, o Object) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	got, err := s.client(o).GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key}, unlimited)
	if err != nil {
		cancel()
		if absent(err) {
			return nil, nil
		}
		return nil, s.Classify(o, err)
	}
	return &content{ReadCloser: got.Body, store: s, of: o, cancel: cancel}, nil
}

// unlimited takes the limit of an attempt off, which would end the content with the answer. Until there is an answer, the
// transport has its own. That a server has no checksum of an object is nothing to tell anybody.
func unlimited(o *s3.Options) {
	o.DisableLogOutputChecksumValidationSkipped = true
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		_, err := stack.Finalize.Remove(limitName)
		return err
	})
}

// content is an object's, as it comes.
type content struct {
	io.ReadCloser
	store  *Store
	of     Object
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	defer time.AfterFunc(c.store.cfg.S3Timeout, c.cancel).Stop()
	n, err := c.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.store.Classify(c.of, err)
	}
	return n, err
}

// Close implements io.Closer.
func (c *content) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}
