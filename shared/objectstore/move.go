package objectstore

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Move gives an object of the bucket another name, by copying and deleting it. version is that of the content that is meant: another
// one, which came under the name meanwhile, stays where it is. All its errors are classified.
//
//   - A lost answer: the copy, or the deletion, is repeated, and does the same.
//   - A repeat: what is under the new name is replaced by the same bytes; an object that is gone was moved.
//   - A process that wakes after a minute deletes nothing but the version that was meant, where the server knows that condition.
//     Servers that do not know it delete what they have: then something that came under the same name within that minute is lost
//     from there, and must not be possible, or not matter.
//   - Killed in between: it is under both names, and the next Move ends it.
func (s *Store) Move(ctx context.Context, o Object, version, key string) error {
	err := s.copyTo(ctx, o, version, key)
	if err == nil {
		err = s.remove(ctx, o, version)
	}
	if gone(err) {
		return nil
	}
	return s.Classify(o, err)
}

// gone tells that there is nothing to move any more, or something else.
func gone(err error) bool {
	return s3Code(err) == "NoSuchKey" || httpStatus(err) == http.StatusPreconditionFailed
}

func (s *Store) copyTo(ctx context.Context, o Object, version, key string) error {
	to := o
	to.Key = key
	u := s.newUpload(Write{Object: to})
	input := &s3.CopyObjectInput{Bucket: &o.Bucket, Key: &key, CopySource: copySource(o)}
	if version != "" {
		input.CopySourceIfMatch = &version
	}
	input.ServerSideEncryption, input.SSEKMSKeyId = u.encryption()
	return u.withACL(func(acl types.ObjectCannedACL) error {
		input.ACL = acl
		_, err := s.client(o).CopyObject(ctx, input)
		return err
	})()
}

// copySource names an object in a header, where S3 takes it percent-encoded.
func copySource(o Object) *string {
	parts := strings.Split(o.Key, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	source := o.Bucket + "/" + strings.ReplaceAll(strings.Join(parts, "/"), "+", "%2B")
	return &source
}

func (s *Store) remove(ctx context.Context, o Object, version string) error {
	input := &s3.DeleteObjectInput{Bucket: &o.Bucket, Key: &o.Key}
	if version == "" {
		_, err := s.client(o).DeleteObject(ctx, input)
		return err
	}
	input.IfMatch = &version
	_, err := s.client(o).DeleteObject(ctx, input)
	if knowsNoVersions(err) {
		input.IfMatch = nil
		_, err = s.client(o).DeleteObject(ctx, input)
	}
	return err
}

// knowsNoVersions tells the answers of a server that refuses to delete under a condition.
func knowsNoVersions(err error) bool {
	return httpStatus(err) == http.StatusNotImplemented || s3Code(err) == "NotImplemented" ||
		s3Code(err) == "InvalidArgument" || s3Code(err) == "InvalidRequest"
}
