package objectstore

import (
	"bytes"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// put sends the object in one request: the part that all of it is in, or what comes straight.
func (u *upload) put(ctx context.Context, input *s3.PutObjectInput) (*s3.PutObjectOutput, error) {
	if u.Straight == nil {
		input.Body = bytes.NewReader(u.buffer)
		return u.client(u.to).PutObject(ctx, input, onlyWhile(u.Held), u.unsigned)
	}
	body := newStream(ctx, *u.Straight, u.checksums(), u.confirm)
	defer body.close()
	input.Body, input.ContentLength = body, aws.Int64(int64(body.Len()))
	put, err := u.client(u.to).PutObject(ctx, input, onlyWhile(u.Held), asStream(body))
	if cause := body.failed(); err != nil && cause != nil {
		err = &brokenOffError{cause}
	}
	return put, err
}

// brokenOffError says that a request broke off because its body did.
type brokenOffError struct{ cause error }

func (e *brokenOffError) Error() string { return "not all of the object was sent: " + e.cause.Error() }
func (e *brokenOffError) Unwrap() error { return e.cause }

// unsigned is an option of requests with a body that is in memory.
func (u *upload) unsigned(o *s3.Options) {
	if u.clients.unsigned {
		withoutSignature(o)
	}
}
