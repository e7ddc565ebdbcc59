package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/hydrant/internal/inspect"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// Report is what `hydrant metrics --json` prints. Its JSON form is stable: fields are added, never renamed.
type Report struct {
	From          time.Time    `json:"from"`
	To            time.Time    `json:"to"`
	PeriodSeconds int64        `json:"period_seconds"`
	Stream        names.Stream `json:"stream,omitempty"` // that was asked for
	Metrics       []Metric     `json:"metrics"`
	Unreadable    int          `json:"unreadable,omitempty"` // datapoints that this version cannot read, which are not counted
}

// Metric is one metric of a delivery stream, or of the account where Stream is absent, over the time of the report. It has
// points for the periods that had samples.
type Metric struct {
	Stream names.Stream    `json:"stream,omitempty"`
	Metric string          `json:"metric"`
	Unit   datapoints.Unit `json:"unit"`
	Statistics
	Points []Point `json:"points"`
}

// Point is one period.
type Point struct {
	Time time.Time `json:"time"` // its beginning
	Statistics
}

// Statistics are those of CloudWatch, of the samples of a time.
type Statistics struct {
	Samples uint64  `json:"samples"`
	Sum     float64 `json:"sum"`
	Average float64 `json:"average"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
}

func (s *Statistics) add(d datapoints.Datapoint) {
	if s.Samples == 0 {
		s.Min, s.Max = d.Min, d.Max
	}
	s.Samples += d.Samples
	s.Sum += d.Sum
	s.Min, s.Max = min(s.Min, d.Min), max(s.Max, d.Max)
	s.Average = s.Sum / float64(s.Samples)
}

// collector adds up datapoints.
type collector struct {
	window     window
	seen       map[datapoints.Key]bool
	metrics    map[string]*Metric            // by subject
	points     map[string]map[int]Statistics // by subject and period
	unreadable int
}

func (c Command) collect(ctx context.Context, js jetstream.JetStream, now time.Time) (Report, error) {
	documents, err := inspect.Catalog(ctx, js)
	if err != nil {
		return Report{}, err
	}
	if c.Stream != "" {
		if _, err := inspect.DeliveryStream(ctx, documents, c.Stream); err != nil {
			return Report{}, err
		}
	}
	k := &collector{
		window: newWindow(now, c.Since, c.Period),
		seen:   map[datapoints.Key]bool{}, metrics: map[string]*Metric{}, points: map[string]map[int]Statistics{},
	}
	// A datapoint is stored after its minute.
	config := jetstream.ConsumerConfig{
		FilterSubjects: c.subjects(), DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &k.window.from,
	}
	_, err = inspect.Read(ctx, js, names.MetricsStream, config, inspect.Everything, func(m *nats.Msg, _ *nats.MsgMetadata) error {
		k.add(m.Data)
		return nil
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return Report{}, errNoDatapoints
	}
	if err != nil {
		return Report{}, fmt.Errorf("read the datapoints: %w", err)
	}
	return k.report(c.Stream), nil
}

// subjects are those of what is asked for.
func (c Command) subjects() []string {
	var of []names.Stream
	if c.Stream != "" {
		of = append(of, c.Stream)
	}
	if c.Stream == "" || c.Account {
		of = append(of, "") // the account
	}
	subjects := make([]string, len(of))
	for i, stream := range of {
		if c.Metric == "" {
			subjects[i] = names.StreamMetrics(stream)
		} else {
			subjects[i] = names.MetricsSubject(stream, c.Metric)
		}
	}
	return subjects
}

func (k *collector) add(data []byte) {
	d, err := datapoints.Decode(data)
	if err != nil {
		k.unreadable++
		return
	}
	if k.seen[d.Key()] || d.Minute.Before(k.window.from) || !d.Minute.Before(k.window.to) {
		return
	}
	k.seen[d.Key()] = true
	subject := d.Subject()
	m := k.metrics[subject]
	if m == nil {
		m = &Metric{Stream: d.Stream, Metric: d.Metric, Unit: d.Unit}
		k.metrics[subject] = m
		k.points[subject] = map[int]Statistics{}
	}
	m.add(d)
	period := int(d.Minute.Sub(k.window.from) / k.window.period)
	point := k.points[subject][period]
	point.add(d)
	k.points[subject][period] = point
}

// report puts the account's metrics behind those of the delivery stream, and each by name.
func (k *collector) report(stream names.Stream) Report {
	r := Report{
		From: k.window.from, To: k.window.to, PeriodSeconds: int64(k.window.period / time.Second), Stream: stream,
		Metrics: []Metric{}, Unreadable: k.unreadable,
	}
	for subject, m := range k.metrics {
		for period := range k.window.periods() {
			if point, there := k.points[subject][period]; there {
				m.Points = append(m.Points, Point{k.window.from.Add(time.Duration(period) * k.window.period), point})
			}
		}
		r.Metrics = append(r.Metrics, *m)
	}
	slices.SortFunc(r.Metrics, func(a, b Metric) int {
		if (a.Stream == "") != (b.Stream == "") {
			return strings.Compare(string(b.Stream), string(a.Stream))
		}
		return strings.Compare(a.Metric, b.Metric)
	})
	return r
}
