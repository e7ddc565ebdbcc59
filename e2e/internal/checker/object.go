package checker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Object is a delivered object.
type Object struct {
	Bucket   string
	Key      string
	Metadata map[string]string
	// Encoding is the Content-Encoding, which says how the object is compressed; the ending of its key may be any.
	Encoding string
	// Open returns the object's bytes as they are stored.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Objects returns the objects of a bucket whose keys begin with the prefix, with their metadata.
func Objects(ctx context.Context, client *s3.Client, bucket, prefix string) ([]Object, error) {
	var objects []Object
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list s3://%s/%s: %w", bucket, prefix, err)
		}
		for _, item := range page.Contents {
			object, err := describe(ctx, client, bucket, aws.ToString(item.Key))
			if err != nil {
				return nil, err
			}
			objects = append(objects, object)
		}
	}
	return objects, nil
}

func describe(ctx context.Context, client *s3.Client, bucket, key string) (Object, error) {
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return Object{}, fmt.Errorf("head s3://%s/%s: %w", bucket, key, err)
	}
	open := func(ctx context.Context) (io.ReadCloser, error) {
		got, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
		if err != nil {
			return nil, fmt.Errorf("get: %w", err)
		}
		return got.Body, nil
	}
	return Object{Bucket: bucket, Key: key, Metadata: head.Metadata, Encoding: aws.ToString(head.ContentEncoding), Open: open}, nil
}

// name returns where the object is.
func (o Object) name() string {
	return "s3://" + o.Bucket + "/" + o.Key
}

// damage is what is wrong with an object's content, as opposed to an error in getting at it.
type damage struct {
	offset int64
	cause  error
}

// lines calls visit with every line of the object, the line feed included, and returns how many bytes it holds before
// compression. A line of more bytes than may be is damage, as is the compression's end where no end should be.
func (o Object) lines(ctx context.Context, most int, visit func(offset int64, line []byte), damaged func(damage)) (int64, error) {
	body, err := o.Open(ctx)
	if err != nil {
		return 0, fmt.Errorf("object %s: %w", o.name(), err)
	}
	defer func() { _ = body.Close() }()
	source := &observed{reader: body}
	size, err := o.scan(source, most, visit, damaged)
	if source.err != nil {
		return 0, fmt.Errorf("object %s: read: %w", o.name(), source.err)
	}
	if err != nil {
		damaged(damage{size, err})
	}
	return size, nil
}

// scan returns the size of what could be decoded, and why it could not go on.
func (o Object) scan(source io.Reader, most int, visit func(int64, []byte), damaged func(damage)) (int64, error) {
	decoded, err := Decode(o.Encoding, source)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewReaderSize(decoded, most)
	var offset int64
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			damaged(damage{offset, fmt.Errorf("more than %d bytes without a line feed", most)})
			skipped, err := skipLine(lines)
			offset += int64(len(line)) + skipped
			if err != nil {
				return offset, ignoreEOF(err)
			}
			continue
		case len(line) > 0:
			visit(offset, line)
			offset += int64(len(line))
		}
		if err != nil {
			return offset, ignoreEOF(err)
		}
	}
}

// skipLine reads to the end of a line that is too long, so that it is one problem and not many.
func skipLine(r *bufio.Reader) (int64, error) {
	var n int64
	for {
		part, err := r.ReadSlice('\n')
		n += int64(len(part))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// observed remembers a failure of the reader below a decompressor: that the object could not be fetched is no verdict
// on its content.
type observed struct {
	reader io.Reader
	err    error
}

func (o *observed) Read(p []byte) (int, error) {
	n, err := o.reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err
}
