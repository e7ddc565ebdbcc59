package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// drainTime is for how long it is waited at most: several times what a batch takes of which the worker was killed.
const drainTime = 2 * time.Minute

// drain waits until everything that was acknowledged must be where it goes: no message is behind a buffer's cursor, and no batch
// is behind a sink's acknowledgements. It is asked of JetStream itself, not of Hydrant.
func (r *rig) drain(within time.Duration) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	quiet := 0
	for quiet < 3 {
		left, err := r.undelivered(ctx)
		quiet++
		if left != "" || err != nil {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			r.t.Errorf("not everything was delivered within %s: %s %v", within, left, err)
			return
		case <-ticker.C:
		}
	}
}

// undelivered names something that is not delivered yet, or returns "".
func (r *rig) undelivered(ctx context.Context) (string, error) {
	batches, err := r.js.Stream(ctx, names.BatchesStream)
	if err != nil {
		return "", err
	}
	streams := r.js.ListStreams(ctx, jetstream.WithStreamListSubject(names.AllRecords))
	for info := range streams.Info() {
		log, ok := names.ParseLog(info.Config.Name)
		if !ok {
			continue
		}
		for _, leg := range r.goes[string(log.Stream)] {
			left, err := behind(ctx, r.js, batches, leg, log, info.State.LastSeq)
			if left != "" || err != nil {
				return left, err
			}
		}
	}
	return "", streams.Err()
}

func behind(ctx context.Context, js jetstream.JetStream, batches jetstream.Stream, leg names.Leg, log names.Log, last uint64) (string, error) {
	if last == 0 {
		return "", nil
	}
	if leg == names.LegRedshift {
		return staged(ctx, js, log.Stream)
	}
	m, err := batches.GetLastMsgForSubject(ctx, names.BatchesSubject(leg, log.Stream, log.Shard))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Sprintf("%s has %d messages and no batch of leg %s", log.Stream, last, leg), nil
	}
	if err != nil {
		return "", err
	}
	var d struct{ Last uint64 } // in every format of the descriptor
	if err := json.Unmarshal(m.Data, &d); err != nil || d.Last != last {
		return fmt.Sprintf("%s has %d messages, batches of leg %s up to %d", log.Stream, last, leg, d.Last), err
	}
	consumer, err := batches.Consumer(ctx, names.SinkConsumer(leg, log.Stream, log.ID))
	if err != nil {
		return "", err
	}
	info := consumer.CachedInfo()
	if waiting := info.NumPending + uint64(info.NumAckPending); waiting > 0 {
		return fmt.Sprintf("%s has %d batches of leg %s to deliver", log.Stream, waiting, leg), nil
	}
	return "", nil
}

// staged asks for objects that are announced, and neither loaded nor set aside: an acknowledgement removes them.
func staged(ctx context.Context, js jetstream.JetStream, stream names.Stream) (string, error) {
	queue, err := js.Stream(ctx, names.StagingStream)
	if err != nil {
		return "", err
	}
	info, err := queue.Info(ctx, jetstream.WithSubjectFilter(names.StagingSubject(stream)))
	if err != nil {
		return "", err
	}
	if waiting := info.State.Subjects[names.StagingSubject(stream)]; waiting > 0 {
		return fmt.Sprintf("%s has %d objects to load", stream, waiting), nil
	}
	return "", nil
}

// check counts every record of a leg in S3: each leg has a bucket of its own.
func (r *rig) check(leg names.Leg, options checker.Options) *checker.Report {
	r.t.Helper()
	from := bucket
	if leg == names.LegBackup {
		from = backupBucket
	}
	objects, err := checker.Objects(r.t.Context(), r.direct, from, "")
	r.must(err)
	objects = slices.DeleteFunc(objects, func(o checker.Object) bool { return strings.HasPrefix(o.Key, copyPrefix) })
	return r.judge(leg, objects, options)
}

// judge compares the objects of a leg with the ledger.
func (r *rig) judge(leg names.Leg, objects []checker.Object, options checker.Options) *checker.Report {
	r.t.Helper()
	options.Leg, options.Ordered = string(leg), true
	options.Locate = locate
	options.Expects = func(stream string) bool { return slices.Contains(r.goes[stream], leg) }
	report, err := checker.Check(r.t.Context(), r.ledger, objects, options)
	r.must(err)
	return report
}

// locate reads a RecordId as its documentation says.
func locate(id string) (checker.Position, error) {
	parsed, err := record.ParseID(id)
	return checker.Position{StreamID: string(parsed.Stream), Shard: uint64(parsed.Shard), Sequence: parsed.Sequence}, err
}
