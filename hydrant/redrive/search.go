package redrive

import (
	"context"
	"log/slog"

	"hydrant/services/es"
	"hydrant/shared/catalog"
	"hydrant/shared/settings"
)

func (c Command) openSearch(ctx context.Context, stream *catalog.DeliveryStream, log *slog.Logger) (destination, error) {
	var cfg es.Config
	if err := settings.FromEnvironment(&cfg); err != nil {
		return nil, err
	}
	cfg.NATS, cfg.Settings, cfg.Clusters = c.NATS, c.S3, c.Clusters
	return es.OpenRedrive(ctx, cfg, stream, log)
}
