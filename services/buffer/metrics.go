package buffer

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// metrics are what the buffer tells Prometheus. The counters of a delivery stream go with it; the gauges are read from what
// runs at the moment they are asked for, so nothing of a stream that is gone or of another replica's can stay behind.
//
// Those about undelivered records and about the store come from the one replica that trims.
type metrics struct {
	batches   *prometheus.CounterVec
	expired   *prometheus.CounterVec
	lostRaces prometheus.Counter

	cutters atomic.Pointer[[]*cutter]
	report  atomic.Pointer[report]

	backlogBytes, backlogRecords *prometheus.Desc
	oldest, expiresIn            *prometheus.Desc
	replay, used, limit          *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	leg := []string{"stream", "leg"}
	m := &metrics{
		batches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hydrant_batches_cut_total", Help: "Batches cut, by the reason for the cut.",
		}, []string{"stream", "leg", "reason"}),
		expired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hydrant_buffer_expired_messages_total", Help: "Messages that were gone from the log before they were cut: their records are lost.",
		}, []string{"stream"}),
		lostRaces: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "hydrant_buffer_lost_races_total", Help: "Batches dropped because another replica had cut first.",
		}),
		backlogBytes:   prometheus.NewDesc("hydrant_buffer_backlog_bytes", "Bytes of records in the batches being filled.", leg, nil),
		backlogRecords: prometheus.NewDesc("hydrant_buffer_backlog_records", "Records in the batches being filled.", leg, nil),
		oldest:         prometheus.NewDesc("hydrant_undelivered_oldest_seconds", "Age of the oldest record that is not delivered; 0 when all are.", leg, nil),
		expiresIn:      prometheus.NewDesc("hydrant_undelivered_expires_in_seconds", "Time until the oldest undelivered record expires and is lost; the whole retention when all are delivered.", leg, nil),
		replay:         prometheus.NewDesc("hydrant_replay_bytes", "Bytes of delivered records that are kept for replay, estimated.", nil, nil),
		used:           prometheus.NewDesc("hydrant_store_used_bytes", "Bytes that the JetStream store has in use.", nil, nil),
		limit:          prometheus.NewDesc("hydrant_store_limit_bytes", "Bytes that the JetStream store may use; 0 when it is not known.", nil, nil),
	}
	if err := registry.Register(m); err != nil {
		return nil, fmt.Errorf("metrics of the buffer: %w", err)
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	m.batches.Describe(to)
	m.expired.Describe(to)
	m.lostRaces.Describe(to)
	for _, d := range []*prometheus.Desc{m.backlogBytes, m.backlogRecords, m.oldest, m.expiresIn, m.replay, m.used, m.limit} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.batches.Collect(to)
	m.expired.Collect(to)
	m.lostRaces.Collect(to)
	m.collectBacklog(to)
	m.collectReport(to, time.Now())
}

// collectBacklog adds up the shards.
func (m *metrics) collectBacklog(to chan<- prometheus.Metric) {
	cutters := m.cutters.Load()
	if cutters == nil {
		return
	}
	type sum struct{ bytes, records int64 }
	sums := map[legName]sum{}
	for _, c := range *cutters {
		k := legName{c.source.Stream, c.leg}
		s := sums[k]
		sums[k] = sum{s.bytes + c.bytes.Load(), s.records + c.records.Load()}
	}
	for k, s := range sums {
		gauge(to, m.backlogBytes, float64(s.bytes), string(k.stream), string(k.leg))
		gauge(to, m.backlogRecords, float64(s.records), string(k.stream), string(k.leg))
	}
}

func (m *metrics) collectReport(to chan<- prometheus.Metric, now time.Time) {
	r := m.report.Load()
	if r == nil {
		return
	}
	for k, l := range r.legs {
		age := l.age(now)
		gauge(to, m.oldest, age.Seconds(), string(k.stream), string(k.leg))
		gauge(to, m.expiresIn, max(l.retention-age, 0).Seconds(), string(k.stream), string(k.leg))
	}
	gauge(to, m.replay, float64(r.replay))
	gauge(to, m.used, float64(r.store.Used))
	gauge(to, m.limit, float64(r.store.Limit))
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// cut counts a batch that is stored.
func (m *metrics) cut(d batch.Descriptor) {
	m.batches.WithLabelValues(string(d.Stream), string(d.Leg), string(d.Reason)).Inc()
	if d.Missing > 0 {
		m.expired.WithLabelValues(string(d.Stream)).Add(float64(d.Missing))
	}
}

// show makes the cutters those whose backlog is told.
func (m *metrics) show(cutters map[key]*cutter) {
	list := make([]*cutter, 0, len(cutters))
	for _, c := range cutters {
		list = append(list, c)
	}
	m.cutters.Store(&list)
}

// forget drops the series of a delivery stream that is gone.
func (m *metrics) forget(stream names.Stream) {
	labels := prometheus.Labels{"stream": string(stream)}
	m.batches.DeletePartialMatch(labels)
	m.expired.DeletePartialMatch(labels)
}
