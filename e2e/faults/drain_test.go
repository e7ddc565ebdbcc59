package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// drain waits until everything that was acknowledged must be in S3: no message is behind a buffer's cursor, and no batch
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
		left, err := behind(ctx, batches, log, info.State.LastSeq)
		if left != "" || err != nil {
			return left, err
		}
	}
	return "", streams.Err()
}

func behind(ctx context.Context, batches jetstream.Stream, log names.Log, last uint64) (string, error) {
	if last == 0 {
		return "", nil
	}
	m, err := batches.GetLastMsgForSubject(ctx, names.BatchesSubject(names.LegS3, log.Stream, log.Shard))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Sprintf("%s has %d messages and no batch", log.Stream, last), nil
	}
	if err != nil {
		return "", err
	}
	d, err := batch.Decode(m.Data)
	if err != nil || d.Last != last {
		return fmt.Sprintf("%s has %d messages, batches up to %d", log.Stream, last, d.Last), err
	}
	consumer, err := batches.Consumer(ctx, names.SinkConsumer(names.LegS3, log.Stream, log.ID))
	if err != nil {
		return "", err
	}
	info := consumer.CachedInfo()
	if waiting := info.NumPending + uint64(info.NumAckPending); waiting > 0 {
		return fmt.Sprintf("%s has %d batches to deliver", log.Stream, waiting), nil
	}
	return "", nil
}

// check counts every record in S3.
func (r *rig) check(options checker.Options) *checker.Report {
	r.t.Helper()
	objects, err := checker.Objects(r.t.Context(), r.direct, bucket, "")
	r.must(err)
	options.Ordered = true
	options.Locate = locate
	report, err := checker.Check(r.t.Context(), r.ledger, objects, options)
	r.must(err)
	return report
}

// locate reads a RecordId as its documentation says.
func locate(id string) (checker.Position, error) {
	parsed, err := record.ParseID(id)
	return checker.Position{StreamID: string(parsed.Stream), Shard: uint64(parsed.Shard), Sequence: parsed.Sequence}, err
}
