package s3sink

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// conditions remembers the buckets whose store refuses conditional writes.
type conditions struct {
	mu      sync.Mutex
	refused map[string]bool
}

func (c *conditions) refusedBy(bucket string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[bucket]
}

// note reports whether the bucket is new to it.
func (c *conditions) note(bucket string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused[bucket] {
		return false
	}
	if c.refused == nil {
		c.refused = map[string]bool{}
	}
	c.refused[bucket] = true
	return true
}

// inBucket runs a write, and where buckets are made on demand makes a missing one and runs it again. A bucket that somebody
// else made meanwhile, or that a lost answer made, is as good.
func (d *destination) inBucket(ctx context.Context, bucket string, write func() error) error {
	err := write()
	if !d.createBuckets || !noBucket(err) {
		return err
	}
	input := &s3.CreateBucketInput{Bucket: &bucket}
	if d.region != defaultRegion {
		input.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(d.region)}
	}
	_, err = d.client.CreateBucket(ctx, input)
	var owned *types.BucketAlreadyOwnedByYou
	var exists *types.BucketAlreadyExists
	switch {
	case err == nil:
		d.log.Info("bucket made", "bucket", bucket)
	case !errors.As(err, &owned) && !errors.As(err, &exists):
		return err
	}
	return write()
}
