package redshift

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/staging"
)

// table is what COPYs load into, in the place of a database: it takes all of a COPY or nothing.
type table struct {
	bad     map[batch.ID]bool
	before  map[batch.ID]bool // in the ledger already
	refuses *failure          // everything
	rows    []batch.ID
	copies  []string
}

func (tb *table) load(_ context.Context, objects []*object) (copyResult, *failure) {
	list := ids(objects)
	already := map[batch.ID]bool{}
	for _, id := range list {
		if tb.before[id] || slices.Contains(tb.rows, id) {
			already[id] = true
		}
	}
	if len(already) > 0 {
		return copyResult{already: already}, nil
	}
	tb.copies = append(tb.copies, fmt.Sprint(list))
	if tb.refuses != nil {
		return copyResult{ran: true}, tb.refuses
	}
	for _, id := range list {
		if tb.bad[id] {
			return copyResult{ran: true}, &failure{verdict: verdict{codeDataLoad, ofSome}, err: errors.New("bad " + string(id))}
		}
	}
	tb.rows = append(tb.rows, list...)
	return copyResult{ran: true}, nil
}

func some(text string) (objects []*object) {
	for id := range strings.FieldsSeq(text) {
		o := &object{Object: &staging.Object{}}
		o.Batch = batch.ID(id)
		objects = append(objects, o)
	}
	return objects
}

func (tb *table) round(retry time.Duration) *round {
	return &round{load: tb.load, now: time.Now, retry: retry, told: func(*failure) {}}
}

func set(text string) map[batch.ID]bool {
	m := map[batch.ID]bool{}
	for id := range strings.FieldsSeq(text) {
		m[batch.ID(id)] = true
	}
	return m
}

// outcome is what became of objects, in their order: loaded, failed, or failed by itself.
func outcome(objects []*object) string {
	var b strings.Builder
	for _, o := range objects {
		switch {
		case o.loaded && o.failed == nil:
			b.WriteByte('+')
		case o.loaded:
			b.WriteByte('?')
		case o.failed == nil:
			b.WriteByte('0')
		case o.progress.Alone:
			b.WriteByte('!')
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}

func TestABadObjectCostsNoOther(t *testing.T) {
	for _, c := range []struct {
		name, objects, bad, before string
		alone                      int // of the objects at the end, so many failed by themselves before
		retry                      time.Duration
		want                       string
		copies                     int
	}{
		{name: "all are good", objects: "a b c d", retry: time.Hour, want: "++++", copies: 1},
		{name: "one is bad", objects: "a b c d e f g h", bad: "f", retry: time.Hour, want: "+++++!++", copies: 7},
		{name: "two are bad", objects: "a b c d", bad: "a d", retry: time.Hour, want: "!++!", copies: 7},
		{name: "one that is alone", objects: "a", bad: "a", retry: time.Hour, want: "!", copies: 1},
		{name: "some are loaded", objects: "a b c", before: "a c", retry: time.Hour, want: "+++", copies: 1},
		{name: "all are loaded", objects: "a b c", before: "a b c", retry: time.Hour, want: "+++"},
		{name: "some are loaded, one is bad", objects: "a b c d", before: "a", bad: "c", retry: time.Hour, want: "++!+", copies: 5},
		{name: "what failed by itself is not loaded with others", objects: "a b x y", bad: "x", alone: 2, retry: time.Hour, want: "++!+", copies: 3},
		{name: "all are bad", objects: "a b c d e f g h", bad: "a b c d e f g h", retry: time.Hour, want: "!!!-----", copies: 7},
		{name: "many that failed by themselves fail again", objects: "a p q r s t", bad: "p q r s t", alone: 5, retry: time.Hour, want: "+!!!!!", copies: 4},
		{name: "all are bad, for the last time", objects: "a b c d e f g h", bad: "a b c d e f g h", want: "!!!!!!!!", copies: 15},
		{name: "nearly all are bad, for the last time", objects: "a b c d e f g h", bad: "a b c d e f g", want: "!!!!!!!+", copies: 15},
	} {
		t.Run(c.name, func(t *testing.T) {
			tb := &table{bad: set(c.bad), before: set(c.before)}
			objects := some(c.objects)
			for _, o := range objects[len(objects)-c.alone:] {
				o.progress.Alone = true
			}
			tb.round(c.retry).run(t.Context(), objects)
			wantEqual(t, "the outcome", outcome(objects), c.want)
			wantEqual(t, "the number of COPYs", len(tb.copies), c.copies)
			for _, o := range objects {
				if o.loaded && tb.bad[o.Batch] || !o.loaded && o.failed == nil {
					t.Errorf("%s: loaded is %v, and failed %v", o.Batch, o.loaded, o.failed)
				}
			}
		})
	}
}

func TestWhatRefusesAllIsNotAskedAgain(t *testing.T) {
	tb := &table{refuses: &failure{verdict: verdict{codeTableNotFound, ofAll}, err: errors.New("no table")}}
	objects := some("a b c d")
	objects[3].progress.Alone = true
	tb.round(0).run(t.Context(), objects)
	wantEqual(t, "the outcome", outcome(objects), "---!")
	wantEqual(t, "the number of COPYs", len(tb.copies), 1)
	wantEqual(t, "the marks of those that failed together", objects[0].progress.Alone, false)
}

// TestRetryDuration counts from the first failure, and allows one try.
func TestRetryDuration(t *testing.T) {
	now := time.Now()
	first := &object{Object: &staging.Object{}}
	wantEqual(t, "the end without a failure", first.over(now, time.Hour), false)
	wantEqual(t, "the end with no duration", first.over(now, 0), true)
}
