package ingest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose"

	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// streamOf returns the delivery stream that a call names, of the operations whose calls the guide's metrics count. Whether
// it exists is another question.
func streamOf(input any) names.Stream {
	var name *string
	switch in := input.(type) {
	case putInput:
		name = in.Stream
	case *firehose.DescribeDeliveryStreamInput:
		name = in.DeliveryStreamName
	case *firehose.UpdateDestinationInput:
		name = in.DeliveryStreamName
	}
	if name == nil {
		return ""
	}
	return names.Stream(*name)
}

// recordCall takes the samples of a call. One to a delivery stream that does not exist has none, so that no client can make
// metrics at will.
func (m *apiMetrics) recordCall(operation string, stream names.Stream, took time.Duration) {
	milliseconds := float64(took) / float64(time.Millisecond)
	record := func(latency, requests string) {
		m.points.Record(stream, datapoints.Sample{Metric: latency, Value: milliseconds}, datapoints.Sample{Metric: requests, Value: 1})
	}
	if operation == "ListDeliveryStreams" { // the account's
		record(datapoints.ListLatency, datapoints.ListRequests)
		return
	}
	if stream == "" || !m.exists(stream) {
		return
	}
	switch operation {
	case "DescribeDeliveryStream":
		record(datapoints.DescribeLatency, datapoints.DescribeRequests)
	case "UpdateDestination":
		record(datapoints.UpdateLatency, datapoints.UpdateRequests)
	case "PutRecord":
		record(datapoints.PutRecordLatency, datapoints.PutRecordRequests)
		m.points.Record(stream, datapoints.Sample{Metric: datapoints.IncomingPutRequests, Value: 1})
	case putRecordBatchName:
		record(datapoints.PutRecordBatchLatency, datapoints.PutRecordBatchRequests)
		m.points.Record(stream, datapoints.Sample{Metric: datapoints.IncomingPutRequests, Value: 1})
	}
}

// recordPut takes the samples of a put's records: those that were acknowledged, and those that were not.
func (m *apiMetrics) recordPut(operation string, stream names.Stream, stored, bytes, refused int) {
	if refused > 0 {
		m.points.Record(stream, datapoints.Sample{Metric: datapoints.ThrottledRecords, Value: float64(refused)})
	}
	if stored == 0 {
		return
	}
	m.points.Record(stream,
		datapoints.Sample{Metric: datapoints.IncomingBytes, Value: float64(bytes)},
		datapoints.Sample{Metric: datapoints.IncomingRecords, Value: float64(stored)},
	)
	if operation == putRecordBatchName {
		m.points.Record(stream,
			datapoints.Sample{Metric: datapoints.PutRecordBatchBytes, Value: float64(bytes)},
			datapoints.Sample{Metric: datapoints.PutRecordBatchRecords, Value: float64(stored)},
		)
		return
	}
	m.points.Record(stream, datapoints.Sample{Metric: datapoints.PutRecordBytes, Value: float64(bytes)})
}
