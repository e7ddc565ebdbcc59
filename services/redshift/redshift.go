// Package redshift loads the staged objects of delivery streams into Redshift, or a database that knows its COPY.
//
// Guarantees, of which DESIGN.md tells the reasons and the failure cases:
//   - Each staged object is loaded once, whichever answer is lost, however many processes try, and wherever one is killed or stopped:
//     the COPY and the note of it in a ledger table are one transaction, which begins by locking the ledger.
//   - Or it is set aside when the retry duration is over, counted from its first failure, whoever tried it: in a manifest in S3,
//     ready for a COPY by hand. The ledger is asked before.
//   - An object that cannot be loaded costs no other: the others are loaded without it.
//   - An object leaves the queue of staged objects only when it is one or the other.
//   - One COPY at a time runs for a delivery stream.
//
// Not guaranteed: once where the database's user may not use the ledger table. Then a lost answer loads again, and the error log says
// so. Nor, where an answer was lost and the ledger cannot be asked for long, that what is set aside is not loaded: then the log says so.
// Nor, where a process is stopped in the middle of writing an error manifest and another loads the objects meanwhile, that
// they are in one place only.
package redshift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/clocks"
	"hydrant/shared/datapoints"
	"hydrant/shared/delivery"
	"hydrant/shared/members"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/service"
	"hydrant/shared/session"
	"hydrant/shared/staging"
)

// serviceName is what owners of delivery streams are told of this service as.
const serviceName = "Redshift loader"

// grace is how long a COPY may go on when the service is to stop. It is then given up, and tried again by whoever is next.
const grace = 5 * time.Second

// Config is the settings of the service.
type Config struct {
	NATS                 broker.Config `embed:""`
	objectstore.Settings `embed:""`

	LedgerSchema string `name:"ledger-schema" default:"public" help:"Schema of the table in which the service notes what it has loaded."`
	LedgerTable  string `name:"ledger-table" default:"hydrant_ledger" help:"Name of that table. It is made where the user of a delivery stream may make it."`

	RedshiftCA     string        `name:"redshift-ca" help:"File with the certificate authorities of the databases. With it, no connection is made to a server without a certificate of theirs, unless the JDBC URL asks for no encryption."`
	ConnectTimeout time.Duration `name:"connect-timeout" default:"10s" help:"How long connecting to a database may take."`
	CopyTimeout    time.Duration `name:"copy-timeout" default:"1h" help:"How long a COPY may take, and the lock that it waits for. The database ends it then, also when this process is stopped."`
	IdleTime       time.Duration `name:"idle-time" default:"1m" help:"How long a connection with nothing to do is kept."`

	CopyObjects int   `name:"copy-objects" default:"500" help:"Staged objects of one COPY, at most."`
	CopyBytes   int64 `name:"copy-bytes" default:"10737418240" help:"Bytes of records, before compression, of one COPY, at most, unless one object has more."`

	Workers  int           `name:"workers" default:"8" help:"Delivery streams for which a COPY runs at once."`
	AckWait  time.Duration `name:"ack-wait" default:"30s" help:"How long a process may be silent before the objects that it has in hand are given to another."`
	RetryMin time.Duration `name:"retry-min" default:"1s" help:"Delay before an object is tried a second time. It doubles with each try."`
	RetryMax time.Duration `name:"retry-max" default:"60s" help:"Longest delay between two tries of an object."`
}

// Validate finds wrong values and contradictions.
func (c Config) Validate() error {
	if err := errors.Join(c.NATS.Validate(), c.Settings.Validate()); err != nil {
		return err
	}
	if _, err := newLedger(c.LedgerSchema, c.LedgerTable); err != nil {
		return err
	}
	if err := c.validateTimes(); err != nil {
		return err
	}
	switch {
	case c.CopyObjects < 1 || c.CopyObjects > mostObjects:
		return fmt.Errorf("--copy-objects (HYDRANT_COPY_OBJECTS): %d is not accepted; use 1 to %d", c.CopyObjects, mostObjects)
	case c.CopyBytes < 1:
		return fmt.Errorf("--copy-bytes (HYDRANT_COPY_BYTES): %d is not accepted; use 1 or more", c.CopyBytes)
	case c.Workers < 1:
		return fmt.Errorf("--workers (HYDRANT_WORKERS): %d is not accepted; use 1 or more", c.Workers)
	}
	return nil
}

// mostObjects keeps a manifest within one part of an upload, whatever the objects' names, and a statement far below the 16 MB that
// Redshift takes.
const mostObjects = 2000

func (c Config) validateTimes() error {
	for _, d := range []struct {
		setting string
		is      time.Duration
	}{
		{"--connect-timeout (HYDRANT_CONNECT_TIMEOUT)", c.ConnectTimeout}, {"--copy-timeout (HYDRANT_COPY_TIMEOUT)", c.CopyTimeout},
		{"--ack-wait (HYDRANT_ACK_WAIT)", c.AckWait},
	} {
		if d.is < time.Second {
			return fmt.Errorf("%s: %s is not accepted; use 1s or more", d.setting, d.is)
		}
	}
	switch {
	case c.IdleTime <= 0:
		return fmt.Errorf("--idle-time (HYDRANT_IDLE_TIME): %s is not accepted; use more than 0s", c.IdleTime)
	case c.RetryMin <= 0 || c.RetryMax < c.RetryMin:
		return errors.New("--retry-min and --retry-max (HYDRANT_RETRY_MIN, HYDRANT_RETRY_MAX): use a positive time, and a longest that is no shorter")
	}
	return nil
}

func (c Config) bound() staging.Bound {
	return staging.Bound{Objects: c.CopyObjects, Bytes: c.CopyBytes}
}

// location is how outcomes and the error log name the destination.
func location(d *catalog.DeliveryStream) string {
	if d.Destination.Redshift == nil {
		return ""
	}
	to, err := targetOf(d.Destination.Redshift)
	if err != nil {
		return ""
	}
	return to.url.Address() + "/" + to.url.Database + "/" + text(d.Destination.Redshift.Description.CopyCommand.DataTableName)
}

// Service loads staged objects.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	points  *datapoints.Recorder
	clocks  *clocks.Watch
	parts   *objectstore.Buffers

	session session.Session
}

var _ service.Service = (*Service)(nil)

// New returns a service, or says which setting is wrong.
func New(cfg Config, rt service.Runtime) (*Service, error) {
	if err := errors.Join(cfg.Validate(), cfg.checkAuthorities()); err != nil {
		return nil, err
	}
	points, err := datapoints.NewRecorder("redshift", rt.Metrics, rt.Log)
	if err != nil {
		return nil, err
	}
	watch, err := clocks.New("redshift", rt.Metrics, rt.Log)
	if err != nil {
		return nil, err
	}
	return &Service{
		cfg: cfg, log: rt.Log, points: points, clocks: watch, metrics: newMetrics(rt.Metrics, points), parts: objectstore.NewBuffers(cfg.Settings),
		session: session.Session{Refused: rt.Refused},
	}, nil
}

// Ready implements service.Service.
func (s *Service) Ready() error { return s.session.Ready() }

// Run implements service.Service. While NATS is away it waits, and is not ready.
func (s *Service) Run(ctx context.Context) error {
	store, err := openStore(ctx, s.cfg, s.parts, s.log)
	if err != nil {
		return err
	}
	defer store.Close()
	open, err := s.session.Open(ctx, s.cfg.NATS, "hydrant-redshift", s.log)
	if err != nil {
		return err
	}
	defer open.Conn.Close()
	d := &desk{cfg: s.cfg, js: open.JetStream, view: open.View, metrics: s.metrics, log: s.log, now: time.Now, slots: make(chan struct{}, s.cfg.Workers)}
	err = session.Persist(ctx, s.log, func() (err error) { return d.open(ctx, store) })
	if err != nil {
		return err
	}
	return s.serve(ctx, open.JetStream, open.View, d)
}

func openStore(ctx context.Context, cfg Config, parts *objectstore.Buffers, log *slog.Logger) (*objectstore.Store, error) {
	return objectstore.Open(ctx, cfg.Settings, objectstore.Names{Program: "redshift", Service: serviceName},
		objectstore.Demand{Writers: cfg.Workers, Backoff: cfg.RetryMin}, parts, log)
}

// serve loads until ctx ends. The view, the membership and the datapoints outlive the COPYs that are being finished.
func (s *Service) serve(ctx context.Context, js jetstream.JetStream, view *catalog.View, d *desk) error {
	group := members.NewGroup(js, "redshift", s.log)
	lanes := newLanes(d)
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	running.Go(func() { view.Run(background, func(name names.Stream) { lanes.changed(ctx, name) }) })
	// Nobody asks who the members are but the operator: a lane has the turn, or waits for it.
	running.Go(func() { group.Run(background, func() {}) })
	running.Go(func() { s.clocks.Run(background, js, s.cfg.NATS) })
	running.Go(func() { _ = s.points.Run(background, js.Conn()) }) // it ends with the context, and for no other reason
	lanes.run(ctx)
	d.errors.Close(ctx)
	return ctx.Err()
}

// desk is what all lanes share.
type desk struct {
	cfg       Config
	js        jetstream.JetStream
	view      *catalog.View
	ledger    ledger
	manifests manifests
	retries   delivery.Retries
	errors    *delivery.ErrorLog
	metrics   *metrics
	log       *slog.Logger
	now       func() time.Time
	slots     chan struct{} // what a lane takes one of while it loads
}

func (d *desk) open(ctx context.Context, store *objectstore.Store) (err error) {
	if d.ledger, err = newLedger(d.cfg.LedgerSchema, d.cfg.LedgerTable); err != nil {
		return err
	}
	d.manifests.store = store
	if d.manifests.installation, err = broker.InstallationID(ctx, d.js); err != nil {
		return err
	}
	d.errors = delivery.NewErrorLog(d.js, delivery.Config{
		LogStream: names.LogStream(names.LegRedshift), Location: location,
		Logging: func(s *catalog.DeliveryStream) *types.CloudWatchLoggingOptions {
			return s.Destination.Logging(names.LegRedshift)
		},
	}, d.log)
	d.retries, err = delivery.OpenRetries(ctx, d.js)
	return err
}
