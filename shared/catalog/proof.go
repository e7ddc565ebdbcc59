package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/names"
)

// proofKey is the key of the proofs. No delivery stream has it, and its one entry says that there is nothing under it, so that a
// reader of any version passes over it.
const proofKey = "/proof"

// ErrFull means that a mark could not be stored because there is no room for it, or because the store failed.
var ErrFull = errors.New("the store takes no mark")

// Prove is Freshen by proof: what the view holds when it returns was in the catalog when Prove was called, or came later, even if a
// server of the cluster believes what is no longer so. It costs a write, of which every view is told; calls at about the same time share
// one, and it waits for up to a tenth of a second so that there are not many.
//
// For it a mark is stored, which takes a majority of the servers, as any write does; all that was stored before is behind it. When
// the answer is lost nothing is known, and Prove returns an error: a mark that is stored all the same, at once, a minute later, or
// twice, says nothing to anybody. A process that stops after Prove returned, and wakes after a minute, has a proof of what was so before
// it stopped. A store that is full takes no mark: the error is then ErrFull.
func (v *View) Prove(ctx context.Context) error {
	return v.catchUp(ctx, func(ctx context.Context) (uint64, error) {
		revision, err := v.marks.ask(ctx, v.catalog.mark)
		if err != nil {
			err = fmt.Errorf("store a mark: %w", err)
		}
		return revision, err
	})
}

// ProveUnlessFull is Prove where there is room for a mark, and Freshen in a store that is full. For what makes room in it: that
// must not wait for room.
func (v *View) ProveUnlessFull(ctx context.Context) error {
	err := v.Prove(ctx)
	if err == nil {
		v.unproved.Store(false)
	}
	if !errors.Is(err, ErrFull) {
		return err
	}
	if !v.unproved.Swap(true) {
		v.log.Warn("what one NATS server says of the catalog has to do, since the store is full", "error", err)
	}
	return v.Freshen(ctx)
}

// proveTries is how often a view that begins is given the time to read all documents.
const proveTries = 4

// ReadProved is Read by proof, in the way of View.ProveUnlessFull, for who has no view. It reads all documents.
func (c *Catalog) ReadProved(ctx context.Context, name names.Stream, log *slog.Logger) (*DeliveryStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	v := NewView(c, log)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() { v.Run(ctx, nil) })
	err := v.ProveUnlessFull(ctx)
	for n := 1; n < proveTries && err != nil && ctx.Err() == nil; n++ {
		err = v.ProveUnlessFull(ctx)
	}
	if err == nil {
		err = v.Unreadable(name)
	}
	if err != nil {
		return nil, err
	}
	if d := v.Get(name); d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, name)
}

// mark stores a mark and returns its revision.
func (c *Catalog) mark(ctx context.Context) (uint64, error) {
	mark := nats.NewMsg("$KV." + names.CatalogBucket + "." + proofKey)
	mark.Header.Set("KV-Operation", "DEL")
	ack, err := c.js.PublishMsg(ctx, mark, jetstream.WithExpectStream("KV_"+names.CatalogBucket))
	switch {
	case noRoom(err):
		return 0, fmt.Errorf("%w: %w", ErrFull, err)
	case err != nil:
		return 0, err
	}
	return ack.Sequence, nil
}

// noRoom tells that JetStream refuses a message because the account (10002) or the server (10023) has what it may have, for want of
// storage (10047), or because the store failed (10077).
func noRoom(err error) bool {
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.ErrorCode {
	case 10002, 10023, 10047, 10077:
		return true
	default:
		return false
	}
}

// end returns the last revision of which the leader knows.
//
// While there is no leader NATS lets a server that only follows answer, even one that is cut off and behind, for as long as that
// lasts.
func (c *Catalog) end(ctx context.Context) (uint64, error) {
	info, err := c.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return 0, broker.ErrLeaderless
	}
	return info.State.LastSeq, nil
}
