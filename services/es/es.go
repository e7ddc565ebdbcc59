// Package es delivers batches to Elasticsearch and OpenSearch.
//
// Guarantees, of which DESIGN.md tells the reasons and the failure cases:
//   - Each record becomes one document, indexed once, however often its batch is delivered, by whomever, and whichever answer
//     is lost: the document's id is the record's, and what is there is never overwritten.
//   - Or it is set aside, once, in a file in S3 that says why, in Elasticsearch's words: at once if the server will never take
//     it, and otherwise when the retry duration is over, counted from the first failure of its batch, whoever tried it.
//   - A batch is acknowledged only when all of its records are one or the other, or have expired and were counted.
//   - The index of a record follows the time at which that record arrived.
//   - Memory is bounded by --bulk-size, --bulk-in-flight and --workers, and about two bytes for each record of a batch.
//
// Not guaranteed: one document where the delivery stream asks for no document ids (NO_DOCUMENT_ID): then a lost answer, a
// killed worker or one that wakes late indexes again. Nor one document where index, rotation or cluster of the delivery stream
// are changed while answers are outstanding and the former index cannot be searched: the error log says so. And a document that one worker sets aside may be
// indexed by another that had the batch at the same time: then it is in both.
package es

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/prometheus/client_golang/prometheus"

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
	program = "es"

	// A request has room for the largest record there is, and the line before it.
	leastBulkSize = 2 << 20
	mostBulkSize  = 64 << 20

	// grace is how long what is in work may go on when the service is to stop.
	grace = 5 * time.Second
)

// Config is the settings of the service.
type Config struct {
	NATS                 broker.Config `embed:""`
	objectstore.Settings `embed:""`
	Clusters             `embed:""`

	ESSigV4   bool          `name:"es-sigv4" help:"Sign requests to clusters with SigV4, as Amazon's domains want it: with the role of the delivery stream where --sts-endpoint is set, else with the service's own credentials, which are those for S3."`
	ESRegion  string        `name:"es-region" help:"Region that requests to clusters are signed for. Empty means that of the DomainARN, or else --s3-region."`
	ESTimeout time.Duration `name:"es-timeout" default:"60s" help:"How long a cluster may take to answer a request. What sending it takes is not counted."`

	BulkSize     int  `name:"bulk-size" default:"5242880" help:"Bytes of a bulk request, at most. A cluster that is busy gets smaller ones."`
	BulkRecords  int  `name:"bulk-records" default:"10000" help:"Documents of a bulk request, at most."`
	BulkInFlight int  `name:"bulk-in-flight" default:"4" help:"Bulk requests to one cluster at once, and of one batch, at most. A cluster that is busy gets fewer."`
	BulkGzip     bool `name:"bulk-gzip" help:"Compress bulk requests, which saves network at the price of CPU, here and in the cluster."`

	Workers          int           `name:"workers" default:"4" help:"Batches delivered at once."`
	WorkersPerStream int           `name:"workers-per-stream" default:"2" help:"Batches of one delivery stream delivered at once."`
	AckWait          time.Duration `name:"ack-wait" default:"30s" help:"How long a worker may be silent before its batch is given to another."`
	RetryMin         time.Duration `name:"retry-min" default:"1s" help:"Delay before a batch is tried a second time. It doubles with each try."`
	RetryMax         time.Duration `name:"retry-max" default:"60s" help:"Longest delay between two tries of a batch."`
}

// requests is how many are in memory, at most: what a worker fills, and what flies.
func (c Config) requests() int { return c.Workers + min(c.Workers, 2)*c.BulkInFlight }

// Memory is what a process that runs the service alone needs.
func (c Config) Memory() int64 {
	const rest, ofWorker = 24 << 20, 8 << 20
	return rest + int64(c.requests())*int64(c.BulkSize) + int64(c.Workers)*ofWorker
}

// Validate finds wrong values and contradictions.
func (c Config) Validate() error {
	for _, validate := range []func() error{c.NATS.Validate, c.Settings.Validate, c.Clusters.Validate, c.validateAsking, c.validateBulk, c.delivery(nil).Validate} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) validateAsking() error {
	switch {
	case c.ESSigV4 && (c.ESUsername != "" || c.ESAPIKey != ""):
		return errors.New("--es-sigv4 (HYDRANT_ES_SIGV4): set beside --es-username or --es-api-key; set one of them")
	case c.ESTimeout < time.Second:
		return fmt.Errorf("--es-timeout (HYDRANT_ES_TIMEOUT): %s is not accepted; use 1s or more", c.ESTimeout)
	}
	return nil
}

func (c Config) validateBulk() error {
	switch {
	case c.BulkSize < leastBulkSize || c.BulkSize > mostBulkSize:
		return fmt.Errorf("--bulk-size (HYDRANT_BULK_SIZE): %d is not accepted; use %d to %d bytes", c.BulkSize, leastBulkSize, mostBulkSize)
	case c.BulkRecords < 1:
		return fmt.Errorf("--bulk-records (HYDRANT_BULK_RECORDS): %d is not accepted; use 1 or more", c.BulkRecords)
	case c.BulkInFlight < 1 || c.BulkInFlight > 64:
		return fmt.Errorf("--bulk-in-flight (HYDRANT_BULK_IN_FLIGHT): %d is not accepted; use 1 to 64", c.BulkInFlight)
	}
	return nil
}

func (c Config) delivery(slots delivery.Slots) delivery.Config {
	return delivery.Config{
		Leg: names.LegES, LogStream: names.LogStream(names.LegES), Location: location, Logging: logging, KeepRetries: true,
		Workers: c.Workers, Slots: slots, PerStream: c.WorkersPerStream, AckWait: c.AckWait, Grace: grace,
		MinDelay: c.RetryMin, MaxDelay: c.RetryMax,
	}
}

// location is how the error log names the destination.
func location(d *catalog.DeliveryStream) string {
	if d.Destination.Search == nil {
		return ""
	}
	to := d.Destination.Search.Description
	if endpoint := aws.ToString(to.ClusterEndpoint); endpoint != "" {
		return endpoint
	}
	return aws.ToString(to.DomainARN)
}

// logging returns the leg's settings of its error log.
func logging(d *catalog.DeliveryStream) *types.CloudWatchLoggingOptions {
	return d.Destination.Logging(names.LegES)
}

// Service is the Elasticsearch sink.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics *delivery.Metrics
	parts   *objectstore.Buffers
	buffers *buffers
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
	return &Service{
		cfg: cfg, log: rt.Log, metrics: newMetrics(rt.Metrics, points),
		parts: objectstore.NewBuffers(cfg.Settings), buffers: newBuffers(cfg.requests(), cfg.BulkSize),
		sink: sink.Sink{Program: program, NATS: cfg.NATS, Points: points, Clocks: watch, Log: rt.Log, Refused: rt.Refused},
	}, nil
}

// newMetrics has the datapoints under the guide's name of 2016 and under today's.
func newMetrics(registry prometheus.Registerer, points *datapoints.Recorder) *delivery.Metrics {
	return delivery.NewRecordMetrics("delivery_to_elasticsearch", registry, points, "delivery_to_amazon_open_search_service")
}

// Ready implements service.Service.
func (s *Service) Ready() error { return s.sink.Ready() }

// Run implements service.Service. While NATS is away it waits, and is not ready.
func (s *Service) Run(ctx context.Context) error {
	store, err := openStore(ctx, s.cfg, s.parts, s.log)
	if err != nil {
		return err
	}
	defer store.Close()
	servers, err := newServers(s.cfg, store)
	if err != nil {
		return err
	}
	defer servers.close()
	return s.sink.Run(ctx, func(open sink.Open) []*delivery.Runner {
		d := newDestination(s.cfg, servers, store, recordlog.New(open.JetStream), s.buffers, s.log)
		d.installation = open.Installation
		slots := delivery.NewSlots(s.cfg.Workers)
		return []*delivery.Runner{delivery.NewRunner(s.cfg.delivery(slots), open.JetStream, open.View, d, s.metrics, s.log)}
	})
}

func openStore(ctx context.Context, cfg Config, parts *objectstore.Buffers, log *slog.Logger) (*objectstore.Store, error) {
	return objectstore.Open(ctx, cfg.Settings, objectstore.Names{Program: program, Service: serviceName},
		objectstore.Demand{Writers: cfg.Workers, Backoff: cfg.RetryMin}, parts, log)
}

func newDestination(cfg Config, servers *servers, store *objectstore.Store, records *recordlog.Log, buffers *buffers, log *slog.Logger) *destination {
	return &destination{
		servers: servers, store: store, records: records, buffers: buffers, packers: new(packers), log: log, now: time.Now,
		inFlight: cfg.BulkInFlight, mostItems: cfg.BulkRecords, timeout: cfg.ESTimeout, gzip: cfg.BulkGzip,
		minPause: cfg.RetryMin, maxPause: cfg.RetryMax,
	}
}
