package objectstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"hydrant/shared/delivery"
	"hydrant/shared/faultpoint"
)

const (
	// MinPartSize is S3's own limit for all parts but the last.
	MinPartSize = 5 << 20
	maxPartSize = 1 << 30
	maxParts    = 10_000 // S3's own
	mostParts   = 10_000 // that may be in memory, which is more than any machine has room for
	// MaxPutSize is S3's own limit for PutObject, and so for content that is sent straight.
	MaxPutSize = 5 << 30

	// partsInMemory is how many parts of one upload are filled or sent at once, at most.
	partsInMemory = 2

	abortTime = 3 * time.Second
)

// upload makes one object: with a PutObject whose body is the content as it comes where that is wanted, with PutObject if
// everything fits into one part, otherwise as a multipart upload. One goroutine fills parts, others send them.
type upload struct {
	*Store
	Write
	to  Object
	log *slog.Logger

	buffer []byte        // the part being filled
	slots  chan struct{} // one for each part in memory
	number int32         // of the last part sent
	size   int64         // of what was added
	id     string        // of the multipart upload, once there is one

	completed bool // this upload became the object
	plain     bool // the store did not say that it encrypts with the key that it was given
	// doubtful tells that a multipart upload may be left of which nobody knows the id.
	doubtful bool

	sending sync.WaitGroup
	failed  context.CancelCauseFunc
	mu      sync.Mutex
	parts   []types.CompletedPart
}

func (s *Store) newUpload(w Write) *upload {
	return &upload{Store: s, Write: w, to: w.Object, log: s.logOf(w.Object), slots: make(chan struct{}, partsInMemory)}
}

// run reads, sends and finishes. When it fails, everything it began is over, and aborted as far as S3 could be told.
func (u *upload) run(ctx context.Context) (*Found, error) {
	if u.Straight != nil {
		return u.finish(ctx)
	}
	partsCtx, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	u.failed = failed
	err := u.fill(partsCtx)
	if err == nil && u.id != "" {
		err = u.send(partsCtx)
	}
	if err != nil {
		failed(err)
	}
	u.sending.Wait()
	if cause := context.Cause(partsCtx); cause != nil {
		err = cause
	}
	var found *Found
	if err == nil {
		found, err = u.finish(ctx)
	}
	u.release()
	if u.id != "" && !u.completed {
		u.abort(ctx) // also where the object turned out to be there already
	}
	return found, err
}

// fill has the body written into parts. What was refused once stays refused, also for a body that does not look at errors:
// it would leave something out.
func (u *upload) fill(ctx context.Context) error {
	var broken error
	err := u.Body(ctx, writerFunc(func(p []byte) error {
		if broken == nil {
			broken = u.add(ctx, p)
		}
		return broken
	}))
	if err = cmp.Or(err, broken); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // a body that is cancelled may look like a short one
	}
	return nil
}

// writerFunc is a function as an io.Writer that takes everything or fails.
type writerFunc func(p []byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// add puts p into parts.
func (u *upload) add(ctx context.Context, p []byte) error {
	u.size += int64(len(p))
	for len(p) > 0 {
		if len(u.buffer) == cap(u.buffer) {
			if err := u.next(ctx); err != nil {
				return err
			}
		}
		n := min(len(p), cap(u.buffer)-len(u.buffer))
		u.buffer = append(u.buffer, p[:n]...)
		p = p[n:]
	}
	return nil
}

// next sends the part that is full, if there is one, and begins another when one of those in memory has gone out.
func (u *upload) next(ctx context.Context) error {
	if u.buffer != nil {
		if err := u.send(ctx); err != nil {
			return err
		}
	}
	select {
	case u.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	buffer, err := u.buffers.get(ctx)
	if err != nil {
		<-u.slots
		return err
	}
	u.buffer = buffer
	return nil
}

// send hands the part to a goroutine of its own, which run waits for.
func (u *upload) send(ctx context.Context) error {
	if u.number == maxParts {
		return &delivery.Error{
			Class: delivery.Permanent, Code: CodeInternal, Message: Message(CodeInternal, u.names.Service),
			Err: fmt.Errorf("%s needs more than %d parts of %d bytes: raise --part-size (HYDRANT_PART_SIZE)", u.to, maxParts, u.buffers.size),
		}
	}
	if u.id == "" {
		if err := u.begin(ctx); err != nil {
			return err
		}
	}
	u.number++
	number, body := u.number, u.buffer
	u.buffer = nil
	u.sending.Go(func() {
		defer u.giveBack(body)
		if err := u.sendPart(ctx, number, body); err != nil {
			u.failed(err)
		}
	})
	return nil
}

// begin makes the multipart upload. A lost answer leaves an upload that nobody knows; so does a worker that is killed. The
// sweep of a later attempt, or of this one where the SDK repeated the request, aborts it.
func (u *upload) begin(ctx context.Context) error {
	input := &s3.CreateMultipartUploadInput{
		Bucket: &u.to.Bucket, Key: &u.to.Key, Metadata: u.metadata(),
		ContentType: aws.String("application/octet-stream"), ContentEncoding: u.contentEncoding(),
	}
	input.ServerSideEncryption, input.SSEKMSKeyId = u.encryption()
	if u.checksums() {
		input.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
	}
	return u.inBucket(ctx, u.to, u.withACL(func(acl types.ObjectCannedACL) error {
		input.ACL = acl
		made, err := u.client(u.to).CreateMultipartUpload(ctx, input)
		if err != nil {
			u.doubtful = u.doubtful || !Refused(err)
			return err
		}
		u.plain = !encrypted(u.to, made.ServerSideEncryption)
		u.id = aws.ToString(made.UploadId)
		u.doubtful = u.doubtful || attempts(made.ResultMetadata) > 1
		return nil
	}))
}

// sendPart sends one part. A repeat, after a lost answer too, replaces it by the same bytes.
func (u *upload) sendPart(ctx context.Context, number int32, body []byte) error {
	input := &s3.UploadPartInput{
		Bucket: &u.to.Bucket, Key: &u.to.Key, UploadId: &u.id, PartNumber: &number, Body: bytes.NewReader(body),
	}
	if u.checksums() {
		input.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
	}
	sent, err := u.client(u.to).UploadPart(ctx, input, u.unsigned)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, types.CompletedPart{PartNumber: &number, ETag: sent.ETag, ChecksumCRC32: sent.ChecksumCRC32})
	return nil
}

// finish gives the object its name, by the one request that does: PutObject or CompleteMultipartUpload, on the condition
// that nothing has the name yet.
//
//   - A repeat, after a lost answer or by another worker, fails the condition (412), and the object's metadata tell that
//     the batch is delivered.
//   - A worker that wakes after a minute finds that it no longer holds the batch and sends nothing; if it was stopped
//     between the two, the condition fails. Only if the configuration changed meanwhile, so that its successor wrote
//     another name, and it had sent the request of a PutObject before it was stopped, are there two objects.
//   - Anything but a clear refusal may have taken effect, so the object is looked for at once. If that fails too, the next
//     attempt finds it.
func (u *upload) finish(ctx context.Context) (*Found, error) {
	if u.Straight == nil { // then it is asked before the last of the body is sent
		if err := u.confirm(); err != nil {
			return nil, err
		}
	}
	found, err := u.claim(ctx)
	if err == nil {
		faultpoint.Hit(u.names.Program + ".uploaded")
		if found != nil {
			return found, nil
		}
		return u.created(), nil
	}
	var broken *brokenOffError
	if errors.As(err, &broken) {
		return nil, broken.cause // S3 never had all of it
	}
	if Refused(err) || over(ctx, err) {
		return nil, err
	}
	return u.settle(ctx, err)
}

func (u *upload) created() *Found {
	size := u.size
	if u.Straight != nil {
		size = u.Straight.Size
	}
	return &Found{Metadata: u.metadata(), Size: size, Plain: u.plain, Created: true}
}

// over tells that an attempt ends for a reason which has nothing to do with S3.
func over(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, delivery.ErrNotHeld)
}

// confirm is asked right before a request, or the end of one, that gives the object its name.
func (u *upload) confirm() error {
	faultpoint.Hit(u.names.Program + ".before-complete")
	return u.Held()
}

// settle finds out by the object whether a request with an unclear end took effect.
func (u *upload) settle(ctx context.Context, cause error) (*Found, error) {
	taken := httpStatus(cause) == http.StatusPreconditionFailed
	var options []func(*s3.Options)
	if !taken {
		options = append(options, once) // S3 is in trouble: the next attempt will ask again
	}
	found, err := u.look(ctx, u.to, options...)
	var other *ForeignError
	switch {
	case found != nil:
		return found, nil
	case errors.As(err, &other):
		return nil, other.permanent()
	case taken && err != nil:
		return nil, err // why the object cannot be looked at is what has to be put right
	default:
		return nil, cause
	}
}

// claim writes the name if it is free. A store that does not know the condition is asked first and then written to
// without: two workers at the same time may then both write, the same bytes, which shows as a second version or event.
func (u *upload) claim(ctx context.Context) (*Found, error) {
	if !u.conditions.refusedBy(u.to.Bucket) {
		err := u.commit(ctx, aws.String("*"))
		if !refusesConditions(err) {
			return nil, err
		}
	}
	if found, err := u.look(ctx, u.to); found != nil || err != nil {
		return found, err
	}
	err := u.commit(ctx, nil)
	if err == nil && u.conditions.note(u.to.Bucket) {
		u.Store.log.Warn("the S3 server does not know If-None-Match on writes: objects are looked for before they are written, which two workers can do at the same time",
			"bucket", u.to.Bucket)
	}
	return nil, err
}

func (u *upload) commit(ctx context.Context, ifNoneMatch *string) error {
	if u.id != "" {
		err := u.complete(ctx, ifNoneMatch)
		u.completed = err == nil
		return err
	}
	input := &s3.PutObjectInput{
		Bucket: &u.to.Bucket, Key: &u.to.Key, IfNoneMatch: ifNoneMatch,
		Metadata: u.metadata(), ContentType: aws.String("application/octet-stream"), ContentEncoding: u.contentEncoding(),
	}
	input.ServerSideEncryption, input.SSEKMSKeyId = u.encryption()
	return u.inBucket(ctx, u.to, u.withACL(func(acl types.ObjectCannedACL) error {
		input.ACL = acl
		put, err := u.put(ctx, input)
		if err == nil {
			u.plain = !encrypted(u.to, put.ServerSideEncryption)
		}
		return err
	}))
}

func (u *upload) complete(ctx context.Context, ifNoneMatch *string) error {
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return cmp.Compare(*a.PartNumber, *b.PartNumber) })
	_, err := u.client(u.to).CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &u.to.Bucket, Key: &u.to.Key, UploadId: &u.id, IfNoneMatch: ifNoneMatch,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	}, onlyWhile(u.Held))
	return err
}

// abort gives the multipart upload up, also when ctx has ended. If that is lost the sweep of a later attempt does it.
func (u *upload) abort(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	_, err := u.client(u.to).AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &u.to.Bucket, Key: &u.to.Key, UploadId: &u.id})
	if err != nil && !absent(err) {
		u.log.Warn("upload not aborted: a later attempt will", "object", u.to.String(), "upload", u.id, "error", err)
	}
}

func (u *upload) release() {
	if u.buffer != nil {
		u.giveBack(u.buffer)
		u.buffer = nil
	}
}

func (u *upload) giveBack(buffer []byte) {
	u.buffers.put(buffer)
	<-u.slots
}

func (u *upload) metadata() map[string]string {
	m := map[string]string{MetadataBatch: string(u.to.Batch)}
	maps.Copy(m, u.to.Metadata)
	return m
}

func (u *upload) contentEncoding() *string {
	if u.to.ContentEncoding == "" {
		return nil
	}
	return &u.to.ContentEncoding
}

// attempts is how often the SDK sent a request that succeeded in the end.
func attempts(metadata middleware.Metadata) int {
	results, _ := retry.GetAttemptResults(metadata)
	return len(results.Results)
}
