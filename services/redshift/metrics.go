package redshift

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// metrics are the guide's of this destination, as datapoints and as Prometheus has them. Bytes and records are those loaded.
// Success is, as the guide has it, COPYs that loaded over all COPYs.
type metrics struct {
	bytes, records, objects, setAside *prometheus.CounterVec
	copies, failures                  *prometheus.CounterVec
	freshness                         *prometheus.GaugeVec
	points                            datapoints.Delivered
	recorder                          *datapoints.Recorder
}

func newMetrics(registry prometheus.Registerer, recorder *datapoints.Recorder) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "hydrant", Subsystem: "delivery_to_redshift", Name: name, Help: help},
			append([]string{"stream"}, labels...))
		registry.MustRegister(c)
		return c
	}
	m := &metrics{
		bytes:    counter("bytes_total", "Bytes of records loaded, before compression."),
		records:  counter("records_total", "Records loaded."),
		objects:  counter("object_count_total", "Staged objects loaded."),
		setAside: counter("set_aside_records_total", "Records of staged objects that could not be loaded and are named in an error manifest."),
		copies:   counter("success_total", "COPYs that loaded."),
		failures: counter("failures_total", "Failures to load, by error code.", "code"),
		freshness: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "hydrant", Subsystem: "delivery_to_redshift", Name: "data_freshness_seconds",
			Help: "Age of the oldest record of the staged objects that were last loaded or set aside.",
		}, []string{"stream"}),
		points: datapoints.DeliveredBy("DeliveryToRedshift"), recorder: recorder,
	}
	registry.MustRegister(m.freshness)
	return m
}

// copied counts a COPY.
func (m *metrics) copied(stream names.Stream, f *failure) {
	if f == nil {
		m.copies.WithLabelValues(string(stream)).Inc()
		m.recorder.Record(stream, datapoints.Sample{Metric: m.points.Success, Value: 1})
		return
	}
	if !f.stopping {
		m.recorder.Record(stream, datapoints.Sample{Metric: m.points.Success, Value: 0})
	}
}

// failed counts a failure of a round, however many objects it is of.
func (m *metrics) failed(stream names.Stream, code string) {
	m.failures.WithLabelValues(string(stream), code).Inc()
}

// settled counts the outcome of an object.
func (m *metrics) settled(d batch.Delivery) {
	stream := string(d.Stream)
	m.setAside.WithLabelValues(stream).Add(float64(d.FailedRecords))
	age := time.Since(d.Oldest).Seconds()
	m.freshness.WithLabelValues(stream).Set(age)
	samples := []datapoints.Sample{{Metric: m.points.DataFreshness, Value: max(age, 0)}}
	if d.Outcome == batch.Delivered {
		m.bytes.WithLabelValues(stream).Add(float64(d.Bytes))
		m.records.WithLabelValues(stream).Add(float64(d.Records))
		m.objects.WithLabelValues(stream).Inc()
		samples = append(samples, datapoints.Sample{Metric: m.points.Bytes, Value: float64(d.Bytes)},
			datapoints.Sample{Metric: m.points.Records, Value: float64(d.Records)})
	}
	m.recorder.Record(d.Stream, samples...)
}

// forget drops the series of a delivery stream that is gone.
func (m *metrics) forget(d *catalog.DeliveryStream) {
	labels := prometheus.Labels{"stream": string(d.Name)}
	for _, v := range []*prometheus.CounterVec{m.bytes, m.records, m.objects, m.setAside, m.copies, m.failures} {
		v.DeletePartialMatch(labels)
	}
	m.freshness.DeletePartialMatch(labels)
}
