package delivery

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/names"
)

// LogFormat is the version of the entries that this build writes, and the newest it reads.
const LogFormat = 1

// Error codes that are Hydrant's own.
const (
	CodeExpired  = "RecordsExpired"  // of the entry that tells of a loss
	CodeSetAside = "RecordsSetAside" // of records that were set aside, where the destination gave no reason
)

// LogEntry is one entry of a delivery stream's error log, in the form that the guide gives it, and what helps to find the
// cause. It holds no credential and nothing of a record.
type LogEntry struct {
	Format                  int       `json:"format"`
	DeliveryStreamARN       string    `json:"deliveryStreamARN"`
	Destination             string    `json:"destination"`
	DeliveryStreamVersionID int       `json:"deliveryStreamVersionId"`
	ErrorCode               string    `json:"errorCode"`
	Message                 string    `json:"message"`
	Detail                  string    `json:"detail,omitempty"` // the destination's own words
	RequestID               string    `json:"requestId,omitempty"`
	HostID                  string    `json:"hostId,omitempty"`
	Bucket                  string    `json:"bucket,omitempty"`
	LogGroup                string    `json:"logGroup,omitempty"`
	LogStream               string    `json:"logStream,omitempty"`
	Batch                   batch.ID  `json:"batch,omitempty"`
	Attempt                 int       `json:"attempt,omitempty"`
	Records                 int       `json:"records,omitempty"`
	SetAsideAt              string    `json:"setAsideAt,omitempty"` // the object with the Records that could not be delivered
	Suppressed              int       `json:"suppressed,omitempty"` // entries of the same code that were left out before this one
	Time                    time.Time `json:"time"`
}

// DecodeLogEntry reads an entry of the stream ERRORS.
func DecodeLogEntry(data []byte) (LogEntry, error) {
	err := format.CheckDocument(data, LogFormat)
	var entry LogEntry
	if err == nil {
		err = json.Unmarshal(data, &entry)
	}
	if err != nil {
		return LogEntry{}, fmt.Errorf("entry of the error log: %w", err)
	}
	return entry, nil
}

// LogOptions says where the failures of one leg of a delivery stream are logged, and whether they are.
type LogOptions struct {
	Enabled bool
	Group   string
	Stream  string
}

// LogOptionsOf reads a destination's CloudWatchLoggingOptions, which may be nil, and fills in what they leave open.
func LogOptionsOf(d *catalog.DeliveryStream, logStream string, options *types.CloudWatchLoggingOptions) LogOptions {
	to := LogOptions{Group: names.LogGroup(d.Name), Stream: logStream}
	if options == nil {
		return to
	}
	to.Enabled = options.Enabled != nil && *options.Enabled
	if options.LogGroupName != nil && *options.LogGroupName != "" {
		to.Group = *options.LogGroupName
	}
	if options.LogStreamName != nil && *options.LogStreamName != "" {
		to.Stream = *options.LogStreamName
	}
	return to
}

// bucketOf is the bucket in a destination that is one's ARN.
func bucketOf(destination string) string {
	if strings.HasPrefix(destination, "arn:") && strings.Contains(destination, ":s3:::") {
		return catalog.Bucket(destination)
	}
	return ""
}
