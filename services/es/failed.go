package es

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	firehose "github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/faultpoint"
	"hydrant/shared/objectname"
	"hydrant/shared/objectstore"
	"hydrant/shared/recordlog"
	"hydrant/shared/redrive"
)

// errorType is what !{firehose:error-output-type} becomes, and the folder where nothing else is set.
const errorType = "elasticsearch-failed"

// Metadata of the file of failed documents, beside its own records and bytes: the rest of the batch's outcome, for who finds
// the file because its writer did not get to acknowledge the batch.
const (
	metadataDelivered      = "hydrant-delivered"
	metadataDeliveredBytes = "hydrant-delivered-bytes"
	metadataExpired        = "hydrant-expired"
	metadataVersion        = "hydrant-version"
)

// countTries is how often what is left to set aside is counted and written while more of it expires.
const countTries = 4

// failedObject is the file that a batch's failed documents become under one version of the configuration.
func (t *try) failedObject(version int, to catalog.Destination) (objectstore.Object, error) {
	s3 := to.ErrorsS3()
	o, err := objectstore.In(s3)
	if err != nil {
		return o, fmt.Errorf("version %d of the delivery stream: failed documents: %w", version, err)
	}
	o.Stream, o.ARN, o.Batch = t.Stream.Name, t.Stream.ARN, t.Batch.ID()
	o.Key, err = failedKey(t.installation, t.Batch, version, s3)
	return o, err
}

// failedKey is the file's name: the evaluated prefix for failed records, and the guide's object name. What is random in it is
// derived from the batch, so that every attempt means the same file.
func failedKey(installation string, d batch.Descriptor, version int, s3 *firehose.ExtendedS3DestinationDescription) (string, error) {
	prefix, err := objectname.ParseError(aws.ToString(s3.Prefix), aws.ToString(s3.ErrorOutputPrefix))
	if err != nil {
		return "", fmt.Errorf("version %d of the delivery stream: %w", version, err)
	}
	identity := objectname.Identify(installation, d, errorType)
	folder := prefix.Evaluate(objectname.Values{At: d.Oldest, Seed: identity[:], ErrorType: errorType})
	return folder + objectname.Name(string(d.Stream), version, d.Oldest, nil, identity.UUID()), nil
}

// count reads what is to be set aside, for its number and bytes, and finds out what of it has expired.
func (t *try) count(ctx context.Context) (records int, size int64, err error) {
	err = t.read(ctx, t.unsettled, func(m recordlog.Message, start int) error {
		for i, length := range m.Lengths {
			if t.unsettled(start + i) {
				records++
				size += int64(length)
			}
		}
		return nil
	})
	return records, size, err
}

// unsettled tells whether a record is set aside, now that nothing is sent any more.
func (t *try) unsettled(ordinal int) bool {
	return t.ledger.pending(ordinal) || t.ledger.failed(ordinal)
}

// errFewer says that more of the batch expired while it was set aside.
var errFewer = errors.New("fewer documents are left than there were a moment ago")

// setAside writes the file of failed documents, once, and returns it with the outcome in its metadata; nil if nothing is left
// to set aside.
func (t *try) setAside(ctx context.Context, ended time.Time) (objectstore.Object, *objectstore.Found, error) {
	o, err := t.failedObject(t.Stream.Version, t.Stream.Destination)
	if err != nil {
		return o, nil, internal(err)
	}
	for attempt := 1; ; attempt++ {
		records, size, err := t.count(ctx)
		if err != nil || records == 0 {
			return o, nil, err
		}
		o.Metadata = t.outcome(records, size)
		faultpoint.Hit("es.before-failed-file")
		found, err := t.store.Create(ctx, objectstore.Write{
			Object: o, Again: t.mayRepeat(), Held: t.Held,
			Body: func(ctx context.Context, w io.Writer) error { return t.writeFailed(ctx, w, records, ended) },
		})
		faultpoint.Hit("es.failed-file")
		if !errors.Is(err, errFewer) || attempt == countTries {
			return o, found, err
		}
	}
}

// outcome is the batch's, as the file's metadata have it.
func (t *try) outcome(records int, size int64) map[string]string {
	settled := t.ledger.tally()
	metadata := map[string]string{
		objectstore.MetadataRecords: strconv.Itoa(records),
		objectstore.MetadataBytes:   strconv.FormatInt(size, 10),
		metadataDelivered:           strconv.Itoa(settled.done),
		metadataDeliveredBytes:      strconv.FormatInt(t.ledger.bytes, 10),
		metadataExpired:             strconv.Itoa(t.Batch.Records - settled.done - records),
		metadataVersion:             strconv.Itoa(t.Stream.Version),
		redrive.MetadataCode:        codeDocumentsFailed,
		redrive.MetadataReason:      objectstore.MetadataText(t.why()),
	}
	return maps.Clone(metadata)
}

// writeFailed writes the lines. Of the same ledger it writes the same bytes, however often.
func (t *try) writeFailed(ctx context.Context, w io.Writer, records int, ended time.Time) error {
	lines := failedLines{w: bufio.NewWriterSize(w, 64<<10), ledger: t.ledger, named: t.naming(t.known()), ended: ended, rest: t.rest()}
	err := t.read(ctx, t.unsettled, func(m recordlog.Message, start int) error {
		from := 0
		for i, length := range m.Lengths {
			if t.unsettled(start + i) {
				if err := lines.write(m, start+i, i, m.Payload[from:from+length]); err != nil {
					return err
				}
			}
			from += length
		}
		return nil
	})
	if err != nil {
		return err
	}
	if lines.count != records {
		return errFewer
	}
	return lines.w.Flush()
}

// rest is the reason of documents that were not sent: what kept the last pass from it.
func (t *try) rest() reason {
	if t.worst == nil {
		return reason{Status: noAnswer, Text: "not sent: the retry duration was over before the server could be reached"}
	}
	return reason{Status: statusOf(t.worst), Text: "not sent: " + bounded(t.worst.Error())}
}

// known is the server as far as it is known, without asking.
func (t *try) known() version {
	to, err := t.servers.of(t.Stream)
	if err != nil {
		return version{}
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	return to.is
}
