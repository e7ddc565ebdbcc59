package redrive

import (
	"context"
	"log/slog"
	"time"

	"hydrant/services/es"
	"hydrant/shared/catalog"
	"hydrant/shared/objectstore"
	"hydrant/shared/settings"
)

// search indexes documents again, and reads and writes the files of those that fail.
type search struct {
	*es.Redriver
	store *objectstore.Store
}

// Store is where the files are.
func (s *search) Store() *objectstore.Store { return s.store }

// Close gives back all connections.
func (s *search) Close() {
	s.Redriver.Close()
	s.store.Close()
}

// s3Backoff is the longest pause before a request to S3 is repeated.
const s3Backoff = time.Second

func (c Command) openSearch(ctx context.Context, stream *catalog.DeliveryStream, log *slog.Logger) (destination, error) {
	var cfg es.RedriveConfig
	if err := settings.FromEnvironment(&cfg); err != nil {
		return nil, err
	}
	cfg.Settings, cfg.Clusters = c.S3, c.Clusters
	store, err := objectstore.Open(ctx, c.S3, objectstore.Names{Program: "redrive", Service: "hydrant redrive"},
		objectstore.Demand{Writers: 1, Backoff: s3Backoff}, objectstore.NewBuffers(c.S3), log)
	if err != nil {
		return nil, err
	}
	made, err := es.NewRedriver(cfg, store, stream, log)
	if err != nil {
		store.Close()
		return nil, err
	}
	return &search{made, store}, nil
}
