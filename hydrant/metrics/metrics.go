// Package metrics is `hydrant metrics`: the guide's metrics of a delivery stream over a time, as a table, small charts, or
// JSON. It reads the one-minute datapoints in METRICS; no service of Hydrant needs to run.
//
// Guarantees: it adds up what the replicas have each published, counts a datapoint that was published twice once, and
// changes nothing. The minute that goes on is not in it, and neither is what a crash lost (see package datapoints).
package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/broker"
	"hydrant/shared/names"
)

const (
	longestSince = 14 * 24 * time.Hour // how long datapoints are kept
	mostColumns  = 60                  // of a chart
	metricForm   = `^[A-Za-z0-9]+(\.[A-Za-z0-9]+)*$`
)

// Command is the sub-command's settings.
type Command struct {
	NATS     broker.Config    `embed:""`
	Patience inspect.Patience `embed:""`

	Stream  names.Stream  `arg:"" optional:"" name:"stream" help:"Delivery stream whose metrics are shown. Without one, those of the account."`
	Since   time.Duration `name:"since" default:"1h" help:"How far back."`
	Period  time.Duration `name:"period" default:"0s" help:"Time that is added up to one point, in whole minutes. 0 takes what the charts have room for."`
	Metric  string        `name:"metric" help:"Show this metric alone, such as IncomingBytes or DeliveryToS3.Success."`
	Account bool          `name:"account" help:"Show the metrics of the account too, such as ListDeliveryStreams.Requests."`
	ASCII   bool          `name:"ascii" help:"Draw with plain characters, as it does by itself where the locale is not UTF-8."`
	JSON    bool          `name:"json" help:"Print JSON instead of a table."`
}

// Validate finds wrong values.
func (c Command) Validate() error {
	switch {
	case c.Since < time.Minute || c.Since > longestSince:
		return fmt.Errorf("--since (HYDRANT_SINCE): %s is not accepted; use 1m to %s, which is how long datapoints are kept", c.Since, longestSince)
	case c.Period < 0 || c.Period%time.Minute != 0 || c.Period > c.Since:
		return fmt.Errorf("--period (HYDRANT_PERIOD): %s is not accepted; use whole minutes, up to --since, or 0", c.Period)
	case c.Metric != "" && !regexp.MustCompile(metricForm).MatchString(c.Metric):
		return fmt.Errorf("--metric (HYDRANT_METRIC): %q is not accepted; use a name such as IncomingBytes or PutRecord.Latency", c.Metric)
	}
	return errors.Join(c.NATS.Validate(), c.Patience.Validate())
}

// Run prints the metrics once.
func (c Command) Run(ctx context.Context, stdout io.Writer) error {
	c.ASCII = c.ASCII || !utf8Locale(os.Getenv)
	var r Report
	js, err := c.Patience.Open(ctx, c.NATS, "hydrant metrics", func(js jetstream.JetStream) (err error) {
		r, err = c.collect(ctx, js, time.Now())
		return err
	})
	if err != nil {
		return err
	}
	js.Conn().Close()
	return c.print(stdout, r)
}

func (c Command) print(stdout io.Writer, r Report) error {
	if c.JSON {
		return r.encode(stdout)
	}
	_, err := io.WriteString(stdout, r.render(c.ASCII))
	return err
}

// utf8Locale tells whether the terminal takes more than ASCII, by the first of the variables that is set, as the C library
// does.
func utf8Locale(getenv func(string) string) bool {
	for _, variable := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := getenv(variable); value != "" {
			value = strings.ToLower(strings.ReplaceAll(value, "-", ""))
			return strings.Contains(value, "utf8")
		}
	}
	return false
}

// window is the time that a report is of: whole periods, of which the last goes on.
type window struct {
	from, to time.Time
	period   time.Duration
}

// newWindow takes the shortest period that a chart has room for where none is given.
func newWindow(now time.Time, since, period time.Duration) window {
	for _, minutes := range []time.Duration{1, 2, 5, 10, 15, 30, 60, 2 * 60, 4 * 60, 6 * 60, 12 * 60, 24 * 60} {
		if period > 0 {
			break
		}
		if since/(minutes*time.Minute) <= mostColumns {
			period = minutes * time.Minute
		}
	}
	w := window{from: now.Add(-since).UTC().Truncate(period), to: now.UTC().Truncate(period), period: period}
	if w.to.Before(now) {
		w.to = w.to.Add(period)
	}
	return w
}

func (w window) periods() int { return int(w.to.Sub(w.from) / w.period) }

// errNoDatapoints means that no service that publishes datapoints has been started.
var errNoDatapoints = errors.New("there are no datapoints yet: no service of this version of Hydrant has been started on this NATS")
