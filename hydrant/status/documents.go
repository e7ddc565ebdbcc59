package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// document is a delivery stream's document, or why it cannot be read.
type document struct {
	name names.Stream
	*catalog.DeliveryStream
	problem error
}

// readCatalog returns the documents of the chosen delivery streams, or of all when none is chosen, by name. A chosen one
// that does not exist is an error, one that goes away meanwhile is not.
func readCatalog(ctx context.Context, js jetstream.JetStream, chosen []names.Stream) ([]document, error) {
	c, err := inspect.Catalog(ctx, js)
	if err != nil {
		return nil, err
	}
	wanted := slices.Clone(chosen)
	if len(chosen) == 0 {
		if wanted, err = everyName(ctx, js); err != nil {
			return nil, err
		}
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	documents := make([]document, len(wanted))
	err = inParallel(ctx, len(wanted), func(ctx context.Context, i int) (err error) {
		documents[i], err = readDocument(ctx, c, wanted[i])
		if len(chosen) == 0 && errors.Is(err, catalog.ErrNotFound) {
			return nil
		}
		return err
	})
	return slices.DeleteFunc(documents, func(d document) bool { return d.name == "" }), err
}

func readDocument(ctx context.Context, c *catalog.Catalog, name names.Stream) (document, error) {
	d, err := inspect.DeliveryStream(ctx, c, name)
	switch {
	case err == nil:
		return document{name: d.Name, DeliveryStream: d}, nil
	case ctx.Err() != nil || errors.Is(err, catalog.ErrNotFound):
		return document{}, err
	default:
		return document{name: name, problem: err}, nil
	}
}

// everyName returns the names of the documents there are. It reads the bucket's own stream, of which the last message of a
// subject is a key's value or says that the key is deleted.
func everyName(ctx context.Context, js jetstream.JetStream) ([]names.Stream, error) {
	prefix := "$KV." + names.CatalogBucket + "."
	var all []names.Stream
	err := inspect.LastOfEach(ctx, js, "KV_"+names.CatalogBucket, []string{prefix + ">"}, func(m *nats.Msg) {
		if operation := m.Header.Get("KV-Operation"); operation == "" || operation == "PUT" {
			all = append(all, names.StreamFromKey(strings.TrimPrefix(m.Subject, prefix)))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list the catalog: %w", err)
	}
	return all, nil
}
