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
// hydrant_delivery_to_s3_bytes_total. Bytes and records are those delivered, never those set aside.
type Metrics struct {
	bytes, records, batches, expired, failures *prometheus.CounterVec
	objects                                    *prometheus.CounterVec // of a destination that takes batches, otherwise nil
	setAside, setAsideBytes                    *prometheus.CounterVec // of one that takes records, otherwise nil
	freshness                                  *prometheus.GaugeVec

	points   []datapoints.Delivered // the first has the names of the prefix
	recorder *datapoints.Recorder
}

// NewMetrics registers the metrics of a destination that takes a batch as a whole under a prefix such as delivery_to_s3, and
// records the datapoints under the guide's form of it, such as DeliveryToS3. Success is attempts that delivered over all
// attempts. Somebody else runs the recorder.
func NewMetrics(prefix string, registry prometheus.Registerer, recorder *datapoints.Recorder) *Metrics {
	m := newMetrics(prefix, registry, recorder)
	m.objects = counter(registry, prefix, "object_count_total", "Objects, or their like, that the batches delivered became.")
	return m
}

// NewRecordMetrics is NewMetrics for a destination that takes some records of a batch and refuses others. Success is, as the
// guide has it for Elasticsearch, records delivered over records that were delivered or set aside. The same datapoints are
// recorded under the guide's form of each other prefix as well.
func NewRecordMetrics(prefix string, registry prometheus.Registerer, recorder *datapoints.Recorder, others ...string) *Metrics {
	m := newMetrics(prefix, registry, recorder, others...)
	m.setAside = counter(registry, prefix, "set_aside_records_total", "Records that could not be delivered and were set aside.")
	m.setAsideBytes = counter(registry, prefix, "set_aside_bytes_total", "Bytes of records that could not be delivered and were set aside.")
	return m
}

func newMetrics(prefix string, registry prometheus.Registerer, recorder *datapoints.Recorder, others ...string) *Metrics {
	m := &Metrics{
		bytes:    counter(registry, prefix, "bytes_total", "Bytes of records delivered, before compression."),
		records:  counter(registry, prefix, "records_total", "Records delivered."),
		batches:  counter(registry, prefix, "success_total", "Batches delivered."),
		failures: counter(registry, prefix, "failures_total", "Attempts to deliver a batch that failed, by error code.", "code"),
		expired:  counter(registry, prefix, "expired_records_total", "Records that expired before they could be delivered."),
		freshness: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "hydrant", Subsystem: prefix, Name: "data_freshness_seconds",
			Help: "Age of the oldest record of the batch that was last tried: all older ones are delivered, or wait for their next try.",
		}, []string{"stream"}),
		recorder: recorder,
	}
	registry.MustRegister(m.freshness)
	for _, name := range append([]string{prefix}, others...) {
		m.points = append(m.points, datapoints.DeliveredBy(guideName(name)))
	}
	return m
}

func counter(registry prometheus.Registerer, prefix, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "hydrant", Subsystem: prefix, Name: name, Help: help,
	}, append([]string{"stream"}, labels...))
	registry.MustRegister(c)
	return c
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
	if m.ofRecords() {
		m.setAside.WithLabelValues(stream).Add(float64(d.FailedRecords))
		m.setAsideBytes.WithLabelValues(stream).Add(float64(d.FailedBytes))
	}
	m.age(d.Stream, d.Oldest)
	if d.Outcome == batch.Delivered {
		m.batches.WithLabelValues(stream).Inc()
		if !m.ofRecords() {
			m.objects.WithLabelValues(stream).Inc()
		}
	}
	for _, p := range m.points {
		if samples := m.samples(p, d); len(samples) > 0 {
			m.recorder.Record(d.Stream, samples...)
		}
	}
}

// ofRecords tells a destination that takes some records of a batch and refuses others.
func (m *Metrics) ofRecords() bool { return m.setAside != nil }

// samples are those of an outcome.
func (m *Metrics) samples(p datapoints.Delivered, d batch.Delivery) (samples []datapoints.Sample) {
	if d.Outcome == batch.Delivered {
		samples = append(samples,
			datapoints.Sample{Metric: p.Bytes, Value: float64(d.Bytes)},
			datapoints.Sample{Metric: p.Records, Value: float64(d.Records)},
		)
	}
	if m.ofRecords() {
		return append(samples, successOfRecords(p, d)...)
	}
	if d.Outcome == batch.Delivered {
		samples = append(samples, datapoints.Sample{Metric: p.ObjectCount, Value: 1}, datapoints.Sample{Metric: p.Success, Value: 1})
	}
	return samples
}

// successOfRecords counts each record, so that the average over any time is the guide's ratio.
func successOfRecords(p datapoints.Delivered, d batch.Delivery) (samples []datapoints.Sample) {
	if d.Records > 0 {
		samples = append(samples, datapoints.Sample{Metric: p.Success, Value: 1, Times: uint64(d.Records)})
	}
	if d.FailedRecords > 0 {
		samples = append(samples, datapoints.Sample{Metric: p.Success, Value: 0, Times: uint64(d.FailedRecords)})
	}
	return samples
}

// failed counts an attempt that failed. Its records have no outcome yet: where Success is of records, it says nothing.
func (m *Metrics) failed(d batch.Descriptor, code string) {
	m.failures.WithLabelValues(string(d.Stream), code).Inc()
	if !m.ofRecords() {
		for _, p := range m.points {
			m.recorder.Record(d.Stream, datapoints.Sample{Metric: p.Success, Value: 0})
		}
	}
	m.age(d.Stream, d.Oldest)
}

// age does not know that of a batch of which nothing was left when it was cut.
func (m *Metrics) age(stream names.Stream, oldest time.Time) {
	if oldest.IsZero() {
		return
	}
	seconds := time.Since(oldest).Seconds()
	m.freshness.WithLabelValues(string(stream)).Set(seconds)
	for _, p := range m.points {
		m.recorder.Record(stream, datapoints.Sample{Metric: p.DataFreshness, Value: max(seconds, 0)})
	}
}

// forget drops the series of a delivery stream that is gone.
func (m *Metrics) forget(stream names.Stream) {
	labels := prometheus.Labels{"stream": string(stream)}
	for _, v := range []*prometheus.CounterVec{m.bytes, m.records, m.batches, m.objects, m.expired, m.failures, m.setAside, m.setAsideBytes} {
		if v != nil {
			v.DeletePartialMatch(labels)
		}
	}
	m.freshness.DeletePartialMatch(labels)
}
