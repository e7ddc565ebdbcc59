package datapoints

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/names"
)

const (
	// keptMinutes is for how long what could not be published is kept.
	keptMinutes = 5
	// mostPending bounds how many datapoints are kept meanwhile.
	mostPending = 100_000
	// idleMinutes is after how many without a sample a delivery stream is forgotten.
	idleMinutes = 10
)

// Sample is one value of one metric, or the same value several times.
type Sample struct {
	Metric string
	Value  float64
	Times  uint64 // 0 is once
}

// Recorder takes the samples of one replica of a service, and publishes their datapoints while it runs.
type Recorder struct {
	replica string
	log     *slog.Logger
	now     func() time.Time

	published, dropped prometheus.Counter

	mu      sync.RWMutex
	streams map[names.Stream]*minutes // "" is the account

	pending []round // Run's own
	rounds  uint64
	most    int // datapoints in an atomic batch
}

// NewRecorder returns a recorder with a replica id that nobody else has. Its metrics carry the service's name, since
// several services may share a registry.
func NewRecorder(service string, registry prometheus.Registerer, log *slog.Logger) (*Recorder, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hydrant_datapoints_" + name, Help: help, ConstLabels: prometheus.Labels{"service": service},
		})
	}
	r := &Recorder{
		replica: string(names.NewStreamID()), log: log, now: time.Now, streams: map[names.Stream]*minutes{}, most: mostTogether,
		published: counter("published_total", "Datapoints stored in METRICS."),
		dropped:   counter("dropped_total", "Datapoints dropped because they could not be stored for minutes."),
	}
	for _, c := range []prometheus.Counter{r.published, r.dropped} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register a metric: %w", err)
		}
	}
	return r, nil
}

// Record takes samples of a delivery stream, or of the account if stream is empty. It may be called at any time, also when
// the recorder does not run yet, or any more, and by several goroutines.
func (r *Recorder) Record(stream names.Stream, samples ...Sample) {
	for !r.add(stream, samples) {
		r.mu.Lock()
		if r.streams[stream] == nil {
			r.streams[stream] = &minutes{minute: r.minute()}
		}
		r.mu.Unlock()
	}
}

// add reports whether the delivery stream is known. It holds the lock to the end, so that nothing is added to one that is
// being forgotten.
func (r *Recorder) add(stream names.Stream, samples []Sample) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.streams[stream]
	if m == nil {
		return false
	}
	if dropped := m.add(r.minute, samples); dropped > 0 {
		r.dropped.Add(float64(dropped))
	}
	return true
}

func (r *Recorder) minute() int64 { return r.now().Unix() / 60 }

// collect takes what has ended, and with all what has not ended too, as datapoints without a round.
func (r *Recorder) collect(all bool) []Datapoint {
	now := r.minute()
	var ended []Datapoint
	var idle []names.Stream
	r.mu.RLock()
	for stream, m := range r.streams {
		taken, last := m.take(now, all)
		for _, e := range taken {
			ended = append(ended, r.datapoint(stream, e))
		}
		if now-last > idleMinutes {
			idle = append(idle, stream)
		}
	}
	r.mu.RUnlock()
	if len(idle) > 0 {
		r.forget(now, idle)
	}
	return ended
}

// forget drops delivery streams without samples. One that got some after it was looked at keeps them.
func (r *Recorder) forget(now int64, idle []names.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, stream := range idle {
		if m := r.streams[stream]; now-m.minute > idleMinutes {
			delete(r.streams, stream)
		}
	}
}

func (r *Recorder) datapoint(stream names.Stream, e ended) Datapoint {
	return Datapoint{
		Stream: stream, Metric: e.metric, Unit: UnitOf(e.metric), Minute: time.Unix(e.minute*60, 0).UTC(),
		Samples: e.samples, Sum: e.sum, Min: e.min, Max: e.max, Replica: r.replica,
	}
}

// minutes are the samples of one delivery stream: those of the minute that goes on, and those of minutes that ended and
// were not collected yet.
type minutes struct {
	mu      sync.Mutex
	minute  int64 // the samples of current are of, since 1970
	current []aggregate
	ended   []ended
}

// aggregate is one metric in one minute. One without samples was seen in an earlier minute, and will be again.
type aggregate struct {
	metric        string
	samples       uint64
	sum, min, max float64
}

type ended struct {
	aggregate
	minute int64
}

// add returns how many datapoints it had to drop. It looks at the clock under the lock, so that minutes follow each other.
func (m *minutes) add(clock func() int64, samples []Sample) (dropped int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if minute := clock(); minute != m.minute { // later; or earlier, by a clock that was set back
		m.end()
		m.minute = minute
		dropped = m.bound()
	}
	for _, s := range samples {
		m.find(s.Metric).add(s.Value, max(s.Times, 1))
	}
	return dropped
}

// find looks through the metrics, which are about a dozen.
func (m *minutes) find(metric string) *aggregate {
	for i := range m.current {
		if m.current[i].metric == metric {
			return &m.current[i]
		}
	}
	m.current = append(m.current, aggregate{metric: metric})
	return &m.current[len(m.current)-1]
}

func (a *aggregate) add(v float64, times uint64) {
	if a.samples == 0 {
		a.min, a.max = v, v
	}
	a.samples += times
	a.sum += v * float64(times)
	a.min, a.max = min(a.min, v), max(a.max, v)
}

// end moves what the current minute has to those that ended. A minute that has ended before, by a clock that was set back,
// goes on: there is one datapoint of a minute and metric in what is collected at one time.
func (m *minutes) end() {
	for i := range m.current {
		a := &m.current[i]
		if a.samples == 0 {
			continue
		}
		at := slices.IndexFunc(m.ended, func(e ended) bool { return e.minute == m.minute && e.metric == a.metric })
		if at < 0 {
			m.ended = append(m.ended, ended{*a, m.minute})
		} else {
			m.ended[at].merge(*a)
		}
		*a = aggregate{metric: a.metric}
	}
}

func (a *aggregate) merge(b aggregate) {
	a.samples += b.samples
	a.sum += b.sum
	a.min, a.max = min(a.min, b.min), max(a.max, b.max)
}

// bound drops the oldest of what nobody collects, because the recorder does not run yet.
func (m *minutes) bound() (dropped int) {
	if dropped = len(m.ended) - keptMinutes*len(m.current); dropped > 0 {
		m.ended = append(m.ended[:0:0], m.ended[dropped:]...)
		return dropped
	}
	return 0
}

// take returns what ended before now, or everything, and the last minute that had a sample.
func (m *minutes) take(now int64, all bool) (taken []ended, last int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all || m.minute != now {
		m.end()
	}
	taken, m.ended = m.ended, nil
	return taken, m.minute
}
