// Package names holds the domain's identifiers and how they appear in NATS.
//
// Everything here is a contract with operators who look at an installation with the nats CLI, and with other versions of
// Hydrant that run beside this one: a change of a name is a change of the stored format.
package names

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"
)

// JetStream streams and key-value buckets that exist once an installation.
const (
	BatchesStream    = "BATCHES"
	DeliveriesStream = "DELIVERIES"
	ErrorsStream     = "ERRORS"
	MetricsStream    = "METRICS"

	CatalogBucket      = "STREAMS"
	MembersBucket      = "MEMBERS"
	InstallationBucket = "HYDRANT"
	RetriesBucket      = "RETRIES"
)

// Subjects of the streams above.
const (
	AllBatches = "batches.>"
	AllErrors  = "errors.>"
	AllMetrics = "metrics.>"
	AllRecords = "records.>"
)

// Stream is the name of a delivery stream, as producers write it: 1 to 64 of [a-zA-Z0-9_.-].
type Stream string

// token is the name as one token of a subject and as part of a JetStream name. A delivery stream's name never contains
// '~', so the replacement can be undone.
func (s Stream) token() string { return strings.ReplaceAll(string(s), ".", "~") }

// Key is the name as a key of the catalog. Keys may not contain '~', and a '.' has rules about where it may stand; '=' is
// allowed in keys and never occurs in names.
func (s Stream) Key() string { return strings.ReplaceAll(string(s), ".", "=") }

// StreamFromKey undoes Key.
func StreamFromKey(key string) Stream { return Stream(strings.ReplaceAll(key, "=", ".")) }

// StreamID is made anew each time a delivery stream is created, so that a stream made again under an old name shares
// nothing with its predecessor: 16 characters of [a-z2-7].
type StreamID string

// NewStreamID returns 80 random bits.
func NewStreamID() StreamID {
	var b [10]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return StreamID(strings.ToLower(base32.StdEncoding.EncodeToString(b[:])))
}

// Shard is one log of a delivery stream, counted from 0.
type Shard int

// Leg is one buffered way from a delivery stream to a destination.
type Leg string

// The legs there are. A delivery stream has one of S3 and ES, and Backup where source records are backed up. Redshift is the
// way of S3's objects into a table: no batches are cut for it.
const (
	LegS3       Leg = "s3"
	LegES       Leg = "es"
	LegBackup   Leg = "backup"
	LegRedshift Leg = "redshift"
)

// RecordsSubject is where the records of a shard are published.
func RecordsSubject(s Stream, shard Shard) string {
	return "records." + s.token() + "." + strconv.Itoa(int(shard))
}

// Log is the JetStream stream that keeps one shard of one incarnation of a delivery stream.
//
// The id is part of the JetStream stream's name so that a late message or request, of a process that stalled while the
// delivery stream was deleted and made again, can never reach the successor: a publish names the log that it expects
// (Nats-Expected-Stream), a removal the log that it removes.
type Log struct {
	Stream Stream
	Shard  Shard
	ID     StreamID
}

// JetStream is the name of the log: RECORDS_<stream>_<shard>_<id>.
func (l Log) JetStream() string {
	return "RECORDS_" + l.Stream.token() + "_" + strconv.Itoa(int(l.Shard)) + "_" + string(l.ID)
}

// Subject is where the log's records are published: records.<stream>.<shard>.
func (l Log) Subject() string { return RecordsSubject(l.Stream, l.Shard) }

// ParseLog undoes Log.JetStream; ok is false for the name of any other JetStream stream.
func ParseLog(name string) (l Log, ok bool) {
	rest, found := strings.CutPrefix(name, "RECORDS_")
	id := strings.LastIndexByte(rest, '_')
	if !found || id < 1 {
		return Log{}, false
	}
	shard := strings.LastIndexByte(rest[:id], '_')
	if shard < 1 || id+1 == len(rest) {
		return Log{}, false
	}
	n, err := strconv.ParseUint(rest[shard+1:id], 10, 31)
	if err != nil || rest[shard+1:id] != strconv.FormatUint(n, 10) {
		return Log{}, false
	}
	return Log{Stream(strings.ReplaceAll(rest[:shard], "~", ".")), Shard(n), StreamID(rest[id+1:])}, true
}

// BatchesSubject is where the batches of one leg and shard are published.
func BatchesSubject(leg Leg, s Stream, shard Shard) string {
	return fmt.Sprintf("batches.%s.%s.%d", leg, s.token(), shard)
}

// LegBatches matches the batches of one leg of a delivery stream, whatever the shard.
func LegBatches(leg Leg, s Stream) string { return fmt.Sprintf("batches.%s.%s.*", leg, s.token()) }

// StreamBatches matches the batches of every leg of a delivery stream.
func StreamBatches(s Stream) string { return fmt.Sprintf("batches.*.%s.*", s.token()) }

// DeliveriesSubject is where a sink says what became of a batch.
func DeliveriesSubject(leg Leg, s Stream) string {
	return fmt.Sprintf("deliveries.%s.%s", leg, s.token())
}

// SinkConsumer is the durable consumer on BatchesStream that the replicas of a sink share, for one incarnation of a
// delivery stream: s3sink_<stream>_<id>, es_<stream>_<id>, backup_<stream>_<id>.
func SinkConsumer(leg Leg, s Stream, id StreamID) string {
	service := string(leg)
	if leg == LegS3 {
		service = "s3sink"
	}
	return service + "_" + s.token() + "_" + string(id)
}
