package redrive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"hydrant/shared/objectstore"
)

// Range is the times of being set aside that are meant: from From on, and before To. A zero time is no bound.
type Range struct{ From, To time.Time }

func (r Range) has(at time.Time) bool {
	return !at.Before(r.From) && (r.To.IsZero() || at.Before(r.To))
}

// Walk is one run over what is set aside, the oldest first.
type Walk struct {
	Store  *objectstore.Store
	Range  Range
	DryRun bool
	Limit  int // items, at most; 0 means all
	// Found is told how many objects may be items, before the first is looked at. Told, of each item, what became of it. nil tells
	// nobody.
	Found func(candidates int)
	Told  func(Step)
}

// Step is what became of one item.
type Step struct {
	Item    Item
	Outcome Outcome
	Aside   string // where it was moved to, as s3://bucket/key; empty where it stays
	Err     error  // which ended the run
}

// Run hands each item to the destination, and moves those aside that are dealt with. It ends at the first error of the destination, or
// of S3, and when ctx ends; what is done by then is in the report, and the next run goes on from there.
func (w Walk) Run(ctx context.Context, to Destination) (Report, error) {
	report := Report{DryRun: w.DryRun}
	at, err := placeOf(to.Source())
	if err != nil {
		return report, err
	}
	found, err := w.list(ctx, at)
	if err != nil {
		return report, err
	}
	if w.Found != nil {
		w.Found(len(found))
	}
	for _, listed := range found {
		if w.Limit > 0 && report.Items == w.Limit {
			report.More = true
			break
		}
		if err := w.visit(ctx, at, listed, to, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

// list is what may be items, by name and time, the oldest first.
func (w Walk) list(ctx context.Context, at place) (found []objectstore.Listed, err error) {
	for listed, err := range w.Store.List(ctx, at.in, at.prefix) {
		if err != nil {
			return nil, err
		}
		if at.mayBe(listed.Key) && w.Range.has(listed.Modified) {
			found = append(found, listed)
		}
	}
	slices.SortFunc(found, func(a, b objectstore.Listed) int {
		return cmp.Or(a.Modified.Compare(b.Modified), cmp.Compare(a.Key, b.Key))
	})
	return found, nil
}

// visit looks at one object, and deals with it if it is an item. One that is gone meanwhile was moved by another run.
func (w Walk) visit(ctx context.Context, at place, listed objectstore.Listed, to Destination, report *Report) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	item := Item{Object: at.object(listed.Key)}
	said, err := w.Store.Describe(ctx, item.Object)
	if err != nil || said == nil {
		return err
	}
	item.Object.Batch, item.Object.Metadata = batchOf(said.Metadata), said.Metadata
	item.Size, item.At, item.Version = said.Size, listed.Modified, said.Version
	if !item.of(to.Source()) {
		report.Others++
		return nil
	}
	step := Step{Item: item}
	if !w.DryRun {
		step.Outcome, step.Aside, step.Err = w.redrive(ctx, item, to)
	}
	report.add(step)
	if w.Told != nil {
		w.Told(step)
	}
	return step.Err
}

// redrive delivers an item and moves it aside. That which was delivered is moved also when ctx ended meanwhile: so it is found out
// once less that it was.
//
//   - Killed in between, or the move fails: the next run hands the item to the destination, which finds that all of it is delivered.
//   - A process that wakes after a minute, before the move: the item is gone, and that is as good; if something else came under its name
//     meanwhile, as where a service that stalled sets the same aside again, that stays (Store.Move).
//   - Two runs at once: both move the same bytes to the same name.
func (w Walk) redrive(ctx context.Context, item Item, to Destination) (Outcome, string, error) {
	out, ended := to.Redrive(ctx, item)
	if !out.dealtWith() || ended != nil && out.Rest == "" {
		return out, "", ended
	}
	moved := item.Object
	moved.Key = aside + item.Object.Key
	if err := w.Store.Move(context.WithoutCancel(ctx), item.Object, item.Version, moved.Key); err != nil {
		return out, "", errors.Join(ended, fmt.Errorf("delivered, but not moved to %s: %w", moved, err))
	}
	return out, moved.String(), ended
}
