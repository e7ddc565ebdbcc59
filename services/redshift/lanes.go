package redshift

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// lanes are the delivery streams that are loaded into Redshift, each in a lane of its own.
type lanes struct {
	*desk
	changes chan names.Stream
	open    map[names.Stream]*lane
}

func newLanes(d *desk) *lanes {
	return &lanes{desk: d, changes: make(chan names.Stream, 1024), open: map[names.Stream]*lane{}}
}

// changed tells that a delivery stream is new, other or gone.
func (l *lanes) changed(ctx context.Context, name names.Stream) {
	select {
	case l.changes <- name:
	case <-ctx.Done():
	}
}

// run loads until ctx ends. A COPY that then runs has the grace to end.
func (l *lanes) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-l.changes:
			l.reconcile(ctx, name, &running)
		}
	}
}

// reconcile opens, wakes or closes the lane of a delivery stream.
func (l *lanes) reconcile(ctx context.Context, name names.Stream, running *sync.WaitGroup) {
	d, have := l.view.Get(name), l.open[name]
	if have != nil && wanted(d) && have.stream.ID == d.ID {
		have.signal()
		return
	}
	if have != nil {
		have.cancel()
		delete(l.open, name)
		l.metrics.forget(have.stream)
		l.errors.Forget(have.stream.ID)
	}
	if !wanted(d) {
		return
	}
	laneCtx, cancel := context.WithCancel(ctx)
	opened := newLane(l.desk, d, cancel)
	l.open[name] = opened
	running.Go(func() { opened.run(laneCtx) })
}

func wanted(d *catalog.DeliveryStream) bool {
	return d != nil && d.Status == types.DeliveryStreamStatusActive && d.Destination.Redshift != nil
}
