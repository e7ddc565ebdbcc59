package objectstore

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
func (s *Store) inBucket(ctx context.Context, at Object, write func() error) error {
	err := write()
	if !s.cfg.S3CreateBuckets || !noBucket(err) {
		return err
	}
	input := &s3.CreateBucketInput{Bucket: &at.Bucket}
	if s.cfg.S3Region != defaultRegion {
		input.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(s.cfg.S3Region)}
	}
	_, err = s.client(at).CreateBucket(ctx, input)
	var owned *types.BucketAlreadyOwnedByYou
	var exists *types.BucketAlreadyExists
	switch {
	case err == nil:
		s.logOf(at).Info("bucket made", "bucket", at.Bucket)
	case !errors.As(err, &owned) && !errors.As(err, &exists):
		return err
	}
	return write()
}
