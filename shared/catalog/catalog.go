// Package catalog keeps the configuration of the delivery streams: one JSON document a stream in a JetStream key-value
// bucket that every service watches.
//
// Guarantees:
//   - A change is a compare-and-set: of two that race, one starts over on what the other wrote.
//   - A View never goes back, and can be made to catch up with all that was written before: by a look (View.Freshen), or by a
//     proof (View.Prove). It may lag: what a stale view could spoil is guarded where it happens, by the stream's id in the names of
//     logs and consumers.
//   - A document written by a newer version of Hydrant is refused, not guessed at; the others are served.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/names"
	"hydrant/shared/pause"
)

// Errors of the catalog.
var (
	ErrExists   = errors.New("delivery stream exists")
	ErrNotFound = errors.New("delivery stream not found")
)

// Catalog reads and changes the documents.
type Catalog struct {
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	stream jetstream.Stream
}

// Open returns the catalog of the installation. Its bucket must exist (see package broker).
func Open(ctx context.Context, js jetstream.JetStream) (*Catalog, error) {
	kv, err := js.KeyValue(ctx, names.CatalogBucket)
	if err != nil {
		return nil, fmt.Errorf("open the catalog: %w", err)
	}
	stream, err := js.Stream(ctx, "KV_"+names.CatalogBucket)
	if err != nil {
		return nil, fmt.Errorf("open the catalog: %w", err)
	}
	return &Catalog{js: js, kv: kv, stream: stream}, nil
}

// Create stores a new document, or returns ErrExists.
func (c *Catalog) Create(ctx context.Context, d *DeliveryStream) error {
	data, err := encode(d)
	if err != nil {
		return err
	}
	_, err = c.kv.Create(ctx, d.Name.Key(), data)
	if errors.Is(err, jetstream.ErrKeyExists) || isWrongSequence(err) {
		return fmt.Errorf("%w: %s", ErrExists, d.Name)
	}
	return err
}

// Read returns the newest document, or ErrNotFound.
func (c *Catalog) Read(ctx context.Context, name names.Stream) (*DeliveryStream, error) {
	d, _, err := c.read(ctx, name)
	return d, err
}

func (c *Catalog) read(ctx context.Context, name names.Stream) (*DeliveryStream, uint64, error) {
	return c.get(ctx, name, decode)
}

// readWhole refuses what read passes over.
func (c *Catalog) readWhole(ctx context.Context, name names.Stream) (*DeliveryStream, uint64, error) {
	return c.get(ctx, name, decodeWhole)
}

func (c *Catalog) get(ctx context.Context, name names.Stream, decode func([]byte) (*DeliveryStream, error)) (*DeliveryStream, uint64, error) {
	entry, err := c.kv.Get(ctx, name.Key())
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, 0, fmt.Errorf("%w: %s", ErrNotFound, name)
	}
	if err != nil {
		return nil, 0, err
	}
	d, err := decode(entry.Value())
	return d, entry.Revision(), err
}

// Update changes the document with change, which may be called several times, each time on a copy of its own of what is
// stored then, and whose error ends the update.
//
// A document with a member that this build does not know is left as it is, whatever its format: writing it back would drop what
// a newer version put there. That is format.ErrNewer too.
func (c *Catalog) Update(ctx context.Context, name names.Stream, change func(*DeliveryStream) error) (*DeliveryStream, error) {
	for {
		d, revision, err := c.readWhole(ctx, name)
		if err != nil {
			return nil, err
		}
		if err := change(d); err != nil {
			return nil, err
		}
		data, err := encode(d)
		if err != nil {
			return nil, err
		}
		// A lost answer shows as an error here and the caller sees it: a repeat by the caller reads what was stored.
		_, err = c.kv.Update(ctx, name.Key(), data, revision)
		if !isWrongSequence(err) {
			return d, err
		}
		if !pause.For(ctx, conflictPause) { // what is read next may come from a server that does not have the other's change yet
			return nil, ctx.Err()
		}
	}
}

const conflictPause = 5 * time.Millisecond

// Remove deletes the document of the stream with that id. It is no error if the stream is gone or made anew.
func (c *Catalog) Remove(ctx context.Context, name names.Stream, id names.StreamID) error {
	d, revision, err := c.read(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if d.ID != id {
		return nil
	}
	err = c.kv.Delete(ctx, name.Key(), jetstream.LastRevision(revision))
	if isWrongSequence(err) {
		return nil
	}
	return err
}

// isWrongSequence tells that another writer was first. Buckets with replicas have a code of their own for it.
func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
