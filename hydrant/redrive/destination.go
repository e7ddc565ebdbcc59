package redrive

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/services/es"
	"hydrant/services/redshift"
	"hydrant/shared/catalog"
	"hydrant/shared/objectstore"
	"hydrant/shared/redrive"
	"hydrant/shared/settings"
)

// Redshift is the settings of the loader that decide where it notes what it loads, and how it gets there. They are to be the
// service's.
type Redshift struct {
	LedgerSchema  string        `name:"ledger-schema" default:"public" help:"Schema of the table in which the Redshift loader notes what it has loaded."`
	LedgerTable   string        `name:"ledger-table" default:"hydrant_ledger" help:"Name of that table."`
	RedshiftCA    string        `name:"redshift-ca" help:"File with the certificate authorities of the databases, as for hydrant-redshift."`
	CopyTimeout   time.Duration `name:"copy-timeout" default:"1h" help:"How long a COPY may take, and the lock that it waits for."`
	WithoutLedger bool          `name:"without-ledger" help:"Load also where the database user may not use that table. Nothing keeps a run that was cut short from loading twice then."`
}

// destination delivers anew, and has the store in which it finds what.
type destination interface {
	redrive.Destination
	Store() *objectstore.Store
	Close()
}

var (
	_ destination = (*es.Redriver)(nil)
	_ destination = (*redshift.Redriver)(nil)
)

// open returns the destination of a delivery stream. What is no flag of the command is set as for the service, by its environment
// variables.
func (c Command) open(ctx context.Context, js jetstream.JetStream, stream *catalog.DeliveryStream, log *slog.Logger) (destination, error) {
	if stream.Destination.Redshift != nil {
		return c.openRedshift(ctx, js, stream, log)
	}
	return c.openSearch(ctx, stream, log)
}

func (c Command) openRedshift(ctx context.Context, js jetstream.JetStream, stream *catalog.DeliveryStream, log *slog.Logger) (destination, error) {
	var cfg redshift.Config
	if err := settings.FromEnvironment(&cfg); err != nil {
		return nil, err
	}
	cfg.NATS, cfg.Settings = c.NATS, c.S3
	cfg.LedgerSchema, cfg.LedgerTable = c.Redshift.LedgerSchema, c.Redshift.LedgerTable
	cfg.RedshiftCA, cfg.CopyTimeout = c.Redshift.RedshiftCA, c.Redshift.CopyTimeout
	return redshift.OpenRedrive(ctx, cfg, js, stream, c.Redshift.WithoutLedger, log)
}
