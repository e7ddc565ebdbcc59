package redshift

import (
	"context"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
)

// strikes is after how many objects that failed one after the other, each by itself, the others are left together: then it is more
// likely the table or the options than the objects.
const strikes = 3

// copies loads objects with one COPY: all, or none.
type copies func(ctx context.Context, objects []*object) (copyResult, *failure)

// round is one try at each of some objects. What becomes of an object is in the object.
type round struct {
	load  copies
	now   func() time.Time
	retry time.Duration
	told  func(*failure) // of each COPY that was carried out, and nil where it loaded

	struck  int      // objects that failed by themselves, one after the other
	latest  *failure // of them
	stopped *failure // what would fail any other object as well
}

// retryDuration is how long objects of a delivery stream are tried for, from the first failure.
func retryDuration(stream *catalog.DeliveryStream) time.Duration {
	options := stream.Destination.Redshift.Description.RetryOptions
	if options == nil || options.DurationInSeconds == nil {
		return time.Hour // the guide's default
	}
	return time.Duration(*options.DurationInSeconds) * time.Second
}

// run tries all: together those that may be loaded together, and then each by itself those that failed by themselves before. When
// several of those fail again, the others of them wait for another time, so that they do not hold up what is good.
func (r *round) run(ctx context.Context, objects []*object) {
	var together []*object
	var alone []*object
	for _, o := range objects {
		if o.progress.Alone {
			alone = append(alone, o)
		} else {
			together = append(together, o)
		}
	}
	r.isolate(ctx, together)
	r.struck = 0
	for _, o := range alone {
		one := []*object{o}
		if r.struck >= strikes {
			one = r.last(one, r.latest)
		}
		r.isolate(ctx, one)
	}
}

// isolate loads objects, and where they fail on data, each half by itself, until those that are the cause stand alone. Each half is
// a transaction of its own, so that what is good is loaded.
func (r *round) isolate(ctx context.Context, objects []*object) {
	objects = pending(objects)
	if len(objects) == 0 {
		return
	}
	f := r.stopped
	if f == nil {
		f = r.once(ctx, objects)
	}
	switch {
	case f == nil:
		r.struck = 0
		r.settle(objects, nil)
	case f.scope == ofAll:
		r.stopped = f
		r.settle(objects, f)
	case len(objects) == 1:
		objects[0].progress.Alone = true
		r.struck++
		r.latest = f
		r.settle(objects, f)
	default:
		r.halve(ctx, objects, f)
	}
}

// halve goes on with the halves. When everything seems to fail, only those objects go on whose time is over: they must not be
// given up for the fault of others.
func (r *round) halve(ctx context.Context, objects []*object, f *failure) {
	middle := len(objects) / 2
	for _, half := range [][]*object{objects[:middle], objects[middle:]} {
		if r.struck >= strikes {
			half = r.last(half, f)
		}
		r.isolate(ctx, half)
	}
}

// last are the objects that are not tried again after this round. The others failed with those that they were with.
func (r *round) last(objects []*object, f *failure) (last []*object) {
	for _, o := range objects {
		if o.over(r.now(), r.retry) {
			last = append(last, o)
		} else {
			o.failed = f
		}
	}
	return last
}

// once runs COPYs until one was carried out: of objects that are in the ledger already there is none. Each time there are fewer left.
func (r *round) once(ctx context.Context, objects []*object) *failure {
	for {
		left := pending(objects)
		if len(left) == 0 {
			return nil
		}
		result, f := r.load(ctx, left)
		if result.ran {
			r.told(f)
		}
		for _, o := range left {
			o.progress.Unanswered = o.progress.Unanswered || result.unanswered
		}
		if f != nil || len(result.already) == 0 {
			return f
		}
		found(left, result.already)
	}
}

func found(objects []*object, already map[batch.ID]bool) {
	for _, o := range objects {
		if already[o.Batch] {
			o.loaded = true
		}
	}
}

// settle writes down what became of the objects that it is not known of yet.
func (r *round) settle(objects []*object, f *failure) {
	for _, o := range pending(objects) {
		o.loaded, o.failed = f == nil, f
	}
}

func pending(objects []*object) (left []*object) {
	for _, o := range objects {
		if !o.loaded {
			left = append(left, o)
		}
	}
	return left
}
