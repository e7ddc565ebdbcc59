package buffer

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/members"
	"hydrant/shared/names"
)

// allotment is the cutters that are this replica's to run, as the catalog and the membership have it.
//
// Both may be seen late or differently by two replicas. That a key has two cutters for a while, or a cutter whose stream
// is deleted, is safe: see cutter.send.
type allotment struct {
	*env
	view    *catalog.View
	group   *members.Group
	changed chan struct{}
	cutters map[key]*cutter // of the goroutine in run
	streams map[names.Stream]*catalog.DeliveryStream
}

// look makes run look at catalog and membership again. It may be called from any goroutine.
func (a *allotment) look() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// run keeps the cutters until ctx ends, and returns after they have ended.
func (a *allotment) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	defer a.metrics.show(nil)
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.changed:
			a.reconcile(ctx, &running)
		}
	}
}

func (a *allotment) reconcile(ctx context.Context, running *sync.WaitGroup) {
	streams := a.view.All()
	wanted := a.wanted(streams)
	for k, c := range a.cutters {
		if _, keep := wanted[k]; !keep {
			c.cancel()
			delete(a.cutters, k)
		}
	}
	for k, h := range wanted {
		if c := a.cutters[k]; c != nil {
			c.configure(h)
			continue
		}
		cutting, cancel := context.WithCancel(ctx)
		c := newCutter(k, a.env, h, cancel)
		a.cutters[k] = c
		running.Go(func() { defer cancel(); c.run(cutting) })
	}
	a.forget(streams)
	a.metrics.show(a.cutters)
}

// wanted returns the keys that are this replica's, with their hints.
func (a *allotment) wanted(streams map[names.Stream]*catalog.DeliveryStream) map[key]hints {
	wanted := map[key]hints{}
	for _, d := range streams {
		if d.Status != types.DeliveryStreamStatusActive {
			continue
		}
		for _, leg := range d.Legs() {
			for shard := range names.Shard(d.Shards) {
				k := key{leg.Leg, names.Log{Stream: d.Name, Shard: shard, ID: d.ID}}
				if a.group.Owns(k.share()) {
					wanted[k] = hintsOf(d, leg)
				}
			}
		}
	}
	return wanted
}

// forget drops the series of delivery streams that are gone, or are others of the same name.
func (a *allotment) forget(streams map[names.Stream]*catalog.DeliveryStream) {
	for name, before := range a.streams {
		if now := streams[name]; now == nil || now.ID != before.ID {
			a.metrics.forget(name)
		}
	}
	a.streams = streams
}

// hintsOf returns the hints of a leg. An interval that would let records expire while they wait is shortened.
func hintsOf(d *catalog.DeliveryStream, leg catalog.LegHints) hints {
	h := hints{version: d.Version, bytes: leg.Bytes, interval: leg.Interval, created: d.Created, since: leg.Since}
	if kept := d.Retention(); kept > 0 {
		h.interval = min(h.interval, kept/2)
	}
	return h
}
