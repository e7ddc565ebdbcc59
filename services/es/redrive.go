package es

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
)

// What a redrive waits between two passes over a file.
const (
	minRedrivePause = time.Second
	maxRedrivePause = 10 * time.Second
)

// Redriver indexes again the documents of a delivery stream that were set aside.
//
// Each is sent with its own id, to its own index, with create: however often, by whomever and beside whatever else, it is indexed once.
//
//   - A lost answer, a repeat, a killed redrive: the documents are sent again, and 409 says that they are there.
//   - A process that wakes after a minute sends what another redrive has sent: the same.
//   - Two redrives at once share a file's documents without knowing of each other, and each counts what the other sent as there
//     already. Both may write what is left (setAsideAgain), and both move the file.
//   - Beside the running service: a file is there when all of it is written. Where a batch is delivered again whose file was redriven and
//     moved already, because its worker was killed before it acknowledged, the documents are answered with 409; those that still fail
//     are set aside once more.
//
// Documents without an id of their own (NO_DOCUMENT_ID) get one from where they stand in the file, and are indexed once by all redrives
// together. What the service indexed of them before its answer was lost is not known by any id, and is indexed again.
//
// The index is the line's, never another: in another nothing would know a document again. So there is no setting for it.
type Redriver struct {
	to     *destination
	stream *catalog.DeliveryStream
}

var _ redrive.Destination = (*Redriver)(nil)

// OpenRedrive returns a Redriver of a delivery stream with a search destination, whose Close is the caller's. Nothing is asked of S3 or
// the cluster yet.
func OpenRedrive(ctx context.Context, cfg Config, d *catalog.DeliveryStream, log *slog.Logger) (*Redriver, error) {
	cfg.Workers, cfg.WorkersPerStream, cfg.RetryMin, cfg.RetryMax = 1, 1, minRedrivePause, maxRedrivePause
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	store, err := openStore(ctx, cfg, objectstore.NewBuffers(cfg.Settings), log)
	if err != nil {
		return nil, err
	}
	servers, err := newServers(cfg, store)
	if err != nil {
		store.Close()
		return nil, err
	}
	to := newDestination(cfg, servers, store, nil, newBuffers(cfg.requests(), cfg.BulkSize), log.With("stream", d.Name))
	return &Redriver{to: to, stream: d}, nil
}

// Store is where the files are.
func (r *Redriver) Store() *objectstore.Store { return r.to.store }

// Close gives back the connections.
func (r *Redriver) Close() {
	r.to.servers.close()
	r.to.store.Close()
}

// Source implements redrive.Destination.
func (r *Redriver) Source() redrive.Source {
	return redrive.Source{Stream: r.stream, Leg: names.LegES, S3: r.stream.Destination.ErrorsS3(), ErrorType: errorType}
}

// Redrive implements redrive.Destination. A document that the cluster will never take is left, in a new file where others of its file were
// delivered. One that it does not take for now leaves the file as it is: the next redrive finds the others in the index.
func (r *Redriver) Redrive(ctx context.Context, item redrive.Item) (redrive.Outcome, error) {
	run := r.begin(item)
	err := run.survey(ctx)
	if err == nil {
		err = run.deliver(ctx)
	}
	if err != nil {
		return run.broken(ctx, err)
	}
	out := run.outcome()
	if out.Left == 0 || run.pendingOrNothingDone() {
		return out, nil
	}
	o, err := run.setAsideAgain(ctx, r.to.now())
	if err != nil {
		return run.broken(ctx, err)
	}
	out.Rest = o.String()
	return out, nil
}

func (r *Redriver) begin(item redrive.Item) *redriving {
	t := &try{
		destination: r.to, Attempt: delivery.Attempt{Stream: r.stream, Held: func() error { return nil }},
		log: r.to.log.With("object", item.Object.String()), ledger: newLedger(0),
	}
	return &redriving{try: t, item: item}
}

// outcome is what became of the file's documents.
func (r *redriving) outcome() redrive.Outcome {
	t := r.ledger.tally()
	out := redrive.Outcome{Delivered: t.done - r.already, Already: r.already, Left: t.failed + t.pending}
	switch {
	case t.pending > 0:
		out.Why = byHand(describe(r.mostFrequent()))
	case t.failed > 0:
		out.Why = leftOver(r.why())
	}
	return out
}

// pendingOrNothingDone tells that the file stays as it is, since all that is left to do about it is to try again.
func (r *redriving) pendingOrNothingDone() bool {
	t := r.ledger.tally()
	return t.pending > 0 || t.done == 0
}

// broken is what an error means: the end of the run, or of this file alone.
func (r *redriving) broken(ctx context.Context, err error) (redrive.Outcome, error) {
	var line *lineError
	var known *delivery.Error
	out := redrive.Outcome{}
	if r.ledger.whole {
		out = r.outcome()
	}
	switch {
	case ctx.Err() != nil:
		return out, context.Cause(ctx)
	case errors.Is(err, errMoved):
		return redrive.Outcome{Delivered: out.Delivered, Already: out.Already}, nil
	case errors.As(err, &line), errors.Is(err, errChanged):
		return redrive.Outcome{Why: unreadable(err)}, nil
	case errors.As(err, &known):
		return out, byHand(known)
	}
	return out, byHand(describe(err))
}
