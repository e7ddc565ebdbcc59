package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/pause"
)

// Config says how a leg's batches are delivered.
type Config struct {
	Leg       names.Leg
	LogStream string // of the guide, for delivery streams that name none: S3Delivery, RedshiftDelivery or ElasticsearchDelivery
	// Logging returns a delivery stream's settings of its error log, which may be nil.
	Logging func(*catalog.DeliveryStream) *types.CloudWatchLoggingOptions
	// Location returns where a delivery stream delivers to, for its error log.
	Location func(*catalog.DeliveryStream) string

	// Announce returns the further subjects, beside the leg's own, that an outcome is published to before its batch is
	// acknowledged; nil means none. Who reads there counts a batch id once, as in DELIVERIES.
	Announce func(*catalog.DeliveryStream, batch.Delivery) []string

	Workers   int           // batches in work at once
	Slots     Slots         // what bounds them where several runners share the workers; nil makes a runner's own
	PerStream int           // of them of one delivery stream
	AckWait   time.Duration // after which a silent worker's batch is another's
	Grace     time.Duration // for what is in work when the service is to stop

	// KeepRetries keeps the first failure of a batch and its progress in JetStream, for destinations that give up after a
	// while: whoever takes the batch over does not start the clock again.
	KeepRetries bool

	MinDelay time.Duration // before the second try of a batch; it doubles with each try
	MaxDelay time.Duration
}

// Slots are what a worker takes one of while it delivers, so that the memory of deliveries is bounded however many legs a
// service delivers.
type Slots chan struct{}

// NewSlots returns slots for so many workers.
func NewSlots(workers int) Slots { return make(Slots, workers) }

// Runner delivers the batches of one leg of every delivery stream that has it.
type Runner struct {
	cfg         Config
	js          jetstream.JetStream
	view        *catalog.View
	destination Destination
	metrics     *Metrics
	errors      *errorLog
	cleaner     cleaner
	log         *slog.Logger
	slots       Slots
	retries     *retries // nil without Config.KeepRetries; opened by Run before any lane is

	changes chan names.Stream
}

// NewRunner returns a runner. The view must be followed by whoever made it, and each change told to Changed.
func NewRunner(cfg Config, js jetstream.JetStream, view *catalog.View, d Destination, m *Metrics, log *slog.Logger) *Runner {
	slots := cfg.Slots
	if slots == nil {
		slots = NewSlots(cfg.Workers)
	}
	return &Runner{
		cfg: cfg, js: js, view: view, destination: d, metrics: m, log: log,
		errors:  newErrorLog(js, cfg, log),
		cleaner: newCleaner(),
		slots:   slots,
		changes: make(chan names.Stream, 1024),
	}
}

// Changed tells the runner that a delivery stream is new, other or gone.
func (r *Runner) Changed(ctx context.Context, name names.Stream) {
	select {
	case r.changes <- name:
	case <-ctx.Done():
	}
}

// Run delivers until ctx ends. What is then in work has Config.Grace to end, and is handed back after it.
func (r *Runner) Run(ctx context.Context) error {
	consumers := r.openBatches(ctx)
	if consumers == nil || !r.openRetries(ctx) {
		return ctx.Err()
	}
	lanes := map[names.Stream]*lane{}
	var running sync.WaitGroup
	defer r.errors.close(ctx)
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case name := <-r.changes:
			r.reconcile(ctx, lanes, name, consumers, &running)
		}
	}
}

// openBatches waits for the stream of batches; it returns nil when ctx ends first.
func (r *Runner) openBatches(ctx context.Context) (stream jetstream.Stream) {
	opened := r.await(ctx, "waiting for the batches", func() (err error) {
		stream, err = r.js.Stream(ctx, names.BatchesStream)
		return err
	})
	if !opened {
		return nil
	}
	return stream
}

// openRetries waits for the bucket of first failures, if the leg has use for it; it returns false when ctx ends first.
func (r *Runner) openRetries(ctx context.Context) bool {
	if !r.cfg.KeepRetries {
		return true
	}
	return r.await(ctx, "waiting for the retries", func() error {
		opened, err := openRetries(ctx, r.js)
		if err == nil {
			r.retries = opened
		}
		return err
	})
}

// await calls open until it succeeds, and returns false when ctx ends first.
func (r *Runner) await(ctx context.Context, what string, open func() error) bool {
	for {
		err := open()
		if err == nil {
			return true
		}
		if !pause.For(ctx, time.Second) {
			return false
		}
		r.log.Warn(what, "error", err)
	}
}

// reconcile starts, wakes or stops the lane of one delivery stream.
func (r *Runner) reconcile(ctx context.Context, lanes map[names.Stream]*lane, name names.Stream, batches jetstream.Stream, running *sync.WaitGroup) {
	d := r.view.Get(name)
	have := lanes[name]
	wanted := d != nil && d.Status == types.DeliveryStreamStatusActive && r.hasLeg(d)
	if have != nil && wanted && have.id == d.ID {
		have.wake()
		return
	}
	if have != nil {
		have.stop()
		delete(lanes, name)
		r.metrics.forget(name)
		r.errors.forget(have.id)
	}
	if !wanted {
		return
	}
	laneCtx, cancel := context.WithCancel(ctx)
	l := newLane(r, name, d.ID, cancel)
	lanes[name] = l
	running.Go(func() { l.run(laneCtx, batches) })
}

func (r *Runner) hasLeg(d *catalog.DeliveryStream) bool {
	for _, leg := range d.Legs() {
		if leg.Leg == r.cfg.Leg {
			return true
		}
	}
	return false
}

// consumerConfig is the durable consumer that the replicas share. Batches that wait for their next try count as pending,
// so MaxAckPending bounds how many batches of one broken destination are known to be broken; the others wait behind.
func (r *Runner) consumerConfig(name names.Stream, id names.StreamID) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       names.SinkConsumer(r.cfg.Leg, name, id),
		FilterSubject: names.LegBatches(r.cfg.Leg, name),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       r.cfg.AckWait,
		MaxAckPending: 1000,
		MaxDeliver:    -1,
	}
}

// Validate finds contradictions.
func (c Config) Validate() error {
	switch {
	case c.Workers < 1:
		return fmt.Errorf("--workers (HYDRANT_WORKERS): %d is not accepted; use 1 or more", c.Workers)
	case c.PerStream < 1 || c.PerStream > c.Workers:
		return fmt.Errorf("--workers-per-stream (HYDRANT_WORKERS_PER_STREAM): %d is not accepted; use 1 to the number of --workers, %d", c.PerStream, c.Workers)
	case c.AckWait < time.Second:
		return fmt.Errorf("--ack-wait (HYDRANT_ACK_WAIT): %s is not accepted; use 1s or more", c.AckWait)
	case c.MinDelay <= 0 || c.MaxDelay < c.MinDelay:
		return errors.New("--retry-min and --retry-max (HYDRANT_RETRY_MIN, HYDRANT_RETRY_MAX): use a positive time, and a longest that is no shorter")
	}
	return nil
}
