package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

const (
	resumeAfter  = 5 * time.Second // a creation that goes on for longer is finished by any replica
	resumeEvery  = time.Second
	longestRetry = 30 * time.Second
	stepTime     = 30 * time.Second // for one attempt at finishing or removing
	atOnce       = 4                // attempts side by side
	mostOrphans  = 5                // deleted in one attempt

	codeSubjectOverlap = 10065 // JetStream: subjects overlap with an existing stream
)

var (
	// errSuperseded means that the catalog no longer has the delivery stream in the state that was to be changed.
	errSuperseded = errors.New("the delivery stream was deleted or made anew meanwhile")
	// errBehind means that the catalog has it, and was read where it was not known yet.
	errBehind = errors.New("the catalog was read from a NATS server that is behind")
)

// heldError means that a JetStream stream which is not a record log takes the subject of one.
type heldError struct {
	subject, holder string
}

func (e *heldError) Error() string {
	return fmt.Sprintf("NATS subject %s belongs to the JetStream stream %s, which is not Hydrant's: delete that stream or take another name", e.subject, e.holder)
}

// lifecycle brings delivery streams from CREATING to ACTIVE, and those in DELETING out of the world.
//
// Every step can be repeated and done by several replicas at once, and none can harm a delivery stream that was made
// again under the same name: logs and consumers are named by its id, the purges of its batches and staged objects end where
// BATCHES and STAGING ended while it was still in the catalog, and its document is changed by compare-and-set.
type lifecycle struct {
	js       jetstream.JetStream
	catalog  *catalog.Catalog
	view     *catalog.View
	patience time.Duration // resumeAfter, but for tests
	log      *slog.Logger
	prove    func(context.Context) error // catalog.View.Prove
	wake     chan struct{}               // holds one

	pending map[stepKey]*pendingStep // of the goroutine in run
}

// stepKey is a delivery stream in a state that it is to leave.
type stepKey struct {
	id     names.StreamID
	status types.DeliveryStreamStatus
}

type pendingStep struct {
	due   time.Time
	tries int
}

// kick has what is pending looked at now.
func (l *lifecycle) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run looks after the delivery streams that are not ACTIVE until ctx ends. It goes by what the view holds, not by what it
// was told, so nothing has to be remembered over a restart.
func (l *lifecycle) run(ctx context.Context) {
	ticker := time.NewTicker(resumeEvery)
	defer ticker.Stop()
	l.pending = map[stepKey]*pendingStep{}
	for {
		l.pass(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.wake:
		}
	}
}

// pass takes the steps that are due, and returns when they are taken or have failed.
func (l *lifecycle) pass(ctx context.Context, now time.Time) {
	pending := map[stepKey]*pendingStep{}
	slots := make(chan struct{}, atOnce)
	var steps sync.WaitGroup
	for _, d := range l.view.All() {
		if d.Status == types.DeliveryStreamStatusActive {
			continue
		}
		key := stepKey{d.ID, d.Status}
		p := l.pending[key]
		if p == nil {
			p = &pendingStep{due: l.firstDue(d, now)}
		}
		pending[key] = p
		if now.Before(p.due) {
			continue
		}
		slots <- struct{}{}
		steps.Go(func() {
			defer func() { <-slots }()
			l.step(ctx, d, p)
		})
	}
	steps.Wait()
	l.pending = pending
}

// firstDue leaves a creation to its creator for a while, by this replica's own clock; a removal has nobody else.
func (l *lifecycle) firstDue(d *catalog.DeliveryStream, now time.Time) time.Time {
	if d.Status == types.DeliveryStreamStatusCreating {
		return now.Add(l.patience)
	}
	return now
}

func (l *lifecycle) step(ctx context.Context, d *catalog.DeliveryStream, p *pendingStep) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	act, what := l.remove, "removed"
	if d.Status == types.DeliveryStreamStatusCreating {
		act, what = l.finish, "created"
	}
	err := act(ctx, d)
	switch {
	case err == nil:
		l.log.Info("delivery stream "+what, "stream", d.Name, "id", d.ID)
	case errors.Is(err, errSuperseded), ctx.Err() != nil && errors.Is(err, context.Canceled):
	default:
		l.log.Warn("delivery stream not "+what+" yet", "stream", d.Name, "id", d.ID, "error", err)
	}
	p.due = time.Now().Add(min(resumeEvery<<min(p.tries, 10), longestRetry))
	p.tries++
}

// finish makes the logs and the document ACTIVE.
//
// A creator that goes on after a minute, when its delivery stream was deleted meanwhile, may make logs again that the
// removal has deleted: the document tells, and the logs, named by the id, are deleted once more.
func (l *lifecycle) finish(ctx context.Context, d *catalog.DeliveryStream) error {
	for shard := range d.Shards {
		if err := l.createLog(ctx, d, names.Log{Stream: d.Name, Shard: names.Shard(shard), ID: d.ID}); err != nil {
			return err
		}
	}
	err := l.activate(ctx, d)
	if errors.Is(err, errSuperseded) {
		return l.undo(ctx, d)
	}
	return err
}

// undo deletes the logs of a delivery stream that was found to be deleted, and returns errSuperseded. It was found so in a document
// that any NATS server may have answered with, so it is proved first: the logs of one that is there may have records.
func (l *lifecycle) undo(ctx context.Context, d *catalog.DeliveryStream) error {
	now, err := l.proven(ctx, d)
	switch {
	case err != nil:
		return err
	case now != nil && now.Status != types.DeliveryStreamStatusDeleting:
		return errBehind
	}
	if err := l.deleteLogs(ctx, d); err != nil {
		return err // not the end of it
	}
	return errSuperseded
}

// activate makes the document ACTIVE. After a lost answer, a repeat finds it so.
func (l *lifecycle) activate(ctx context.Context, d *catalog.DeliveryStream) error {
	_, err := l.catalog.Update(ctx, d.Name, func(now *catalog.DeliveryStream) error {
		switch {
		case now.ID != d.ID || now.Status == types.DeliveryStreamStatusDeleting:
			return errSuperseded
		case now.Status == types.DeliveryStreamStatusActive:
			return errActiveAlready
		}
		now.Status = types.DeliveryStreamStatusActive
		return nil
	})
	switch {
	case errors.Is(err, errActiveAlready):
		return nil
	case errors.Is(err, catalog.ErrNotFound):
		return errSuperseded
	}
	return err
}

var errActiveAlready = errors.New("the delivery stream is ACTIVE already")

// createLog makes one log. It is no error if it is there, from another replica or from a try whose answer was lost.
func (l *lifecycle) createLog(ctx context.Context, d *catalog.DeliveryStream, log names.Log) error {
	for range mostOrphans {
		err := broker.CreateLog(ctx, l.js, broker.LogConfig(log, d.Retention(), 1))
		var refused *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && refused.ErrorCode == codeSubjectOverlap:
			if err := l.evict(ctx, d, log.Subject()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("make %s: %w", log.JetStream(), err)
		}
	}
	return fmt.Errorf("make %s: its subject is taken again and again", log.JetStream())
}

// evict deletes the log of an earlier delivery stream that holds the subject of d's. It is an orphan: its creator made it
// after the removal. Ids are never used again, and a document is always there before its logs, so while the catalog has d
// a log of another id under d's name can never come to be anybody's, and it may be deleted at any later time as well.
func (l *lifecycle) evict(ctx context.Context, d *catalog.DeliveryStream, subject string) error {
	holder, err := l.js.StreamNameBySubject(ctx, subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find who holds %s: %w", subject, err)
	}
	orphan, isLog := names.ParseLog(holder)
	switch {
	case !isLog || orphan.Stream != d.Name:
		return &heldError{subject, holder}
	case orphan.ID == d.ID: // another replica was first
		return nil
	}
	if err := l.confirm(ctx, d, anyStatus); err != nil {
		return err
	}
	l.log.Warn("deleting a record log that belongs to no delivery stream", "log", holder)
	return l.deleteStream(ctx, holder)
}

const anyStatus types.DeliveryStreamStatus = ""

// confirm returns nil if the catalog had d in that state when confirm was called or later, and errSuperseded if not.
func (l *lifecycle) confirm(ctx context.Context, d *catalog.DeliveryStream, status types.DeliveryStreamStatus) error {
	now, err := l.proven(ctx, d)
	switch {
	case err != nil:
		return err
	case now == nil || status != anyStatus && now.Status != status:
		return errSuperseded
	}
	return nil
}

// proven returns d as the catalog had it when proven was called or later, or nil if that had it no more. What follows cannot be
// undone, so that a NATS server says so does not do: one that was stopped and wakes says what was so before.
func (l *lifecycle) proven(ctx context.Context, d *catalog.DeliveryStream) (*catalog.DeliveryStream, error) {
	if err := l.prove(ctx); err != nil {
		return nil, fmt.Errorf("prove the state of %s: %w", d.Name, err)
	}
	if err := l.view.Unreadable(d.Name); err != nil {
		return nil, err
	}
	if now := l.view.Get(d.Name); now != nil && now.ID == d.ID {
		return now, nil
	}
	return nil, nil
}

// remove deletes what there is of a delivery stream in DELETING, its document last, so that until then any replica goes on
// with it. What a lost answer leaves open is done again and found gone; logs and consumers have names that a later delivery
// stream never has, and the document is only removed as long as it is the one with d's id.
func (l *lifecycle) remove(ctx context.Context, d *catalog.DeliveryStream) error {
	if err := l.deleteLogs(ctx, d); err != nil {
		return err
	}
	for _, leg := range []names.Leg{names.LegS3, names.LegES, names.LegBackup} {
		if err := l.deleteConsumer(ctx, names.BatchesStream, leg, d); err != nil {
			return err
		}
	}
	if err := l.deleteConsumer(ctx, names.StagingStream, names.LegRedshift, d); err != nil {
		return err
	}
	if err := l.purge(ctx, d, names.BatchesStream, names.StreamBatches(d.Name)); err != nil {
		return err
	}
	if err := l.purge(ctx, d, names.StagingStream, names.StagingSubject(d.Name)); err != nil {
		return err
	}
	return l.catalog.Remove(ctx, d.Name, d.ID)
}

func (l *lifecycle) deleteConsumer(ctx context.Context, stream string, leg names.Leg, d *catalog.DeliveryStream) error {
	err := l.js.DeleteConsumer(ctx, stream, names.SinkConsumer(leg, d.Name, d.ID))
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("delete the consumer of leg %s: %w", leg, err)
	}
	return nil
}

// purge removes d's messages, descriptors or announced objects, up to where the stream ended before the catalog was seen to
// have d in DELETING. Those of a delivery stream that is made again come later, so a purge that is sent, repeated or carried
// out after that, if only when a NATS server wakes that had taken it in, leaves them alone. A sink that announces an object of d
// still later leaves it to who reads there: it has d's id. So do the last ones when a server that is behind says where the stream
// ends: it says too little, never too much, since what it has was stored.
func (l *lifecycle) purge(ctx context.Context, d *catalog.DeliveryStream, name, subject string) error {
	stream, err := l.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("read where %s ends: %w", name, err)
	}
	last := stream.CachedInfo().State.LastSeq
	if err := l.confirm(ctx, d, types.DeliveryStreamStatusDeleting); err != nil {
		return err
	}
	err = stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(last+1))
	if err != nil {
		return fmt.Errorf("purge %s of %s: %w", name, subject, err)
	}
	return nil
}

// deleteLogs deletes d's own logs, by names that nothing else ever has: a repeat, or a request that is carried out late,
// finds nothing.
func (l *lifecycle) deleteLogs(ctx context.Context, d *catalog.DeliveryStream) error {
	for shard := range d.Shards {
		log := names.Log{Stream: d.Name, Shard: names.Shard(shard), ID: d.ID}
		if err := l.deleteStream(ctx, log.JetStream()); err != nil {
			return err
		}
	}
	return nil
}

func (l *lifecycle) deleteStream(ctx context.Context, name string) error {
	err := l.js.DeleteStream(ctx, name)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
