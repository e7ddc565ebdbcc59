package status

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

// recent is how old the last error may be to be the reason of a failure now. A batch that fails is tried again sooner.
const recent = time.Hour

// failures finds the last error of each leg that fails: of a leg that JetStream has given batches of a second time, or of
// which a pending batch is in the error log after its first.
func (c *collector) failures(ctx context.Context, rows []row, now time.Time) error {
	pending := map[string][]*row{}
	for i := range rows {
		if r := &rows[i]; r.Pending.Batches > 0 {
			pending[r.batchesOf()] = append(pending[r.batchesOf()], r)
		}
	}
	if len(pending) == 0 {
		return nil
	}
	err := inspect.LastOfEach(ctx, c.js, names.ErrorsStream, c.filters([]string{names.AllErrors}, one(names.StreamErrors)), func(m *nats.Msg) {
		entry, err := delivery.DecodeLogEntry(m.Data)
		if err != nil {
			return // the error log is for people; what is not an entry says nothing about a leg
		}
		for _, r := range toBlame(pending[legOf(entry.Batch)], m.Subject) {
			r.blame(entry, now)
		}
	})
	for _, rows := range pending {
		for _, r := range rows {
			r.Failing.LoggingOff = r.Failing.Batches > 0 && r.Failing.LastErrorCode == "" && !r.logging
		}
	}
	return err
}

// batchesOf is the <stream id>.<leg> in the names of the leg's batches. What is loaded into Redshift was staged as a batch of S3.
func (r *row) batchesOf() string {
	leg := r.Leg.Leg
	if leg == names.LegRedshift {
		leg = names.LegS3
	}
	return string(r.ID) + "." + string(leg)
}

// toBlame returns the legs that an entry of that error log may be of. Those that have the same batches are told apart by their
// logs.
func toBlame(legs []*row, log string) []*row {
	return slices.DeleteFunc(slices.Clone(legs), func(r *row) bool { return r.staging && r.log != log })
}

// legOf returns <stream id>.<leg> of a batch's name.
func legOf(id batch.ID) string {
	stream, rest, _ := strings.Cut(string(id), ".")
	leg, _, _ := strings.Cut(rest, ".")
	return stream + "." + leg
}

func (r *row) blame(entry delivery.LogEntry, now time.Time) {
	if entry.Time.Before(now.Add(-recent)) || entry.Time.Before(r.Failing.LastErrorAt) {
		return
	}
	if slices.ContainsFunc(r.pending, func(p pendingBatch) bool { return p.id == entry.Batch }) {
		r.Failing.Batches = max(r.Failing.Batches, 1)
	}
	if r.Failing.Batches == 0 {
		return // what failed is delivered meanwhile
	}
	r.Failing.LastErrorCode = entry.ErrorCode
	r.Failing.LastErrorMessage = entry.Message
	r.Failing.LastErrorAt = entry.Time
}
