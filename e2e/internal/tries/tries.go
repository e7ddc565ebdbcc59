// Package tries reads what an installation knows of batches that were tried more than once. It reads newer formats than this version's as
// well, of which the members that it wants are the same.
package tries

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// Try is what is known of the tries of a batch.
type Try struct {
	Attempts int
	Since    time.Time // when the first one failed; the error log does not know
	Format   int       // of what says so
}

// Kept is what sinks wrote down of the batches of a delivery stream that failed and have no outcome.
func Kept(ctx context.Context, js jetstream.JetStream, stream names.Stream) (map[batch.ID]Try, error) {
	const prefix = "$KV." + names.RetriesBucket + "."
	found := map[batch.ID]Try{}
	err := each(ctx, js, "KV_"+names.RetriesBucket, prefix+">", func(m *jetstream.RawStreamMsg) error {
		var entry struct {
			Format, Attempts int
			Stream           names.Stream
			FirstFailure     time.Time `json:"first_failure"`
		}
		if err := json.Unmarshal(m.Data, &entry); err != nil || entry.Stream != stream {
			return err
		}
		if entry.FirstFailure.IsZero() { // in the first revision, whose own time it is
			entry.FirstFailure = m.Time
		}
		found[ofBatch(strings.TrimPrefix(m.Subject, prefix))] = Try{entry.Attempts, entry.FirstFailure, entry.Format}
		return nil
	})
	return found, err
}

// ofBatch is the batch that a key is of. A staged object is that of the batch that was staged, and has its leg before that.
func ofBatch(key string) batch.ID {
	return batch.ID(strings.TrimPrefix(key, string(names.LegRedshift)+"."))
}

// Logged is what the error log of a delivery stream says of the tries of its batches. It has some of them alone, and also those of
// batches that were delivered since.
func Logged(ctx context.Context, js jetstream.JetStream, stream names.Stream, leg names.Leg) (map[batch.ID]Try, error) {
	found := map[batch.ID]Try{}
	err := each(ctx, js, names.ErrorsStream, names.ErrorsSubject(stream, names.LogStream(leg)), func(m *jetstream.RawStreamMsg) error {
		var entry struct {
			Format, Attempt int
			Batch           batch.ID
		}
		if err := json.Unmarshal(m.Data, &entry); err != nil {
			return err
		}
		found[entry.Batch] = Try{Attempts: max(found[entry.Batch].Attempts, entry.Attempt), Format: entry.Format}
		return nil
	})
	return found, err
}

// Delivered are the batches of a leg that were delivered, and by which try. One that was set aside is an error.
func Delivered(ctx context.Context, js jetstream.JetStream, stream names.Stream, leg names.Leg) (map[batch.ID]Try, error) {
	found := map[batch.ID]Try{}
	err := each(ctx, js, names.DeliveriesStream, names.DeliveriesSubject(leg, stream), func(m *jetstream.RawStreamMsg) error {
		var d struct {
			Format, Attempts int
			Batch            batch.ID
			Outcome          batch.Outcome
		}
		if err := json.Unmarshal(m.Data, &d); err != nil {
			return err
		}
		if d.Outcome != batch.Delivered {
			return fmt.Errorf("batch %s was %s", d.Batch, d.Outcome)
		}
		found[d.Batch] = Try{Attempts: d.Attempts, Format: d.Format}
		return nil
	})
	return found, err
}

// each reads what a stream has of some subjects.
func each(ctx context.Context, js jetstream.JetStream, stream, subjects string, read func(*jetstream.RawStreamMsg) error) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	for next := uint64(1); ; {
		m, err := s.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subjects))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err == nil {
			err = read(m)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", subjects, err)
		}
		next = m.Sequence + 1
	}
}
