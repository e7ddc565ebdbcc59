package buffer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/faultpoint"
	"hydrant/shared/names"
)

const publishTime = 5 * time.Second

var errLostRace = errors.New("another replica cut a batch first")

// publish cuts what is filled.
func (c *cutter) publish(ctx context.Context, reason batch.Reason) error {
	d := c.filling.descriptor(reason)
	c.drop()
	return c.send(ctx, d)
}

// cutGap cuts what expired before it was ever read, when nothing is left in the log to cut it with. Without it the loss
// would be told to nobody until the next record is put.
func (c *cutter) cutGap(ctx context.Context, last uint64) error {
	return c.send(ctx, batch.Descriptor{First: c.next, Last: last, Missing: last - c.next + 1, Reason: batch.ReasonGap})
}

// send publishes a descriptor behind the cursor, and moves the cursor.
//
// The compare-and-set makes every other outcome harmless. A lost answer: the descriptor is stored or it is not, and
// reading the cursor again tells. A repeat, a second replica, or a process that wakes after a minute: the subject's last
// sequence is another by now and the server refuses; if it is not, nobody has cut since, and the batch is as right as it
// was. A descriptor for a log that was deleted meanwhile is of an id that nobody looks for: the sink discards it, and the
// successor's cutter loses one race and passes over it.
func (c *cutter) send(ctx context.Context, d batch.Descriptor) error {
	d.Stream, d.StreamID, d.Shard, d.Leg = c.source.Stream, c.source.ID, c.source.Shard, c.leg
	d.Version = c.hints.Load().version
	data, err := d.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	faultpoint.Hit("buffer.before-publish")
	c.unanswered = &d
	ack, err := c.js.Publish(ctx, names.BatchesSubject(c.leg, d.Stream, d.Shard), data,
		jetstream.WithExpectLastSequencePerSubject(c.cursor.sequence),
		jetstream.WithExpectStream(names.BatchesStream))
	if isLostRace(err) {
		c.unanswered = nil
		c.metrics.lostRaces.Inc()
		return errLostRace
	}
	if err != nil {
		return fmt.Errorf("publish batch %s: %w", d.ID(), err)
	}
	faultpoint.Hit("buffer.published")
	c.unanswered = nil
	c.cursor = cursor{sequence: ack.Sequence, found: true, last: d.Last, id: d.ID()}
	c.next, c.progress = d.Last+1, true
	c.cut(d)
	return nil
}

func isLostRace(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// cut tells those who run the service of a batch that is stored.
func (c *cutter) cut(d batch.Descriptor) {
	c.metrics.cut(d)
	c.log.Debug("batch cut", "batch", d.ID(), "reason", d.Reason, "records", d.Records, "bytes", d.Bytes)
	if d.Missing > 0 {
		c.log.Error("messages were gone from the record log before they were cut: their records are lost",
			"batch", d.ID(), "messages", d.Missing)
	}
}

// settle finds out whether a batch was stored of which the answer was lost.
func (c *cutter) settle() {
	if c.unanswered != nil && c.cursor.found && c.cursor.id == c.unanswered.ID() {
		c.cut(*c.unanswered)
	}
	c.unanswered = nil
}
