package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/hydrant/internal/text"
	"hydrant/shared/broker"
	"hydrant/shared/names"
)

// Report is what `hydrant status --json` prints. Its JSON form is stable: fields are added, never renamed.
type Report struct {
	Time            time.Time `json:"time"`
	SinceSeconds    int64     `json:"since_seconds"` // delivered, set aside and expired are counted for so long
	NATS            Server    `json:"nats"`
	Store           Store     `json:"store"`
	Clocks          []Clock   `json:"clocks,omitempty"` // of the NATS servers that tell
	DeliveryStreams int       `json:"delivery_streams"` // among the legs
	Legs            []Leg     `json:"legs"`
}

// Server is the NATS server that answered.
type Server struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	URL     string `json:"url"` // without a password
}

// Store is how full JetStream's store is. LimitBytes is 0 when the limit is not known, and Problem may say why.
type Store struct {
	UsedBytes  int64  `json:"used_bytes"`
	LimitBytes int64  `json:"limit_bytes"`
	Problem    string `json:"problem,omitempty"`
}

// Clock is by how much the clock of a NATS server is ahead of this machine's, at least; below 0 where it is behind.
type Clock struct {
	Server       string  `json:"server"`
	AheadSeconds float64 `json:"ahead_seconds"`
}

// report collects everything there is to show.
func report(ctx context.Context, js jetstream.JetStream, cfg broker.Config, c *collector) (Report, error) {
	now := c.options.Now()
	legs, err := c.collect(ctx)
	if err != nil {
		return Report{}, err
	}
	store, err := readStore(ctx, js, cfg)
	if err != nil {
		return Report{}, err
	}
	conn := js.Conn()
	return Report{
		Time:         now.UTC(),
		SinceSeconds: int64(c.options.Since / time.Second),
		NATS: Server{
			Name: conn.ConnectedServerName(), Version: conn.ConnectedServerVersion(), URL: inspect.WithoutUser(conn.ConnectedUrl()),
		},
		Store:           store,
		Clocks:          clocks(broker.Clocks(ctx, js, cfg)),
		DeliveryStreams: countStreams(legs),
		Legs:            legs,
	}, nil
}

// readStore goes without the limit when the monitoring address, which only serves for that, does not answer.
func readStore(ctx context.Context, js jetstream.JetStream, cfg broker.Config) (Store, error) {
	usage, err := broker.Usage(ctx, js, cfg)
	problem := ""
	if err != nil && cfg.NATSMonitorURL != "" {
		problem = err.Error()
		cfg.NATSMonitorURL = ""
		usage, err = broker.Usage(ctx, js, cfg)
	}
	return Store{UsedBytes: usage.Used, LimitBytes: usage.Limit, Problem: problem}, err
}

func clocks(told []broker.Clock) []Clock {
	all := make([]Clock, len(told))
	for i, c := range told {
		all[i] = Clock{c.Server, c.Ahead.Seconds()}
	}
	return all
}

func countStreams(legs []Leg) int {
	seen := map[names.Stream]bool{}
	for _, l := range legs {
		seen[l.Stream] = true
	}
	return len(seen)
}

// render writes the report for people.
func (r Report) render(w io.Writer) error {
	if err := Render(w, r.Legs, r.Time); err != nil {
		return err
	}
	for _, c := range r.Clocks {
		if !c.apart() {
			continue
		}
		if _, err := fmt.Fprintf(w, "\n%s\n", text.Wrapped(c.String(), lineWidth)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", text.Wrapped(r.summary(), lineWidth))
	return err
}

func (r Report) summary() string {
	var b strings.Builder
	if r.DeliveryStreams == 1 {
		b.WriteString("1 delivery stream")
	} else {
		fmt.Fprintf(&b, "%d delivery streams", r.DeliveryStreams)
	}
	fmt.Fprintf(&b, "; delivered, set aside and expired in the last %s", span24(r.SinceSeconds))
	fmt.Fprintf(&b, "; store: %s", r.Store)
	fmt.Fprintf(&b, "; NATS: %s %s at %s", r.NATS.Name, r.NATS.Version, r.NATS.URL)
	return b.String()
}

// String says how full the store is.
func (s Store) String() string {
	switch {
	case s.LimitBytes > 0:
		return fmt.Sprintf("%s of %s (%.0f %%)", text.Size(s.UsedBytes), text.Size(s.LimitBytes), 100*float64(s.UsedBytes)/float64(s.LimitBytes))
	case s.Problem != "":
		return fmt.Sprintf("%s, limit not known (%s)", text.Size(s.UsedBytes), s.Problem)
	default:
		return fmt.Sprintf("%s, limit not known (--store-bytes or --nats-monitor-url tells it)", text.Size(s.UsedBytes))
	}
}

func (c Clock) apart() bool { return math.Abs(c.AheadSeconds) >= broker.ClocksApart.Seconds() }

// String says how far apart the clocks are, and what to do.
func (c Clock) String() string {
	direction := "ahead of"
	if c.AheadSeconds < 0 {
		direction = "behind"
	}
	by := text.Duration(time.Duration(math.Round(math.Abs(c.AheadSeconds))) * time.Second)
	return fmt.Sprintf("the clock of NATS server %s is %s %s this machine's: have both set by network time; where clocks are a minute apart and more, "+
		"repeated calls may be stored twice", c.Server, by, direction)
}

// span24 writes a setting without the zeros that a duration's own form ends with.
func span24(seconds int64) string {
	text := (time.Duration(seconds) * time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// encode writes the report as JSON, on one line if another follows.
func (r Report) encode(w io.Writer, oneLine bool) error {
	if r.Legs == nil {
		r.Legs = []Leg{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if !oneLine {
		encoder.SetIndent("", "  ")
	}
	return encoder.Encode(r)
}
