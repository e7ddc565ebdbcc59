// Package datapoints keeps the guide's metrics as one-minute datapoints in the JetStream stream METRICS, where CloudWatch
// has them for AWS: sum, least, largest and number of the samples of a minute, under metrics.<stream>.<metric>.
//
// Each replica of a service publishes datapoints of its own. Who reads them adds up those of one minute, and counts a
// repeat once: a datapoint is known by its replica, round and metric (see Key).
//
// Guarantees:
//   - A sample costs its caller a lock and no allocation, and never waits for NATS.
//   - A minute that has ended is published within seconds, only for what has samples; at shutdown the last, partial minute
//     is as well.
//   - A publication with no clear answer is repeated as it is, under the same round, so that nothing counts twice.
//
// Not guaranteed: that nothing is missing. A crash loses the samples of up to a minute. While NATS is away, what could not
// be published is kept for a few minutes and then dropped, the oldest first, and counted (hydrant_datapoints_dropped_total).
package datapoints

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"hydrant/shared/format"
	"hydrant/shared/names"
)

// Format is the version of the documents that this build writes, and the newest it reads.
const Format = 1

// Metrics of the guide that are not of one destination. Those are named <destination>.Bytes and so on: Delivered.
const (
	IncomingBytes       = "IncomingBytes"
	IncomingRecords     = "IncomingRecords"
	IncomingPutRequests = "IncomingPutRequests"
	ThrottledRecords    = "ThrottledRecords"

	PutRecordBytes    = "PutRecord.Bytes"
	PutRecordLatency  = "PutRecord.Latency"
	PutRecordRequests = "PutRecord.Requests"

	PutRecordBatchBytes    = "PutRecordBatch.Bytes"
	PutRecordBatchLatency  = "PutRecordBatch.Latency"
	PutRecordBatchRecords  = "PutRecordBatch.Records"
	PutRecordBatchRequests = "PutRecordBatch.Requests"

	DescribeLatency  = "DescribeDeliveryStream.Latency"
	DescribeRequests = "DescribeDeliveryStream.Requests"
	ListLatency      = "ListDeliveryStreams.Latency"
	ListRequests     = "ListDeliveryStreams.Requests"
	UpdateLatency    = "UpdateDeliveryStream.Latency" // the guide's name for UpdateDestination
	UpdateRequests   = "UpdateDeliveryStream.Requests"
)

// Delivered names the metrics of one destination.
type Delivered struct {
	Bytes, Records, Success, DataFreshness, ObjectCount string
}

// DeliveredBy returns the metrics of a destination such as DeliveryToS3 or BackupToS3.
func DeliveredBy(destination string) Delivered {
	return Delivered{
		Bytes:         destination + ".Bytes",
		Records:       destination + ".Records",
		Success:       destination + ".Success",
		DataFreshness: destination + ".DataFreshness",
		ObjectCount:   destination + ".ObjectCount",
	}
}

// Unit is what a metric's values are in, as CloudWatch calls it.
type Unit string

// The units there are. None is that of a ratio.
const (
	Bytes        Unit = "Bytes"
	Count        Unit = "Count"
	Milliseconds Unit = "Milliseconds"
	Seconds      Unit = "Seconds"
	None         Unit = "None"
)

// UnitOf returns the unit of a metric, which its name tells.
func UnitOf(metric string) Unit {
	switch name := metric[strings.LastIndexByte(metric, '.')+1:]; {
	case strings.HasSuffix(name, "Bytes"):
		return Bytes
	case name == "Latency":
		return Milliseconds
	case name == "DataFreshness":
		return Seconds
	case name == "Success":
		return None
	default:
		return Count
	}
}

// Datapoint is one minute of one metric, as one replica saw it. Round counts the publications of a replica, so that a
// minute that it published twice, because its clock was set back, is two datapoints and no repeat.
type Datapoint struct {
	Format  int          `json:"format"`
	Stream  names.Stream `json:"stream,omitempty"` // absent for the account's
	Metric  string       `json:"metric"`
	Unit    Unit         `json:"unit"`
	Minute  time.Time    `json:"minute"` // its beginning
	Samples uint64       `json:"samples"`
	Sum     float64      `json:"sum"`
	Min     float64      `json:"min"`
	Max     float64      `json:"max"`
	Replica string       `json:"replica"`
	Round   uint64       `json:"round"`
}

// Key tells a repeat of a datapoint's publication from another datapoint.
type Key struct {
	Replica string
	Round   uint64
	Minute  int64
	Stream  names.Stream
	Metric  string
}

// Key returns what the datapoint is known by.
func (d Datapoint) Key() Key { return Key{d.Replica, d.Round, d.Minute.Unix(), d.Stream, d.Metric} }

// Subject is where the datapoint is published.
func (d Datapoint) Subject() string { return names.MetricsSubject(d.Stream, d.Metric) }

// Encode returns the document.
func (d Datapoint) Encode() ([]byte, error) {
	d.Format = Format
	return json.Marshal(d)
}

// Decode reads a document. One of a newer version is refused, not guessed at.
func Decode(data []byte) (Datapoint, error) {
	if err := format.CheckDocument(data, Format); err != nil {
		return Datapoint{}, fmt.Errorf("datapoint: %w", err)
	}
	var d Datapoint
	if err := json.Unmarshal(data, &d); err != nil {
		return Datapoint{}, fmt.Errorf("datapoint: %w", err)
	}
	if d.Metric == "" || d.Minute.IsZero() || d.Samples == 0 {
		return Datapoint{}, errors.New("datapoint: metric, minute or samples missing")
	}
	return d, nil
}
