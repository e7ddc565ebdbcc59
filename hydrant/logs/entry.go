package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"hydrant/hydrant/internal/inspect"
	"hydrant/hydrant/internal/text"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

const (
	lineWidth = 120
	indent    = "    "
)

// entry is an entry as it is stored and as it is understood, which it may not be.
type entry struct {
	data   []byte
	stored time.Time
	delivery.LogEntry
	problem error
}

func newEntry(data []byte, stored time.Time) entry {
	e := entry{data: data, stored: stored}
	e.LogEntry, e.problem = delivery.DecodeLogEntry(data)
	return e
}

// appendJSON appends the stored document as one line. What is no JSON is left out: it would break whoever reads it.
func (e entry) appendJSON(to []byte) []byte {
	line := bytes.NewBuffer(to)
	if err := json.Compact(line, e.data); err != nil {
		return to
	}
	line.WriteByte('\n')
	return line.Bytes()
}

// text is the entry for people: what happened and what to do, the destination's own words, and where to look further.
func (e entry) text() string {
	at := e.Time
	if e.problem != nil {
		at = e.stored
	}
	head := at.UTC().Format("2006-01-02T15:04:05.000Z") + " "
	if e.problem != nil {
		return text.Wrapped(head+e.problem.Error(), lineWidth) + "\n"
	}
	var b strings.Builder
	b.WriteString(text.Wrapped(head+e.ErrorCode+" "+e.Message, lineWidth) + "\n")
	for _, line := range []string{e.Detail, e.facts()} {
		if line != "" {
			b.WriteString(indent + strings.ReplaceAll(text.Wrapped(line, lineWidth-len(indent)), "\n", "\n"+indent) + "\n")
		}
	}
	return b.String()
}

func (e entry) facts() string {
	var facts []string
	add := func(there bool, format string, values ...any) {
		if there {
			facts = append(facts, fmt.Sprintf(format, values...))
		}
	}
	add(e.RequestID != "", "request %s", e.RequestID)
	add(e.HostID != "", "host %s", e.HostID)
	add(e.Bucket != "", "bucket %s", e.Bucket)
	add(e.Bucket == "" && e.Destination != "", "destination %s", e.Destination)
	add(e.Batch != "", "batch %s", e.Batch)
	add(e.Records > 0, "%d records", e.Records)
	add(e.SetAsideAt != "", "set aside in %s", e.SetAsideAt)
	add(e.Attempt > 0, "attempt %d", e.Attempt)
	add(e.DeliveryStreamVersionID > 0, "version %d", e.DeliveryStreamVersionID)
	add(e.LogStream != "", "log stream %s", e.LogStream)
	add(e.Suppressed > 0, "%d more of this code before it were left out", e.Suppressed)
	return strings.Join(facts, ", ")
}

// advice says for each leg whose failures are not logged how to turn that on.
func advice(d *catalog.DeliveryStream) string {
	var b strings.Builder
	for _, leg := range logged(d) {
		to := inspect.LogOptions(d, leg)
		if to.Enabled {
			continue
		}
		fmt.Fprintf(&b, "\nError logging of %s, leg %s, is off: only records that are lost are logged. Turn it on with\n", d.Name, leg)
		fmt.Fprintf(&b, "  aws firehose update-destination --delivery-stream-name %s --current-delivery-stream-version-id %d \\\n", d.Name, d.Version)
		fmt.Fprintf(&b, "    --destination-id %s --%s-destination-update \\\n    %s\n", d.Destination.ID, shape(d), quoted(enabling(d, leg, to)))
	}
	return b.String()
}

// logged are the legs that have an error log: those that batches are cut for, and the way from there into a table.
func logged(d *catalog.DeliveryStream) []names.Leg {
	var legs []names.Leg
	for _, leg := range d.Legs() {
		legs = append(legs, leg.Leg)
	}
	if d.Destination.Redshift != nil {
		legs = append(legs, names.LegRedshift)
	}
	return legs
}

// shape is what the AWS CLI calls the destination that is to be changed.
func shape(d *catalog.DeliveryStream) string {
	switch to := d.Destination; {
	case to.Search != nil:
		return strings.ToLower(string(to.Search.API))
	case to.Redshift != nil:
		return "redshift"
	}
	return "extended-s3"
}

// enabling is the change that turns logging on.
func enabling(d *catalog.DeliveryStream, leg names.Leg, to delivery.LogOptions) string {
	type options struct {
		Enabled       bool
		LogGroupName  string
		LogStreamName string
	}
	change := any(map[string]options{"CloudWatchLoggingOptions": {true, to.Group, to.Stream}})
	switch {
	case leg == names.LegBackup && d.Destination.Search != nil, leg == names.LegS3 && d.Destination.Redshift != nil:
		change = map[string]any{"S3Update": change}
	case leg == names.LegBackup:
		change = map[string]any{"S3BackupUpdate": change}
	}
	data, _ := json.Marshal(change) // of strings and a bool: it does not fail
	return string(data)
}

// quoted is one word of a shell's.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
