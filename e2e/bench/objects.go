package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/klauspost/compress/gzip"
)

// objects are what the S3 server holds.
type objects struct {
	keys  []string
	bytes int64
}

func (i *installation) s3Client() *s3.Client {
	endpoint := "http://" + i.addr.s3
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s3Key, s3Secret, ""),
	})
}

func listObjects(ctx context.Context, client *s3.Client) (objects, error) {
	var all objects
	name := bucket
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return all, fmt.Errorf("list the objects: %w", err)
		}
		for _, o := range page.Contents {
			all.keys = append(all.keys, *o.Key)
			all.bytes += *o.Size
		}
	}
	return all, nil
}

// unpackers read compressed objects at once.
const unpackers = 2

// unpackedBytes reads every object and returns what they hold together when decompressed.
func unpackedBytes(ctx context.Context, client *s3.Client, o objects) (int64, error) {
	work := make(chan string, len(o.keys))
	for _, key := range o.keys {
		work <- key
	}
	close(work)
	sums := make([]int64, unpackers)
	failures := make([]error, unpackers)
	var wg sync.WaitGroup
	for n := range unpackers {
		wg.Go(func() {
			for key := range work {
				size, err := unpackedSize(ctx, client, key)
				sums[n], failures[n] = sums[n]+size, errors.Join(failures[n], err)
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, s := range sums {
		sum += s
	}
	return sum, errors.Join(failures...)
}

func unpackedSize(ctx context.Context, client *s3.Client, key string) (int64, error) {
	name := bucket
	object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &name, Key: &key})
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	defer func() { _ = object.Body.Close() }()
	unpacked, err := gzip.NewReader(object.Body)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	size, err := io.Copy(io.Discard, unpacked)
	if err != nil {
		return size, fmt.Errorf("read %s: %w", key, err)
	}
	return size, nil
}

// deleteObjects deletes them all.
func deleteObjects(ctx context.Context, client *s3.Client, o objects) error {
	const most = 1000 // in one call
	name := bucket
	for start := 0; start < len(o.keys); start += most {
		var list []types.ObjectIdentifier
		for _, key := range o.keys[start:min(start+most, len(o.keys))] {
			list = append(list, types.ObjectIdentifier{Key: &key})
		}
		answer, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &name, Delete: &types.Delete{Objects: list}})
		if err != nil {
			return fmt.Errorf("delete the objects: %w", err)
		}
		if len(answer.Errors) > 0 {
			return fmt.Errorf("delete the objects: %s", *answer.Errors[0].Message)
		}
	}
	return nil
}
