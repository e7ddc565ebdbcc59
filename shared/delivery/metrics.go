package delivery

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// Metrics are the guide's metrics of one destination, as Prometheus has them: DeliveryToS3.Bytes is
// hydrant_delivery_to_s3_bytes_total.
type Metrics struct {
	bytes, records, batches, expired *prometheus.CounterVec
	failures                         *prometheus.CounterVec
	freshness                        *prometheus.GaugeVec
}

// NewMetrics registers the metrics under a prefix such as delivery_to_s3.
func NewMetrics(prefix string, registry prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "hydrant", Subsystem: prefix, Name: name, Help: help,
		}, append([]string{"stream"}, labels...))
		registry.MustRegister(c)
		return c
	}
	m := &Metrics{
		bytes:    counter("bytes_total", "Bytes of records delivered, before compression."),
		records:  counter("records_total", "Records delivered."),
		batches:  counter("success_total", "Batches delivered."),
		failures: counter("failures_total", "Attempts to deliver a batch that failed, by error code.", "code"),
		expired:  counter("expired_records_total", "Records that expired before they could be delivered."),
		freshness: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "hydrant", Subsystem: prefix, Name: "data_freshness_seconds",
			Help: "Age of the oldest record of the batch that was last tried: all older ones are delivered, or wait for their next try.",
		}, []string{"stream"}),
	}
	registry.MustRegister(m.freshness)
	return m
}

func (m *Metrics) delivered(d batch.Delivery) {
	stream := string(d.Stream)
	m.bytes.WithLabelValues(stream).Add(float64(d.Bytes))
	m.records.WithLabelValues(stream).Add(float64(d.Records))
	m.batches.WithLabelValues(stream).Inc()
	m.expired.WithLabelValues(stream).Add(float64(d.ExpiredRecords))
	m.age(d.Stream, d.Oldest)
}

func (m *Metrics) failed(d batch.Descriptor, code string) {
	m.failures.WithLabelValues(string(d.Stream), code).Inc()
	m.age(d.Stream, d.Oldest)
}

// age does not know that of a batch of which nothing was left when it was cut.
func (m *Metrics) age(stream names.Stream, oldest time.Time) {
	if !oldest.IsZero() {
		m.freshness.WithLabelValues(string(stream)).Set(time.Since(oldest).Seconds())
	}
}

// forget drops the series of a delivery stream that is gone.
func (m *Metrics) forget(stream names.Stream) {
	labels := prometheus.Labels{"stream": string(stream)}
	for _, v := range []*prometheus.CounterVec{m.bytes, m.records, m.batches, m.expired, m.failures} {
		v.DeletePartialMatch(labels)
	}
	m.freshness.DeletePartialMatch(labels)
}
