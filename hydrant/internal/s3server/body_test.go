package s3server

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// TestBodyWithTrailer sends objects as the S3 sink does: unsigned, with a checksum behind the body. One that was damaged on
// its way, or that broke off, becomes no object.
func TestBodyWithTrailer(t *testing.T) {
	cfg := testConfig(t)
	s, _ := serve(t, cfg)
	c := client(t, s.URL())
	makeBucket(t, c)
	text := strings.Repeat("a record\n", 200_000)
	whole := chunked(text, crc32.ChecksumIEEE([]byte(text)))
	damaged := chunked(text, crc32.ChecksumIEEE([]byte("another text")))
	broken := errors.New("the batch is not held any more")

	if err := putChunked(t.Context(), c, "whole", len(text), len(whole), strings.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, c, "whole"); got != text {
		t.Errorf("the object holds %d bytes, want the %d that were sent", len(got), len(text))
	}
	wantCode(t, putChunked(t.Context(), c, "damaged", len(text), len(damaged), strings.NewReader(damaged)), "BadDigest")
	for _, sent := range []int{len(whole) / 2, len(text), len(whole) - 20, len(whole) - 4, len(whole) - 1} {
		body := io.MultiReader(strings.NewReader(whole[:sent]), failing{broken})
		if err := putChunked(t.Context(), c, "broken", len(text), len(whole), body); err == nil {
			t.Errorf("a body of which %d of %d bytes were sent is accepted", sent, len(whole))
		}
	}
	list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket)})
	if err != nil || len(list.Contents) != 1 {
		t.Errorf("the bucket holds %d objects, %v, want 1", len(list.Contents), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// chunked is S3's own encoding of a body in one chunk, with a checksum behind it.
func chunked(text string, sum uint32) string {
	checksum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
	return fmt.Sprintf("%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n", len(text), text, checksum)
}

func putChunked(ctx context.Context, c *s3.Client, key string, decoded, encoded int, body io.Reader) error {
	_, err := c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String(key), IfNoneMatch: aws.String("*"), Body: body, ContentLength: aws.Int64(int64(encoded)),
	}, once, func(o *s3.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Build.Add(middleware.BuildMiddlewareFunc("Trailer", func(
				ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler,
			) (middleware.BuildOutput, middleware.Metadata, error) {
				if r, ok := in.Request.(*smithyhttp.Request); ok {
					r.Header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(decoded))
					r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
				}
				return next.HandleBuild(v4.SetPayloadHash(ctx, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), in)
			}), middleware.After)
		})
	})
	return err
}

func read(t *testing.T, c *s3.Client, key string) string {
	t.Helper()
	object, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	if object.ContentEncoding != nil {
		t.Errorf("%s has the Content-Encoding %q, want none", key, *object.ContentEncoding)
	}
	data, err := io.ReadAll(object.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = object.Body.Close()
	return string(data)
}
