package buffer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/format"
	"hydrant/shared/names"
)

// position is how far a leg has come with a log.
type position struct {
	delivered uint64    // up to here; 0 when nothing is
	oldest    time.Time // arrival of the oldest undelivered message; zero when there is none
}

// known is a position, and what it was concluded from. While that is the same, so is the position.
type known struct {
	first, last uint64 // of the log
	floor       uint64 // of the sink's consumer
	consumer    bool
	position    position
}

func (k known) same(as known) bool {
	k.position, as.position = position{}, position{}
	return k == as
}

// findPosition concludes from the sink's acknowledgements how far a leg has delivered.
//
// floor was read before anything that is read here: every batch at or below it is acknowledged, and a batch above it
// counts as undelivered, whatever happened to it since. So the position may be behind, and is never ahead.
//
// late is when a leg began that is younger than its delivery stream, and zero for any other, to which all of the log belongs.
func findPosition(ctx context.Context, batches jetstream.Stream, k key, state jetstream.StreamState, late time.Time, floor uint64, consumer bool, before position) (position, error) {
	c, err := readCursor(ctx, batches, k.leg, k.source)
	if err != nil {
		return position{}, err
	}
	switch {
	case !c.found: // nothing is cut, or what was cut has expired with its records
		return begun(late, state, uncut(0, state, before)), nil
	case consumer && c.sequence <= floor:
		return uncut(c.last, state, before), nil
	case !consumer:
		floor = 0
	}
	d, err := firstAfter(ctx, batches, k, floor)
	if err != nil {
		return position{}, err
	}
	p := position{oldest: d.Oldest}
	if consumer {
		p.delivered = d.First - 1
	}
	if p.oldest.IsZero() { // everything of the batch was gone before it was cut
		p.oldest = state.LastTime
	}
	return p, nil
}

// uncut is the position when all that was cut is delivered. The arrival of the first message behind it is known when that is
// the first of the log; otherwise it is about when the message was first seen to be there, which spares reading its payload.
func uncut(delivered uint64, state jetstream.StreamState, before position) position {
	p := position{delivered: delivered}
	switch {
	case state.Msgs == 0 || state.LastSeq <= delivered:
	case state.FirstSeq > delivered:
		p.oldest = state.FirstTime
	case before.delivered == delivered && !before.oldest.IsZero():
		p.oldest = before.oldest
	default:
		p.oldest = state.LastTime
	}
	return p
}

// begun corrects the position of a leg that has cut nothing yet by when it began. What arrived before that is not its own,
// and may go if it is older by more than clocks differ.
func begun(late time.Time, state jetstream.StreamState, p position) position {
	switch {
	case late.IsZero() || p.oldest.IsZero():
	case state.LastTime.Add(clockMargin).Before(late):
		return position{delivered: state.LastSeq}
	case state.LastTime.Before(late):
		p.oldest = time.Time{}
	case p.oldest.Before(late):
		p.oldest = late
	}
	return p
}

// firstAfter returns the first batch of the log whose descriptor comes after a sequence of BATCHES. It passes over what an
// earlier stream of the same name left there.
func firstAfter(ctx context.Context, batches jetstream.Stream, k key, floor uint64) (batch.Descriptor, error) {
	subject := names.BatchesSubject(k.leg, k.source.Stream, k.source.Shard)
	for sequence := floor + 1; ; {
		m, err := batches.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(subject))
		if err != nil {
			return batch.Descriptor{}, fmt.Errorf("read the first undelivered batch: %w", err)
		}
		d, err := batch.Decode(m.Data)
		if err != nil && !errors.Is(err, format.ErrNewer) {
			sequence = m.Sequence + 1
			continue
		}
		if err != nil {
			return batch.Descriptor{}, fmt.Errorf("read batch %d: %w", m.Sequence, err)
		}
		if d.StreamID == k.source.ID {
			return d, nil
		}
		sequence = m.Sequence + 1
	}
}

// legName is a leg in metrics and in the log, where shards are added up.
type legName struct {
	stream names.Stream
	leg    names.Leg
}

// undelivered is what a leg has not delivered.
type undelivered struct {
	oldest    time.Time // zero when all is
	retention time.Duration
}

// age is that of the oldest undelivered record, 0 when there is none.
func (u undelivered) age(now time.Time) time.Duration {
	if u.oldest.IsZero() {
		return 0
	}
	return max(now.Sub(u.oldest), 0)
}

// report is what one pass of the trimmer found.
type report struct {
	legs   map[legName]undelivered
	replay int64
	store  broker.Store
}

// add takes in one shard.
func (r *report) add(k legName, oldest time.Time, retention time.Duration) {
	u, seen := r.legs[k]
	if !seen || u.oldest.IsZero() || !oldest.IsZero() && oldest.Before(u.oldest) {
		u.oldest = oldest
	}
	u.retention = retention
	r.legs[k] = u
}

// warn logs, once for each time it comes to that, legs whose undelivered records will soon expire.
func (t *trimmer) warn(r *report, now time.Time) {
	late := map[legName]bool{}
	for k, u := range r.legs {
		age := u.age(now)
		if age*4 <= u.retention*3 {
			continue
		}
		late[k] = true
		if !t.late[k] {
			t.log.Warn("undelivered records will expire and be lost", "stream", k.stream, "leg", k.leg,
				"oldest", age.Round(time.Second), "expires_in", max(u.retention-age, 0).Round(time.Second))
		}
	}
	t.late = late
}
