// Package s3sink delivers batches to S3.
//
// Guarantees, of which DESIGN.md tells the reasons and the failure cases:
//   - A batch becomes one object, whose bytes are its records', concatenated, in order. However often a batch is delivered,
//     by whomever, and whichever answer is lost, there is one object, written once.
//   - An object is complete or not there: what was read is compared with the batch's counts before an object gets its name.
//   - Nothing is overwritten, not even what somebody else put under a batch's name.
//   - An object that is the staging of Redshift is announced in STAGING before its batch is acknowledged: once or, where that
//     could not be told from not at all, more often, under the same batch id.
//   - What expired before it could be delivered is counted and logged; what survives of such a batch is delivered under a
//     name of its own, never over a whole object.
//   - Memory is bounded by --part-memory and a few megabytes a worker, whatever the size of a batch.
//
// Not guaranteed: one object where the configuration changed and the earlier destination refuses to be asked, or where a
// PutObject under the earlier configuration is carried out after the next worker looked for it. Both are logged, where they
// can be known, as possibly delivered twice. A store without conditional writes has a window in which two workers write the
// same object, with the same bytes.
package s3sink

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/clocks"
	"hydrant/shared/datapoints"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
	"hydrant/shared/recordlog"
	"hydrant/shared/service"
	"hydrant/shared/sink"
)

const (
	program = "s3sink"

	// called is the service to the owners of delivery streams.
	called = "S3 sink"

	// grace is how long what is in work may go on when the service is to stop. With aborting an upload and handing the
	// batch back it stays below 10 seconds.
	grace = 5 * time.Second
)

// Config is the settings of the service.
type Config struct {
	NATS broker.Config `embed:""`

	objectstore.Settings

	PutSize int64 `name:"put-size" default:"1073741824" help:"Bytes up to which an uncompressed object is sent in one request, straight from the log. Larger ones, compressed ones, and all where bodies have to be signed are assembled in parts. 0 means always."`

	Workers          int           `name:"workers" default:"8" help:"Batches delivered at once."`
	WorkersPerStream int           `name:"workers-per-stream" default:"4" help:"Batches of one delivery stream delivered at once."`
	AckWait          time.Duration `name:"ack-wait" default:"30s" help:"How long a worker may be silent before its batch is given to another."`
	RetryMin         time.Duration `name:"retry-min" default:"1s" help:"Delay before a batch is tried a second time. It doubles with each try."`
	RetryMax         time.Duration `name:"retry-max" default:"60s" help:"Longest delay between two tries of a batch."`
}

// Memory is what a process that runs the service alone needs: the parts, for each worker what it reads and a compressor,
// and the rest.
func (c Config) Memory() int64 {
	const rest, ofWorker = 14 << 20, 3 << 20
	return rest + c.PartMemory + int64(c.Workers)*ofWorker
}

// Validate finds wrong values and contradictions.
func (c Config) Validate() error {
	if err := c.NATS.Validate(); err != nil {
		return err
	}
	if err := c.Settings.Validate(); err != nil {
		return err
	}
	if c.PutSize < 0 || c.PutSize > objectstore.MaxPutSize {
		return fmt.Errorf("--put-size (HYDRANT_PUT_SIZE): %d is not accepted; use 0 to %d bytes (5 GiB, S3's own limit)", c.PutSize, int64(objectstore.MaxPutSize))
	}
	return c.delivery(legs()[0], nil).Validate()
}

// leg is one of the ways to S3 that the service delivers.
type leg struct {
	name    names.Leg
	metrics string // prefix
}

// legs are the destination itself and the backup of the source records.
func legs() []leg {
	return []leg{
		{names.LegS3, "delivery_to_s3"},
		{names.LegBackup, "backup_to_s3"},
	}
}

func (c Config) delivery(l leg, slots delivery.Slots) delivery.Config {
	return delivery.Config{
		Leg: l.name, LogStream: names.LogStream(l.name), Location: l.bucketARN, Logging: l.logging, Announce: l.announced,
		Workers: c.Workers, Slots: slots, PerStream: c.WorkersPerStream, AckWait: c.AckWait, Grace: grace,
		MinDelay: c.RetryMin, MaxDelay: c.RetryMax,
	}
}

// bucketARN is how the error log names the destination.
func (l leg) bucketARN(d *catalog.DeliveryStream) string {
	s3 := d.Destination.S3Of(l.name)
	if s3 == nil {
		return ""
	}
	return aws.ToString(s3.BucketARN)
}

// logging returns the leg's settings of its error log.
func (l leg) logging(d *catalog.DeliveryStream) *types.CloudWatchLoggingOptions {
	if s3 := d.Destination.S3Of(l.name); s3 != nil {
		return s3.CloudWatchLoggingOptions
	}
	return nil
}

// Service is the S3 sink.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics map[names.Leg]*delivery.Metrics
	buffers *objectstore.Buffers
	sink    sink.Sink
}

var _ service.Service = (*Service)(nil)

// New returns a service, or says which setting is wrong.
func New(cfg Config, rt service.Runtime) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	points, err := datapoints.NewRecorder(program, rt.Metrics, rt.Log)
	if err != nil {
		return nil, err
	}
	watch, err := clocks.New(program, rt.Metrics, rt.Log)
	if err != nil {
		return nil, err
	}
	s := &Service{
		cfg: cfg, log: rt.Log, buffers: objectstore.NewBuffers(cfg.Settings), metrics: map[names.Leg]*delivery.Metrics{},
		sink: sink.Sink{Program: program, NATS: cfg.NATS, Points: points, Clocks: watch, Log: rt.Log, Refused: rt.Refused},
	}
	for _, l := range legs() {
		s.metrics[l.name] = delivery.NewMetrics(l.metrics, rt.Metrics, points)
	}
	return s, nil
}

// Ready implements service.Service.
func (s *Service) Ready() error { return s.sink.Ready() }

// Run implements service.Service. While NATS is away it waits, and is not ready.
func (s *Service) Run(ctx context.Context) error {
	store, err := openStore(ctx, s.cfg, s.buffers, s.log)
	if err != nil {
		return err
	}
	defer store.Close()
	return s.sink.Run(ctx, func(open sink.Open) []*delivery.Runner {
		d := &destination{
			store: store, records: recordlog.New(open.JetStream), installation: open.Installation, log: s.log, putSize: s.cfg.PutSize,
			leastPart: min(s.cfg.PartSize, objectstore.MinPartSize),
		}
		slots := delivery.NewSlots(s.cfg.Workers)
		var runners []*delivery.Runner
		for _, l := range legs() {
			runners = append(runners, delivery.NewRunner(s.cfg.delivery(l, slots), open.JetStream, open.View, d, s.metrics[l.name], s.log))
		}
		return runners
	})
}

// openStore returns the S3 server that the settings name.
func openStore(ctx context.Context, cfg Config, buffers *objectstore.Buffers, log *slog.Logger) (*objectstore.Store, error) {
	return objectstore.Open(ctx, cfg.Settings, objectstore.Names{Program: program, Service: called},
		objectstore.Demand{Writers: cfg.Workers, Backoff: cfg.RetryMin}, buffers, log)
}
