package redshift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
)

// Redriver loads what the error manifests of one delivery stream name. It does as the service does, with the same transaction: what is
// in the ledger is left out, and what it loads is noted there.
//
//   - A lost answer: the run ends, and the next one's guard finds out whether the objects were loaded.
//   - A repeat, also by another process at the same time, or by the service of which an acknowledgement was lost: the guard.
//   - A process that wakes after a minute: the guard, for what it sends then; if it was stopped after that, its text runs as a whole or
//     not at all.
//
// Where the ledger may not be used nothing of that holds, which is why it then has to be asked for.
type Redriver struct {
	cfg    Config
	stream *catalog.DeliveryStream
	store  *objectstore.Store
	loader *loader
	now    func() time.Time
}

var _ redrive.Destination = (*Redriver)(nil)

// errInsist says what to do where the ledger is not permitted.
var errInsist = errors.New("the ledger is not permitted; with --without-ledger it is loaded all the same, and a run that is cut short may load twice")

// OpenRedrive returns a Redriver, whose Close is the caller's. Nothing is asked of the database yet.
func OpenRedrive(ctx context.Context, cfg Config, js jetstream.JetStream, stream *catalog.DeliveryStream, withoutLedger bool, log *slog.Logger) (*Redriver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	installation, err := broker.InstallationID(ctx, js)
	if err != nil {
		return nil, err
	}
	store, err := openStore(ctx, cfg, objectstore.NewBuffers(cfg.Settings), log)
	if err != nil {
		return nil, err
	}
	return newRedriver(cfg, manifests{store: store, installation: installation}, stream, withoutLedger, log)
}

func newRedriver(cfg Config, m manifests, stream *catalog.DeliveryStream, withoutLedger bool, log *slog.Logger) (*Redriver, error) {
	noted, err := newLedger(cfg.LedgerSchema, cfg.LedgerTable)
	if err != nil {
		return nil, err
	}
	return &Redriver{
		cfg: cfg, stream: stream, store: m.store, now: time.Now,
		loader: &loader{cfg: cfg, ledger: noted, manifests: m, log: log, now: time.Now, redriven: true, insist: !withoutLedger},
	}, nil
}

// Store is where the error manifests are.
func (r *Redriver) Store() *objectstore.Store { return r.store }

// Close gives back the connections.
func (r *Redriver) Close() {
	r.loader.close()
	r.store.Close()
}

// Source implements redrive.Destination. Error manifests are beside the staged objects and not under their prefix.
func (r *Redriver) Source() redrive.Source {
	under := *r.stream.Destination.S3Of(names.LegS3)
	under.Prefix = nil
	return redrive.Source{Stream: r.stream, Leg: names.LegRedshift, S3: &under, ErrorType: skipped}
}

// Redrive implements redrive.Destination. Objects that fail on data cost no other: they are found by halves, and what is left is
// named in a manifest of its own.
func (r *Redriver) Redrive(ctx context.Context, item redrive.Item) (redrive.Outcome, error) {
	named, err := r.read(ctx, item)
	if errors.Is(err, errOtherForm) {
		return redrive.Outcome{Why: &delivery.Error{Class: delivery.Permanent, Code: codeInternal, Message: "The manifest is left as it is.", Err: err}}, nil
	}
	if err != nil {
		return redrive.Outcome{}, err
	}
	objects, err := r.lookUp(ctx, item, named)
	if err != nil {
		return redrive.Outcome{}, err
	}
	done, err := r.load(ctx, objects)
	out := done.outcome()
	if !done.some() {
		return out, err
	}
	rest, written := r.writeRest(ctx, done.left())
	if written != nil {
		return out, errors.Join(err, fmt.Errorf("what is left could not be named in a manifest of its own: %w", written))
	}
	out.Rest = rest.String()
	return out, err
}

// load loads what can be, in as many COPYs as that takes. Its error is of what any other object would fail of.
func (r *Redriver) load(ctx context.Context, objects []*object) (*redriven, error) {
	done := &redriven{objects: objects}
	rounds := &round{
		now: r.now, told: func(*failure) {}, // with a retry duration of zero, each that fails is tried by itself
		load: func(ctx context.Context, objects []*object) (copyResult, *failure) {
			result, f := r.loader.load(ctx, r.stream, objects, ctx.Err)
			done.note(result)
			return result, f
		},
	}
	for from := 0; from < len(objects); from += r.cfg.CopyObjects {
		rounds.run(ctx, triable(objects[from:min(from+r.cfg.CopyObjects, len(objects))]))
	}
	if rounds.stopped == nil {
		return done, nil
	}
	if ctx.Err() != nil {
		return done, ctx.Err()
	}
	return done, rounds.stopped.describe()
}
