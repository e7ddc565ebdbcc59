package names

import (
	"fmt"
	"strings"
)

// Log streams that the failures of a leg go to unless the delivery stream names another one.
const (
	S3LogStream     = "S3Delivery"
	BackupLogStream = "BackupDelivery"
)

// LogStream is the log stream of a leg unless the delivery stream names another one.
func LogStream(leg Leg) string {
	switch leg {
	case LegES:
		return "ElasticsearchDelivery"
	case LegRedshift:
		return "RedshiftDelivery"
	case LegBackup:
		return BackupLogStream
	default:
		return S3LogStream
	}
}

// LogGroup is the log group of a delivery stream unless it names another one.
func LogGroup(s Stream) string { return "/aws/kinesisfirehose/" + string(s) }

// ErrorsSubject is one error log of a delivery stream: errors.<stream>.<log stream>. A log stream's name, which may hold
// anything but ':' and '*', is one token: see logToken.
func ErrorsSubject(s Stream, logStream string) string {
	return "errors." + s.token() + "." + logToken(logStream)
}

// StreamErrors matches every error log of a delivery stream.
func StreamErrors(s Stream) string { return "errors." + s.token() + ".*" }

// logToken writes a log stream's name as one token of a subject. What has a meaning there, does not print, or is not
// ASCII becomes '~' and the two hexadecimal digits of each byte; the rest, S3Delivery for example, stays. No two names
// have the same token.
func logToken(name string) string {
	if name == "" {
		return "~" // a token may not be empty, and this one is nobody else's
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(".*>~", c) >= 0 {
			fmt.Fprintf(&b, "~%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// account stands where a delivery stream's name does in the subjects of what is counted for all of them. No delivery
// stream's name has an '@'.
const account = "@account"

// MetricsSubject is where the datapoints of one metric of a delivery stream are published, or those of the account if s is
// empty: metrics.<stream>.<metric>. A '.' in the metric's name, such as that of PutRecord.Bytes, stays one.
func MetricsSubject(s Stream, metric string) string {
	return "metrics." + metricsToken(s) + "." + metric
}

// StreamMetrics matches every metric of a delivery stream, or of the account if s is empty.
func StreamMetrics(s Stream) string { return "metrics." + metricsToken(s) + ".>" }

func metricsToken(s Stream) string {
	if s == "" {
		return account
	}
	return s.token()
}
