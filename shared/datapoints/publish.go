package datapoints

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"hydrant/shared/names"
)

const (
	// mostTogether is how many datapoints are published as one atomic batch, which costs one fsync: JetStream's limit.
	mostTogether = 1000

	settleTime  = 500 * time.Millisecond // after a minute's end, for samples that are being taken
	retryTime   = 5 * time.Second        // between two tries to publish
	publishTime = 5 * time.Second        // for the answer to a batch
	lastWords   = 2 * time.Second        // for everything that is left at the end
)

// Headers of an atomic batch (NATS ADR-50), and what JetStream says of one that it does not take as such.
const (
	batchIDHeader       = "Nats-Batch-Id"
	batchSequenceHeader = "Nats-Batch-Sequence"
	batchCommitHeader   = "Nats-Batch-Commit"

	codeBatchesDisabled = 10174
	codeBatchTooLarge   = 10199
)

// round is what was collected at one time, as it is published.
type round struct {
	messages []*nats.Msg
	lapsed   time.Time // it is not kept longer
}

// Run publishes each minute when it has ended, until ctx ends, and then what there is of the last one. The connection must
// stay open until Run has returned.
//
// A lost answer, or none in time: the same documents are published again, and readers count them once. A process that goes
// on after a minute in the middle of it finds its batch given up by the server, which stores nothing of it, or stored; the
// repeat is right in both cases. What NATS does not take is tried every few seconds, and given up after some minutes.
func (r *Recorder) Run(ctx context.Context, conn *nats.Conn) error {
	for {
		wait := r.untilMinute()
		if len(r.pending) > 0 {
			wait = min(wait, retryTime)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			r.finish(ctx, conn)
			return ctx.Err()
		case <-timer.C:
		}
		r.gather(false)
		r.publish(ctx, conn)
	}
}

// untilMinute is how long it is until the minute that goes on has ended and its last samples are in.
func (r *Recorder) untilMinute() time.Duration {
	now := r.now()
	next := now.Truncate(time.Minute).Add(time.Minute)
	return max(next.Sub(now), 0) + settleTime
}

// finish publishes what is left, the minute that has not ended too.
func (r *Recorder) finish(ctx context.Context, conn *nats.Conn) {
	r.gather(true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	r.publish(ctx, conn)
	if left := r.left(); left > 0 {
		r.dropped.Add(float64(left))
		r.log.Warn("the last datapoints are lost", "datapoints", left)
	}
	r.pending = nil
}

func (r *Recorder) left() (n int) {
	for _, p := range r.pending {
		n += len(p.messages)
	}
	return n
}

// gather makes a round of what has ended. What is encoded here stays as it is, however often it is published.
func (r *Recorder) gather(all bool) {
	points := r.collect(all)
	if len(points) == 0 {
		return
	}
	r.rounds++
	now := round{lapsed: r.now().Add(keptMinutes * time.Minute)}
	for _, d := range points {
		d.Round = r.rounds
		data, err := d.Encode()
		if err != nil { // a sum that is no number
			r.log.Warn("datapoint not published", "stream", d.Stream, "metric", d.Metric, "error", err)
			continue
		}
		now.messages = append(now.messages, &nats.Msg{Subject: d.Subject(), Data: data})
	}
	r.pending = append(r.pending, now)
}

// publish publishes what waits, the oldest first, until NATS does not take it. It drops what has waited too long.
func (r *Recorder) publish(ctx context.Context, conn *nats.Conn) {
	for len(r.pending) > 0 {
		p := &r.pending[0]
		for len(p.messages) > 0 {
			n := min(len(p.messages), r.most)
			err := r.store(ctx, conn, p.messages[:n])
			if errors.Is(err, errNotTogether) {
				r.most = max(n/2, 1)
				continue
			}
			if err != nil {
				r.drop(err)
				return
			}
			r.published.Add(float64(n))
			p.messages = p.messages[n:]
		}
		r.pending = r.pending[1:]
	}
}

// drop gives up the rounds that have been kept for long enough, and the oldest of too many.
func (r *Recorder) drop(cause error) {
	r.log.Debug("datapoints not published yet", "datapoints", r.left(), "error", cause)
	for len(r.pending) > 0 && (r.left() > mostPending || r.now().After(r.pending[0].lapsed)) {
		n := len(r.pending[0].messages)
		r.dropped.Add(float64(n))
		r.log.Warn("datapoints dropped: they could not be stored for minutes", "datapoints", n, "error", cause)
		r.pending = r.pending[1:]
	}
}

// errNotTogether says that JetStream does not take so many messages as one batch.
var errNotTogether = errors.New("not as one batch")

// store stores messages, all of them or, as far as is known, none.
func (r *Recorder) store(ctx context.Context, conn *nats.Conn, messages []*nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, publishTime)
	defer cancel()
	last := len(messages) - 1
	id := ""
	if last > 0 {
		id = nuid.Next() // each try has its own: the last one may be staged in part
	}
	for i, m := range messages[:last] {
		if err := conn.PublishMsg(part(m, id, i+1, false)); err != nil {
			return err
		}
	}
	answer, err := conn.RequestMsgWithContext(ctx, part(messages[last], id, last+1, true))
	if err != nil {
		return err
	}
	return readAnswer(answer.Data, id, len(messages))
}

// part is a message of a batch, or of none where there is no id. The message itself is left as it is, for another try.
func part(m *nats.Msg, id string, sequence int, commit bool) *nats.Msg {
	header := nats.Header{jetstream.ExpectedStreamHeader: {names.MetricsStream}}
	if id != "" {
		header[batchIDHeader] = []string{id}
		header[batchSequenceHeader] = []string{strconv.Itoa(sequence)}
		if commit {
			header[batchCommitHeader] = []string{"1"}
		}
	}
	return &nats.Msg{Subject: m.Subject, Data: m.Data, Header: header}
}

// readAnswer returns nil if JetStream has stored everything.
func readAnswer(data []byte, id string, n int) error {
	var ack struct {
		Seq   uint64 `json:"seq"`
		Batch string `json:"batch"`
		Count int    `json:"count"`
		Error *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(data, &ack); err != nil {
		return fmt.Errorf("JetStream's answer cannot be read: %w", err)
	}
	switch e := ack.Error; {
	case e != nil && n > 1 && (e.Code == codeBatchesDisabled || e.Code == codeBatchTooLarge):
		return errNotTogether
	case e != nil:
		return fmt.Errorf("JetStream: %s (%d)", e.Description, e.Code)
	case ack.Seq == 0:
		return errors.New("JetStream's answer has no sequence")
	case n > 1 && (ack.Batch != id || ack.Count != n): // from a server that knows no batches: the others may not be stored
		return errNotTogether
	}
	return nil
}
