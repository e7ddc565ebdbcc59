package status

import (
	"context"
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

// failures finds the last error of each leg that fails.
func (c *collector) failures(ctx context.Context, rows []row, now time.Time) error {
	failing := map[string]*row{}
	for i := range rows {
		if r := &rows[i]; r.Failing.Batches > 0 {
			failing[string(r.ID)+"."+string(r.Leg.Leg)] = r
		}
	}
	if len(failing) == 0 {
		return nil
	}
	err := inspect.LastOfEach(ctx, c.js, names.ErrorsStream, c.filters(names.AllErrors, names.StreamErrors), func(m *nats.Msg) {
		entry, err := delivery.DecodeLogEntry(m.Data)
		if err != nil {
			return // the error log is for people; what is not an entry says nothing about a leg
		}
		if r := failing[legOf(entry.Batch)]; r != nil {
			r.blame(entry, now)
		}
	})
	for _, r := range failing {
		r.Failing.LoggingOff = r.Failing.LastErrorCode == "" && !r.logging
	}
	return err
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
	r.Failing.LastErrorCode = entry.ErrorCode
	r.Failing.LastErrorMessage = entry.Message
	r.Failing.LastErrorAt = entry.Time
}
