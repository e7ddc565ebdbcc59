package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// apiMetrics count what the API does, under names after those of the Firehose guide: for Prometheus, and as datapoints.
type apiMetrics struct {
	points *datapoints.Recorder
	exists func(names.Stream) bool

	requests *prometheus.HistogramVec // by operation
	errors   *prometheus.CounterVec   // by operation and code

	incomingBytes, incomingRecords *prometheus.CounterVec // by stream
	single, batch                  putMetrics
	failedRecords                  *prometheus.CounterVec // by stream
}

// putMetrics are those of one put operation, by stream. Bytes and records are those that were acknowledged.
type putMetrics struct {
	requests, records, bytes *prometheus.CounterVec
}

// newAPIMetrics registers the metrics. Datapoints are recorded of delivery streams that exist; somebody else runs the recorder.
func newAPIMetrics(registry prometheus.Registerer, memory *memory, points *datapoints.Recorder, exists func(names.Stream) bool) (*apiMetrics, error) {
	perStream := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hydrant_" + name, Help: help}, []string{"stream"})
	}
	m := &apiMetrics{
		points: points,
		exists: exists,
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "hydrant_api_request_seconds",
			Help:    "Time from a request's header to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hydrant_api_errors_total",
			Help: "Requests answered with an error.",
		}, []string{"operation", "code"}),
		incomingBytes:   perStream("incoming_bytes_total", "Bytes of records acknowledged."),
		incomingRecords: perStream("incoming_records_total", "Records acknowledged."),
		single: putMetrics{
			requests: perStream("put_record_requests_total", "PutRecord requests."),
			bytes:    perStream("put_record_bytes_total", "Bytes acknowledged to PutRecord."),
		},
		batch: putMetrics{
			requests: perStream("put_record_batch_requests_total", "PutRecordBatch requests."),
			records:  perStream("put_record_batch_records_total", "Records acknowledged to PutRecordBatch."),
			bytes:    perStream("put_record_batch_bytes_total", "Bytes acknowledged to PutRecordBatch."),
		},
		failedRecords: perStream("put_failed_records_total", "Records refused, or not known to be stored."),
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hydrant_request_memory_bytes",
		Help: "Memory that requests in flight hold, out of --request-memory.",
	}, func() float64 { return float64(memory.used.Load()) })
	err := register(registry, m.requests, m.errors, held)
	for _, series := range m.perStream() {
		err = errors.Join(err, register(registry, series))
	}
	return m, err
}

func register(registry prometheus.Registerer, collectors ...prometheus.Collector) error {
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return fmt.Errorf("register a metric: %w", err)
		}
	}
	return nil
}

func (m *apiMetrics) perStream() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{
		m.incomingBytes, m.incomingRecords, m.failedRecords,
		m.single.requests, m.single.bytes,
		m.batch.requests, m.batch.records, m.batch.bytes,
	}
}

func (m *apiMetrics) observe(call *request, took time.Duration, failure *apiFailure) {
	m.requests.WithLabelValues(call.name).Observe(took.Seconds())
	if failure != nil {
		m.errors.WithLabelValues(call.name, failure.code).Inc()
	}
	m.recordCall(call.name, call.stream, took)
}

// countPut counts a put to a delivery stream that exists, so that no client can make series at will.
func (m *apiMetrics) countPut(operation string, d *catalog.DeliveryStream, results *putResults) {
	stored, bytes := results.stored()
	failed := results.records - stored
	stream := string(d.Name)
	count := func(c *prometheus.CounterVec, n int) {
		if c != nil {
			c.WithLabelValues(stream).Add(float64(n))
		}
	}
	by := m.single
	if operation == putRecordBatchName {
		by = m.batch
	}
	count(by.requests, 1)
	count(by.records, stored)
	count(by.bytes, bytes)
	count(m.incomingRecords, stored)
	count(m.incomingBytes, bytes)
	count(m.failedRecords, failed)
	m.recordPut(operation, d.Name, stored, bytes, failed)
}

// forget drops the series of a delivery stream that is gone.
func (m *apiMetrics) forget(stream names.Stream) {
	for _, series := range m.perStream() {
		series.DeleteLabelValues(string(stream))
	}
}

// registerCommitMetrics shows what the commit path counts. The functions of a service that has ended go on answering.
func registerCommitMetrics(registry prometheus.Registerer, puts *putLog, gate *gate) error {
	counter := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "hydrant_ingest_" + name, Help: help},
			func() float64 { return float64(value()) })
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hydrant_ingest_" + name, Help: help}, value)
	}
	return register(registry,
		gauge("puts_waiting", "Puts that wait for a commit.", func() float64 { return float64(puts.counts.Waiting.Load()) }),
		counter("commits_total", "Commits that JetStream acknowledged: a message, or an atomic batch.", puts.counts.Commits.Load),
		counter("messages_total", "Messages committed.", puts.counts.Messages.Load),
		counter("message_bytes_total", "Payload of the messages committed.", puts.counts.Bytes.Load),
		counter("repeats_total", "Tries repeated because the outcome of the last one was not clear.", puts.counts.Repeats.Load),
		counter("batches_apart_total", "Atomic batches that were published one by one instead.", puts.counts.Apart.Load),
		gauge("store_used_bytes", "Bytes used of the JetStream store, as far as this replica knows.", func() float64 { return float64(gate.figures().Used) }),
		gauge("store_limit_bytes", "Limit of the JetStream store; 0 when it is not known.", func() float64 { return float64(gate.figures().Limit) }),
		gauge("store_refusing", "1 while new records are refused because the store is almost full, is not synced, or could not be written.", func() float64 {
			if gate.figures().Refusing {
				return 1
			}
			return 0
		}),
	)
}
