package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// ErrNoInstallation means that NATS answers and that no service of Hydrant ever ran on it.
var ErrNoInstallation = errors.New("no Hydrant there: none of its services has been started on this NATS yet")

// Catalog opens the catalog of the installation, or returns ErrNoInstallation.
func Catalog(ctx context.Context, js jetstream.JetStream) (*catalog.Catalog, error) {
	c, err := catalog.Open(ctx, js)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, ErrNoInstallation
	}
	return c, err
}

// DeliveryStream returns the document of a delivery stream, or catalog.ErrNotFound.
func DeliveryStream(ctx context.Context, c *catalog.Catalog, name names.Stream) (*catalog.DeliveryStream, error) {
	d, err := c.Read(ctx, name)
	if err == nil && d.Name != name { // two names that only differ in what a key cannot hold
		return nil, fmt.Errorf("%w: %s", catalog.ErrNotFound, name)
	}
	return d, err
}
