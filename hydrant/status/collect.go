package status

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

const (
	// maxMessages bounds what is counted of one log and of one leg's batches, maxTogether of all of them, so that a look
	// ends in seconds whatever the backlog; fewest is counted of each in any case.
	maxMessages = 200_000
	maxTogether = 2_000_000
	fewest      = 1000
)

// Options say what to collect. The zero value is all delivery streams and the last 24 hours.
type Options struct {
	Streams     []names.Stream   // empty means all
	Since       time.Duration    // how far back outcomes are counted; 0 means 24 hours
	MaxMessages uint64           // counted of each log, and of each leg's batches, at most; 0 means 200,000
	Now         func() time.Time // nil means time.Now
}

func (o Options) withDefaults() Options {
	if o.Since == 0 {
		o.Since = 24 * time.Hour
	}
	if o.MaxMessages == 0 {
		o.MaxMessages = maxMessages
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Collect returns the state of each leg of each delivery stream, by name. Its errors are inspect.ErrNoInstallation,
// catalog.ErrNotFound for a delivery stream in Options that does not exist, and whatever keeps it from reading; what
// concerns one leg alone is in Leg.Problem.
func Collect(ctx context.Context, js jetstream.JetStream, o Options) ([]Leg, error) {
	return newCollector(js, o).collect(ctx)
}

// collector keeps, from one collection to the next, the outcomes that it has read. It is not for concurrent use.
type collector struct {
	js       jetstream.JetStream
	options  Options
	outcomes outcomes
}

func newCollector(js jetstream.JetStream, o Options) *collector {
	return &collector{js: js, options: o.withDefaults()}
}

// row is a leg that is being collected.
type row struct {
	Leg
	began   time.Time // records that arrived earlier are not the leg's
	logging bool      // failures are written to the error log
	log     string    // its subject
	staging bool      // the leg stages objects, or loads them: the two have the same batches
	pending []pendingBatch
}

// collect reads in the order that the package comment promises: cursors, logs and consumers, then what is behind the
// cursors, then the outcomes.
func (c *collector) collect(ctx context.Context) ([]Leg, error) {
	now := c.options.Now()
	documents, err := readCatalog(ctx, c.js, c.options.Streams)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(documents)
	look, err := c.look(ctx, rows)
	if err != nil {
		return nil, err
	}
	if err := c.backlog(ctx, look, rows); err != nil {
		return nil, err
	}
	if err := c.settle(ctx, look, rows, now); err != nil {
		return nil, err
	}
	if err := c.failures(ctx, rows, now); err != nil {
		return nil, err
	}
	return finish(rows, now), nil
}

// rowsOf returns a row for each leg, and one for a delivery stream that has none or cannot be read.
func rowsOf(documents []document) []row {
	var rows []row
	for _, d := range documents {
		if d.problem != nil {
			rows = append(rows, row{Leg: Leg{Stream: d.name, Problem: d.problem.Error()}})
			continue
		}
		base := Leg{Stream: d.Name, ID: d.ID, Status: string(d.Status), Shards: d.Shards}
		legs := d.Legs()
		if len(legs) == 0 {
			rows = append(rows, row{Leg: base})
		}
		for _, leg := range legs {
			base.Leg = leg.Leg
			rows = append(rows, newRow(d.DeliveryStream, base, leg.Since))
		}
		if d.Destination.Redshift != nil {
			base.Leg = names.LegRedshift
			rows = append(rows, newRow(d.DeliveryStream, base, d.Created))
		}
	}
	return rows
}

func newRow(d *catalog.DeliveryStream, leg Leg, began time.Time) row {
	log := inspect.LogOptions(d, leg.Leg)
	return row{
		Leg: leg, began: began, logging: log.Enabled, log: names.ErrorsSubject(d.Name, log.Stream),
		staging: d.Destination.Redshift != nil && leg.Leg != names.LegBackup,
	}
}

// filters returns the subjects that of gives for each chosen delivery stream, or all when none is chosen.
func (c *collector) filters(all []string, of func(names.Stream) []string) []string {
	if len(c.options.Streams) == 0 {
		return all
	}
	var filters []string
	for _, s := range c.options.Streams {
		filters = append(filters, of(s)...)
	}
	slices.Sort(filters)
	return slices.Compact(filters)
}

// one makes what gives one subject give a list of them.
func one(of func(names.Stream) string) func(names.Stream) []string {
	return func(s names.Stream) []string { return []string{of(s)} }
}

func finish(rows []row, now time.Time) []Leg {
	legs := make([]Leg, len(rows))
	for i := range rows {
		l := &rows[i].Leg
		if !l.OldestUndelivered.IsZero() {
			seconds := int64(age(l.OldestUndelivered, now) / time.Second)
			l.OldestUndeliveredSeconds = &seconds
		}
		legs[i] = *l
	}
	slices.SortStableFunc(legs, func(a, b Leg) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
	return legs
}

// age is how long ago at was. The clock here and that of NATS may differ; nothing is younger than now.
func age(at, now time.Time) time.Duration { return max(now.Sub(at), 0) }
