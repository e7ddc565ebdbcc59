package s3sink

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// refusals remembers the buckets whose store refuses something, such as conditional writes.
type refusals struct {
	mu      sync.Mutex
	refused map[string]bool
}

func (r *refusals) refusedBy(bucket string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[bucket]
}

// note reports whether the bucket is new to it.
func (r *refusals) note(bucket string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused[bucket] {
		return false
	}
	if r.refused == nil {
		r.refused = map[string]bool{}
	}
	r.refused[bucket] = true
	return true
}

// inBucket runs a write, and where buckets are made on demand makes a missing one and runs it again. A bucket that somebody
// else made meanwhile, or that a lost answer made, is as good.
func (t *try) inBucket(ctx context.Context, at target, write func() error) error {
	err := write()
	if !t.createBuckets || !noBucket(err) {
		return err
	}
	input := &s3.CreateBucketInput{Bucket: &at.bucket}
	if t.region != defaultRegion {
		input.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(t.region)}
	}
	_, err = t.client(at).CreateBucket(ctx, input)
	var owned *types.BucketAlreadyOwnedByYou
	var exists *types.BucketAlreadyExists
	switch {
	case err == nil:
		t.log.Info("bucket made", "bucket", at.bucket)
	case !errors.As(err, &owned) && !errors.As(err, &exists):
		return err
	}
	return write()
}
