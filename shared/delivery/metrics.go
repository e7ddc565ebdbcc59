package delivery

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// Metrics are the guide's metrics of one destination, as datapoints and as Prometheus has them: DeliveryToS3.Bytes is
// hydrant_delivery_to_s3_bytes_total.
type Metrics struct {
	bytes, records, batches, objects, expired *prometheus.CounterVec
	failures                                  *prometheus.CounterVec
	freshness                                 *prometheus.GaugeVec

	points   datapoints.Delivered
	recorder *datapoints.Recorder
}

// NewMetrics registers the metrics under a prefix such as delivery_to_s3, and records the datapoints under the guide's form
// of it, such as DeliveryToS3. Somebody else runs the recorder.
func NewMetrics(prefix string, registry prometheus.Registerer, recorder *datapoints.Recorder) *Metrics {
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
		objects:  counter("object_count_total", "Objects, or their like, that the batches delivered became."),
		failures: counter("failures_total", "Attempts to deliver a batch that failed, by error code.", "code"),
		expired:  counter("expired_records_total", "Records that expired before they could be delivered."),
		freshness: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "hydrant", Subsystem: prefix, Name: "data_freshness_seconds",
			Help: "Age of the oldest record of the batch that was last tried: all older ones are delivered, or wait for their next try.",
		}, []string{"stream"}),
		points: datapoints.DeliveredBy(guideName(prefix)), recorder: recorder,
	}
	registry.MustRegister(m.freshness)
	return m
}

// guideName makes DeliveryToS3 of delivery_to_s3.
func guideName(prefix string) string {
	var name strings.Builder
	for word := range strings.SplitSeq(prefix, "_") {
		if word != "" {
			name.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return name.String()
}

// delivered counts an outcome. A batch of which nothing was left is no attempt that succeeded, nor one that failed.
func (m *Metrics) delivered(d batch.Delivery) {
	stream := string(d.Stream)
	m.bytes.WithLabelValues(stream).Add(float64(d.Bytes))
	m.records.WithLabelValues(stream).Add(float64(d.Records))
	m.expired.WithLabelValues(stream).Add(float64(d.ExpiredRecords))
	m.age(d.Stream, d.Oldest)
	if d.Outcome != batch.Delivered {
		return
	}
	m.batches.WithLabelValues(stream).Inc()
	m.objects.WithLabelValues(stream).Inc()
	m.recorder.Record(d.Stream,
		datapoints.Sample{Metric: m.points.Bytes, Value: float64(d.Bytes)},
		datapoints.Sample{Metric: m.points.Records, Value: float64(d.Records)},
		datapoints.Sample{Metric: m.points.ObjectCount, Value: 1},
		datapoints.Sample{Metric: m.points.Success, Value: 1},
	)
}

func (m *Metrics) failed(d batch.Descriptor, code string) {
	m.failures.WithLabelValues(string(d.Stream), code).Inc()
	m.recorder.Record(d.Stream, datapoints.Sample{Metric: m.points.Success, Value: 0})
	m.age(d.Stream, d.Oldest)
}

// age does not know that of a batch of which nothing was left when it was cut.
func (m *Metrics) age(stream names.Stream, oldest time.Time) {
	if oldest.IsZero() {
		return
	}
	seconds := time.Since(oldest).Seconds()
	m.freshness.WithLabelValues(string(stream)).Set(seconds)
	m.recorder.Record(stream, datapoints.Sample{Metric: m.points.DataFreshness, Value: max(seconds, 0)})
}

// forget drops the series of a delivery stream that is gone.
func (m *Metrics) forget(stream names.Stream) {
	labels := prometheus.Labels{"stream": string(stream)}
	for _, v := range []*prometheus.CounterVec{m.bytes, m.records, m.batches, m.objects, m.expired, m.failures} {
		v.DeletePartialMatch(labels)
	}
	m.freshness.DeletePartialMatch(labels)
}
