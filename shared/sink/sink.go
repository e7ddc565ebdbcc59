// Package sink runs a service that delivers batches: all of it that is the same for every kind of destination.
//
// It opens the session with NATS, finds out which installation this is, and delivers what the legs of the service take until
// its context ends. What is in work then is finished or handed back (delivery.Config.Grace). The view of the catalog, the
// membership and the datapoints outlive it, and end after it.
package sink

import (
	"context"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/clocks"
	"hydrant/shared/datapoints"
	"hydrant/shared/delivery"
	"hydrant/shared/format"
	"hydrant/shared/members"
	"hydrant/shared/names"
	"hydrant/shared/session"
)

// Sink is a service that delivers batches, without its destinations.
type Sink struct {
	Program string // what the binary is called after hydrant-, and the members among each other
	NATS    broker.Config
	Points  *datapoints.Recorder
	Clocks  *clocks.Watch
	Log     *slog.Logger
	Refused *format.Refused // is told what a newer version wrote; may be nil

	session session.Session
}

// Open is what there is to deliver with.
type Open struct {
	JetStream    jetstream.JetStream
	View         *catalog.View
	Installation string // its id, which is in the names of objects
}

// Ready returns what keeps the service from its work.
func (s *Sink) Ready() error { return s.session.Ready() }

// Run delivers until ctx ends, with one runner for each leg, which runners makes. While NATS is away it waits, and is not
// ready. It fails when waiting would not help.
func (s *Sink) Run(ctx context.Context, runners func(Open) []*delivery.Runner) error {
	s.session.Refused = s.Refused
	opened, err := s.session.Open(ctx, s.NATS, "hydrant-"+s.Program, s.Log)
	if err != nil {
		return err
	}
	defer opened.Conn.Close()
	open := Open{JetStream: opened.JetStream, View: opened.View}
	err = session.Persist(ctx, s.Log, func() (err error) {
		open.Installation, err = broker.InstallationID(ctx, open.JetStream)
		return err
	})
	if err != nil {
		return err
	}
	s.serve(ctx, open, runners(open))
	return ctx.Err()
}

// serve delivers until ctx ends. The view, the membership, the clocks and the datapoints outlive the deliveries that are being finished.
func (s *Sink) serve(ctx context.Context, open Open, runners []*delivery.Runner) {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	running.Go(func() {
		open.View.Run(background, func(name names.Stream) {
			for _, r := range runners {
				r.Changed(ctx, name)
			}
		})
	})
	// Nobody asks who the members are but the operator: the replicas share consumers.
	running.Go(func() { members.NewGroup(open.JetStream, s.Program, s.Log).Run(background, func() {}) })
	running.Go(func() { s.Clocks.Run(background, open.JetStream, s.NATS) })
	running.Go(func() { _ = s.Points.Run(background, open.JetStream.Conn()) }) // it ends with the context, and for no other reason
	var delivering sync.WaitGroup
	for _, r := range runners {
		delivering.Go(func() { _ = r.Run(ctx) }) // the same
	}
	delivering.Wait()
}
