package redshift

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/faultpoint"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
)

// try is one try at each of some objects, and what follows from what became of them.
type try struct {
	*lane
	queue   queue
	stream  *catalog.DeliveryStream // the newest configuration
	objects []*object
}

func (t *try) run(ctx context.Context) {
	left := t.lookBack(ctx)
	r := &round{
		now: t.now, retry: retryDuration(t.stream), told: func(f *failure) { t.metrics.copied(t.stream.Name, f) },
		load: func(ctx context.Context, objects []*object) (copyResult, *failure) {
			return t.loader.load(ctx, t.stream, objects, t.held(objects))
		},
	}
	r.run(ctx, left)
	t.warnOfLedger(ctx)
	var loaded []*object
	failures := map[*failure][]*object{}
	for _, o := range left {
		if o.loaded {
			loaded = append(loaded, o)
		} else {
			failures[o.failed] = append(failures[o.failed], o)
		}
	}
	t.count(loaded, failures)
	t.succeeded(ctx, loaded)
	t.failed(ctx, failures)
}

// held asks whether the objects may be another's, in the words that whatever writes to S3 knows.
func (t *try) held(objects []*object) func() error {
	return func() error {
		if err := t.queue.Held(staged(objects)...); err != nil {
			return fmt.Errorf("%w: %w", delivery.ErrNotHeld, err)
		}
		return nil
	}
}

// count has the lane rest longer the more rounds loaded nothing.
func (t *try) count(loaded []*object, failures map[*failure][]*object) {
	switch {
	case len(loaded) > 0 || len(failures) == 0:
		t.failures = 0
	default:
		t.failures++
	}
}

// lookBack finds objects that an earlier attempt set aside without getting to acknowledge them, and returns the others.
func (t *try) lookBack(ctx context.Context) (left []*object) {
	for _, o := range t.objects {
		if o.progress.Aside == "" {
			left = append(left, o)
			continue
		}
		at, found, err := t.earlier(ctx, o)
		switch {
		case err != nil:
			t.log.Warn("staged object handed back: it is not known whether it was set aside", "batch", o.Batch, "error", err)
			t.queue.HandBack(t.delay(o.attempts()), o.Object)
		case found != nil:
			t.setAside(ctx, at, []*object{o}, nil)
		default:
			left = append(left, o)
		}
	}
	return left
}

// earlier looks for the manifest that an object was about to be set aside in.
func (t *try) earlier(ctx context.Context, o *object) (objectstore.Object, *objectstore.Found, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(o.progress.Aside, "s3://"), "/")
	at := objectstore.Object{Bucket: bucket, Key: key, Stream: t.stream.Name, ARN: t.stream.ARN, Batch: o.progress.AsideID, InOnePart: true}
	if s3 := t.stream.Destination.S3Of(names.LegS3); s3 != nil {
		at.Role = text(s3.RoleARN)
	}
	found, err := t.manifests.store.Find(ctx, at)
	return at, found, err
}

// succeeded sees objects off that are loaded.
func (t *try) succeeded(ctx context.Context, objects []*object) {
	if len(objects) == 0 {
		return
	}
	t.see(ctx, objects, func(o *object) batch.Delivery {
		d := t.outcome(o, batch.Delivered)
		d.Location, d.Records, d.Bytes = location(t.stream), o.Records, o.Bytes
		return d
	})
	t.errors.Succeeded(ctx, t.stream)
	t.log.Debug("objects loaded", "objects", len(objects))
}

// setAside sees objects off that are in an error manifest.
func (t *try) setAside(ctx context.Context, at objectstore.Object, objects []*object, f *failure) {
	records := 0
	t.see(ctx, objects, func(o *object) batch.Delivery {
		d := t.outcome(o, batch.SetAside)
		d.FailedRecords, d.FailedBytes, d.FailedLocation = o.Records, o.Bytes, at.String()
		records += o.Records
		return d
	})
	why := &delivery.Error{Code: delivery.CodeSetAside, Message: "Staged objects could not be loaded for the retry duration. They are named in an error manifest."}
	if f != nil {
		why = f.describe()
	}
	entry := t.errors.Entry(why)
	entry.Records, entry.SetAsideAt, entry.Attempt, entry.Batch = records, at.String(), objects[0].attempts(), objects[0].Batch
	t.errors.Lost(ctx, t.stream, entry)
	t.log.Error("objects set aside", "objects", len(objects), "records", records, "manifest", at.String(), "code", why.Code, "error", entry.Detail)
}

func (t *try) outcome(o *object, outcome batch.Outcome) batch.Delivery {
	return batch.Delivery{
		Batch: o.Batch, Stream: t.stream.Name, StreamID: t.stream.ID, Leg: names.LegRedshift, Shard: o.Shard, First: o.First, Last: o.Last,
		Outcome: outcome, Version: t.stream.Version, Attempts: o.attempts(), Oldest: o.Oldest, Time: t.now().UTC(),
	}
}

// see writes outcomes down and acknowledges. An object whose outcome cannot be written down is handed back: the next try finds it in
// the ledger, or in its error manifest. A lost acknowledgement is no other.
func (t *try) see(ctx context.Context, objects []*object, outcome func(*object) batch.Delivery) {
	var written []*object
	for i, o := range objects {
		d := outcome(o)
		if err := delivery.WriteDown(ctx, t.js, d); err != nil {
			t.log.Warn("objects handed back: their outcome could not be written down", "error", err)
			t.queue.HandBack(t.delay(1), staged(objects[i:])...)
			break
		}
		t.metrics.settled(d)
		written = append(written, o)
	}
	if len(written) == 0 {
		return
	}
	faultpoint.Hit("redshift.before-ack")
	if err := t.queue.Acknowledge(ctx, staged(written)...); err != nil {
		t.log.Warn("acknowledgement not confirmed: the objects may be looked at once more", "error", err)
		return
	}
	for _, o := range written {
		if !o.before.Any() && !o.kept || !o.loaded {
			continue // of what is set aside it stays known where: a sink that was killed announces it once more
		}
		if err := t.retries.Remove(ctx, retryKey(o.Batch)); err != nil {
			t.log.Debug("what is kept of the object's failures was not removed", "batch", o.Batch, "error", err)
		}
	}
}

// failed deals with the objects that failed, by the reason: they are tried again, or their time is over.
func (t *try) failed(ctx context.Context, failures map[*failure][]*object) {
	over := map[*failure][]*object{}
	for f, objects := range failures {
		if f.stopping {
			t.queue.HandBack(0, staged(objects)...)
			continue
		}
		t.metrics.failed(t.stream.Name, f.code)
		var again []*object
		for _, o := range objects {
			if o.over(t.now(), retryDuration(t.stream)) {
				over[f] = append(over[f], o)
			} else {
				again = append(again, o)
			}
		}
		t.again(ctx, f, again)
	}
	t.end(ctx, over)
}

// again keeps that the objects failed, and hands them back.
func (t *try) again(ctx context.Context, f *failure, objects []*object) {
	if len(objects) == 0 {
		return
	}
	entry := t.errors.Entry(f.describe())
	entry.Batch, entry.Attempt = objects[0].Batch, objects[0].attempts()
	for _, o := range objects {
		entry.Records += o.Records
		o.progress.Aside, o.progress.AsideID = "", ""
		if _, err := t.keep(ctx, o); err != nil {
			t.log.Warn("failure not kept: the object may be retried for longer", "batch", o.Batch, "error", err)
		}
		t.queue.HandBack(t.delay(o.attempts()), o.Object)
	}
	t.log.Warn("objects not loaded, will be tried again", "objects", len(objects), "code", f.code, "error", entry.Detail)
	t.errors.Failed(ctx, t.stream, entry)
}

func (t *try) keep(ctx context.Context, o *object) (stored bool, err error) {
	data, err := json.Marshal(o.progress)
	if err != nil {
		return false, err
	}
	o.kept = true // or it may be, if the answer is lost
	return t.retries.Write(ctx, o.Stream, retryKey(o.Batch), o.before, data)
}

// warnOfLedger says once that objects may be loaded twice.
func (t *try) warnOfLedger(ctx context.Context) {
	if !t.loader.without {
		t.warned = false
		return
	}
	if t.warned {
		return
	}
	t.warned = true
	why := &delivery.Error{Code: codeLedgerNotPermitted, Message: message(codeLedgerNotPermitted)}
	t.log.Warn("the ledger cannot be used: objects may be loaded twice", "table", t.ledger.table, "database", location(t.stream))
	t.errors.Warned(ctx, t.stream, t.errors.Entry(why))
}
