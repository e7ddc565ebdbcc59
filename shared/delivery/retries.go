package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/format"
	"hydrant/shared/names"
)

// RetriesFormat is the version of the entries of RETRIES that this build writes, and the newest it reads.
const RetriesFormat = 1

// retries is the bucket RETRIES: since when a batch fails, and how far it got, by the batch's id.
//
// Guarantees:
//   - The time of a batch's first failure is that at which JetStream stored the entry's first revision, so that no
//     replica's clock counts. It never moves: an entry is made only where there is none, and changed only from the revision
//     that the attempt began with, whose time the new one carries on.
//   - Who finds that another attempt changed the entry meanwhile leaves it as it is. That loses the progress of one of two
//     attempts, of which either is right: what was delivered stays delivered.
//
// What each write does when its answer is lost: it may have been stored, and the next attempt reads what is there. When it
// is repeated: it finds its own revision, and changes nothing. When its process wakes after a minute: the entry is another
// revision by then, or gone because the batch has its outcome, and the write is refused. Only one that would make the first
// entry of a batch succeeds after the outcome; nobody reads that, and it goes with its age.
//
// Not guaranteed: that an attempt which failed is in it. If it cannot be written, the clock begins with the next failure.
type retries struct {
	kv     jetstream.KeyValue
	stream jetstream.Stream // of the bucket
}

// retry is an entry as it is stored.
type retry struct {
	Format       int          `json:"format"`
	Stream       names.Stream `json:"stream,omitempty"`       // for who looks at the bucket: a batch's id does not name it
	FirstFailure time.Time    `json:"first_failure,omitzero"` // absent in the first revision, whose own time it is
	Attempts     int          `json:"attempts"`
	Progress     []byte       `json:"progress,omitempty"`
}

// kept is an entry as it was read. The zero value says that there is none: no attempt at the batch has failed.
type kept struct {
	retry           // FirstFailure is always there
	revision uint64 // of the bucket
	damaged  error  // why the entry could not be read
}

// errOvertaken says that another attempt changed the entry.
var errOvertaken = errors.New("another attempt at the batch was written down meanwhile")

func openRetries(ctx context.Context, js jetstream.JetStream) (*retries, error) {
	kv, err := js.KeyValue(ctx, names.RetriesBucket)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, "KV_"+names.RetriesBucket)
	return &retries{kv: kv, stream: stream}, err
}

// read returns what is kept of a batch. An error says that nobody knows, never that there is nothing. It is asked of the
// bucket's leader.
func (r *retries) read(ctx context.Context, id batch.ID) (kept, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	entry, err := r.kv.Get(ctx, string(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return kept{}, nil
	}
	if err != nil {
		return kept{}, err
	}
	e, err := decodeRetry(entry.Value())
	if errors.Is(err, format.ErrNewer) {
		return kept{}, err
	}
	// An entry that no version of Hydrant wrote still says that the batch had failed when it was stored. Going on from
	// there neither starts the clock with each attempt nor lets the batch wait until it expires.
	if stored := entry.Created(); e.FirstFailure.IsZero() || stored.Before(e.FirstFailure) {
		e.FirstFailure = stored.UTC()
	}
	return kept{retry: e, revision: entry.Revision(), damaged: err}, nil
}

// write puts next in the place of before, or returns errOvertaken if that is not what is there.
func (r *retries) write(ctx context.Context, id batch.ID, before kept, next retry) error {
	next.FirstFailure = before.FirstFailure
	data, err := next.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	if before.revision == 0 {
		_, err = r.kv.Create(ctx, string(id), data)
	} else {
		_, err = r.kv.Update(ctx, string(id), data, before.revision)
	}
	if isWrongSequence(err) {
		return errOvertaken
	}
	return err
}

// remove takes a batch that has its outcome out, and leaves no marker. A repeat removes nothing. Who wakes late and removes
// it has published an outcome of the batch: another attempt that goes on may only make the clock anew, of which nothing
// depends any more.
func (r *retries) remove(ctx context.Context, id batch.ID) error {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	return r.stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+names.RetriesBucket+"."+string(id)))
}

// isWrongSequence tells that another writer was first. Buckets with replicas have a code of their own for it.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

func (r retry) encode() ([]byte, error) {
	r.Format = RetriesFormat
	return json.Marshal(r)
}

func decodeRetry(data []byte) (retry, error) {
	if err := format.CheckDocument(data, RetriesFormat); err != nil {
		return retry{}, fmt.Errorf("entry of %s: %w", names.RetriesBucket, err)
	}
	var e retry
	if err := json.Unmarshal(data, &e); err != nil {
		return retry{}, fmt.Errorf("entry of %s: %w", names.RetriesBucket, err)
	}
	if e.Attempts < 1 || e.Attempts > mostAttempts {
		return retry{}, fmt.Errorf("entry of %s: not of an attempt: %.200q", names.RetriesBucket, data)
	}
	return e, nil
}

// mostAttempts is more than a batch can have had.
const mostAttempts = 1 << 30
