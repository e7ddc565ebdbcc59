package redrive

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/catalog"
)

func (c Command) openSearch(context.Context, jetstream.JetStream, *catalog.DeliveryStream, *slog.Logger) (destination, error) {
	return nil, errors.New("documents cannot be indexed anew yet")
}
