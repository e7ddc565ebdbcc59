package redshift

import (
	"context"
	"slices"
	"strconv"
	"time"

	"hydrant/shared/faultpoint"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
)

// leastDoubt is how long objects that may be loaded wait for a ledger that can be asked, after the retry duration, which they wait for
// once more if that is longer.
const leastDoubt = 10 * time.Minute

// waits tells that it is not too late to learn whether an object is loaded of which no answer told.
func (o *object) waits(now time.Time, retry time.Duration) bool {
	return !o.before.Any() || now.Before(o.before.Since.Add(retry+max(retry, leastDoubt)))
}

// end deals with objects whose time is over, by the reason. The ledger is asked before they are set aside: of what is loaded, though no
// answer said so, a COPY by hand would make a double.
func (t *try) end(ctx context.Context, over map[*failure][]*object) {
	var all []*object
	for _, objects := range over {
		all = append(all, objects...)
	}
	if len(all) == 0 {
		return
	}
	said := t.loader.ask(ctx, t.stream, all)
	if said.failure != nil && said.failure.stopping {
		t.queue.HandBack(0, staged(all)...)
		return
	}
	found(all, said.loaded)
	for f, objects := range over {
		t.endUnloaded(ctx, f, said, pending(objects))
	}
	t.succeeded(ctx, slices.DeleteFunc(all, func(o *object) bool { return !o.loaded }))
}

// endUnloaded sets objects aside, unless they may be loaded and there still is time to ask the ledger.
func (t *try) endUnloaded(ctx context.Context, f *failure, said answer, objects []*object) {
	var wait, certain, unsure []*object
	for _, o := range objects {
		switch {
		case said.known || !o.progress.Unanswered:
			certain = append(certain, o)
		case said.failure != nil && o.waits(t.now(), retryDuration(t.stream)):
			wait = append(wait, o)
		default:
			unsure = append(unsure, o)
		}
	}
	if len(wait) > 0 {
		t.again(ctx, f.because("the objects may be loaded, and are not set aside before the ledger can be asked ("+said.failure.err.Error()+")"), wait)
	}
	t.giveUp(ctx, f, certain)
	t.giveUp(ctx, f.because(mayBeLoaded), unsure)
}

// mayBeLoaded is told with objects that are set aside without knowing.
const mayBeLoaded = "the objects may be loaded: an answer of the database was lost, and the ledger could not be asked since. Look before you load them by hand"

// giveUp names the objects in an error manifest. Which one is kept before, so that an attempt after a kill or a lost answer looks for
// that one first.
func (t *try) giveUp(ctx context.Context, f *failure, objects []*object) {
	if len(objects) == 0 {
		return
	}
	at, err := t.manifests.object(t.stream, skipped, objects)
	if err != nil {
		t.notGivenUp(ctx, err, objects)
		return
	}
	for _, o := range objects {
		o.progress.Aside, o.progress.AsideID = at.String(), at.Batch
		if stored, err := t.keep(ctx, o); err != nil || !stored {
			t.log.Warn("objects handed back: it could not be kept where they are set aside", "error", err)
			t.queue.HandBack(t.delay(o.attempts()), staged(objects)...)
			return
		}
	}
	at.Metadata = asideMetadata(f, objects)
	faultpoint.Hit("redshift.before-error-manifest")
	err = t.manifests.write(ctx, at, objects, t.held(objects))
	faultpoint.Hit("redshift.error-manifest")
	if err != nil {
		t.notGivenUp(ctx, err, objects)
		return
	}
	t.setAside(ctx, at, objects, f)
}

// notGivenUp hands back objects for which no error manifest could be written: nothing is dropped.
func (t *try) notGivenUp(ctx context.Context, err error, objects []*object) {
	f := failed(ctx, err, nil)
	if f.stopping {
		t.queue.HandBack(0, staged(objects)...)
		return
	}
	entry := t.errors.Entry(f.describe())
	entry.Batch, entry.Attempt = objects[0].Batch, objects[0].attempts()
	t.log.Error("objects handed back: their error manifest could not be written", "objects", len(objects), "code", f.code, "error", entry.Detail)
	t.errors.Failed(ctx, t.stream, entry)
	t.queue.HandBack(t.delay(objects[0].attempts()), staged(objects)...)
}

// asideMetadata says why, beside the manifest.
func asideMetadata(f *failure, objects []*object) map[string]string {
	records := 0
	for _, o := range objects {
		records += o.Records
	}
	return map[string]string{
		objectstore.MetadataRecords: strconv.Itoa(records), redrive.MetadataCode: f.code, redrive.MetadataReason: objectstore.MetadataText(f.err.Error()),
	}
}
