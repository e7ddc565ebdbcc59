package catalog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/go-json-experiment/json"

	"hydrant/shared/format"
	"hydrant/shared/names"
)

// Format is the newest version of the document that this build reads. Version 2 came with settings that a service which knows
// only version 1 would pass over: prefix expressions, formats, backups, tags; version 3 with the search destination, version 4
// with Redshift. What needs nothing of a version is written as an older one, so that services that are not upgraded yet go on
// with it.
const Format = 4

// DeliveryStream is one delivery stream's document. It is never changed in place: who has one may keep it.
type DeliveryStream struct {
	Format int                        `json:"format"`
	Name   names.Stream               `json:"name"`
	ID     names.StreamID             `json:"id"`
	ARN    string                     `json:"arn"`
	Status types.DeliveryStreamStatus `json:"status"` // CREATING, ACTIVE or DELETING

	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"` // zero before the first update

	Shards           int   `json:"shards"`
	RetentionSeconds int64 `json:"retention_seconds"`

	Version     int         `json:"version"` // 1 at creation, one more with each update
	Destination Destination `json:"destination"`

	Tags []types.Tag `json:"tags"` // in the order they were set in

	// Previous holds the destinations that batches still in the log may have been tried under, oldest first.
	Previous []PreviousDestination `json:"previous"`
}

// Destination is where a delivery stream delivers to, in the API's own shape with every default filled in.
type Destination struct {
	ID string                                  `json:"id"`
	S3 *types.ExtendedS3DestinationDescription `json:"s3"`

	// Search is there instead of S3 where the destination is Elasticsearch or OpenSearch.
	Search *SearchDestination `json:"search"`

	// Redshift is there instead of S3 where the destination is Redshift.
	Redshift *RedshiftDestination `json:"redshift"`

	// BackupSince is when the source-record backup of an S3 or a Redshift destination was switched on: records that arrived
	// earlier are not backed up. That of a search destination is there from the delivery stream's creation or never.
	BackupSince time.Time `json:"backup_since"`
}

// S3Of returns where one leg writes objects to, and how; nil if the destination does not have that leg, or the leg writes no
// objects. A backup has fewer settings than the destination itself and comes in the same, wider, form.
func (d Destination) S3Of(leg names.Leg) *types.ExtendedS3DestinationDescription {
	switch {
	case d.Search != nil:
		return d.Search.s3Of(leg)
	case d.Redshift != nil:
		return d.Redshift.s3Of(leg)
	case d.S3 == nil:
		return nil
	case leg == names.LegS3:
		return d.S3
	case leg == names.LegBackup && d.S3.S3BackupMode == types.S3BackupModeEnabled:
		return widened(d.S3.S3BackupDescription)
	}
	return nil
}

// ErrorsS3 returns where what a search destination does not take is set aside, and how; nil for other destinations.
func (d Destination) ErrorsS3() *types.ExtendedS3DestinationDescription {
	if d.Search == nil {
		return nil
	}
	return widened(d.Search.Description.S3DestinationDescription)
}

// Logging returns what the delivery stream's owner wants to have logged of one leg, and where; nil if the destination does
// not have that leg.
func (d Destination) Logging(leg names.Leg) *types.CloudWatchLoggingOptions {
	switch {
	case leg == names.LegES && d.Search != nil:
		return d.Search.Description.CloudWatchLoggingOptions
	case leg == names.LegRedshift && d.Redshift != nil:
		return d.Redshift.Description.CloudWatchLoggingOptions
	}
	if s3 := d.S3Of(leg); s3 != nil {
		return s3.CloudWatchLoggingOptions
	}
	return nil
}

func widened(s3 *types.S3DestinationDescription) *types.ExtendedS3DestinationDescription {
	if s3 == nil {
		return nil
	}
	return &types.ExtendedS3DestinationDescription{
		BucketARN:                s3.BucketARN,
		RoleARN:                  s3.RoleARN,
		Prefix:                   s3.Prefix,
		ErrorOutputPrefix:        s3.ErrorOutputPrefix,
		BufferingHints:           s3.BufferingHints,
		CompressionFormat:        s3.CompressionFormat,
		EncryptionConfiguration:  s3.EncryptionConfiguration,
		CloudWatchLoggingOptions: s3.CloudWatchLoggingOptions,
	}
}

// PreviousDestination is a destination that an update replaced.
type PreviousDestination struct {
	Version     int         `json:"version"`
	Replaced    time.Time   `json:"replaced"`
	Destination Destination `json:"destination"`
}

// Retention is how long a record is kept for delivery.
func (d *DeliveryStream) Retention() time.Duration {
	return time.Duration(d.RetentionSeconds) * time.Second
}

// LegHints are the buffering hints of one leg, and when the leg began: records that arrived earlier are not its own.
type LegHints struct {
	Leg      names.Leg
	Bytes    int64
	Interval time.Duration
	Since    time.Time
}

// Legs returns the legs that batches of the delivery stream are cut for, that of the destination itself first.
func (d *DeliveryStream) Legs() []LegHints {
	if d.Destination.Search != nil {
		return d.Destination.Search.legs(d.Created)
	}
	var legs []LegHints
	for _, l := range []LegHints{{Leg: names.LegS3, Since: d.Created}, {Leg: names.LegBackup, Since: d.Destination.BackupSince}} {
		if s3 := d.Destination.S3Of(l.Leg); s3 != nil {
			legs = append(legs, hints(l.Leg, l.Since, *s3.BufferingHints))
		}
	}
	return legs
}

func hints(leg names.Leg, since time.Time, h types.BufferingHints) LegHints {
	return LegHints{
		Leg: leg, Since: since,
		Bytes:    int64(*h.SizeInMBs) << 20,
		Interval: time.Duration(*h.IntervalInSeconds) * time.Second,
	}
}

// DestinationsSince returns the destinations that batches cut under version or later may have been tried under, other
// than the present one, oldest first.
func (d *DeliveryStream) DestinationsSince(version int) []PreviousDestination {
	for i, p := range d.Previous {
		if p.Version >= version {
			return d.Previous[i:]
		}
	}
	return nil
}

// Replace makes to the destination under the next version. The old one is kept as long as a record that was put before
// now may be in the log, and an hour more.
func (d *DeliveryStream) Replace(to Destination, now time.Time) {
	kept := now.Add(-d.Retention() - time.Hour)
	previous := make([]PreviousDestination, 0, len(d.Previous)+1)
	for _, p := range d.Previous {
		if p.Replaced.After(kept) {
			previous = append(previous, p)
		}
	}
	previous = append(previous, PreviousDestination{Version: d.Version, Replaced: now, Destination: d.Destination})
	d.Previous = previous
	d.Destination = to
	d.Version++
	d.Updated = now
}

// Bucket returns the name in an S3 bucket's ARN.
func Bucket(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

func encode(d *DeliveryStream) ([]byte, error) {
	stored := *d // the caller's may be in use elsewhere
	stored.Format = d.format()
	return json.Marshal(&stored, json.OmitZeroStructFields(true), json.Deterministic(true), json.WithMarshalers(json.MarshalFunc(Password.stored)))
}

// format is the lowest version of the document that has all that this one needs.
func (d *DeliveryStream) format() int {
	needed := d.Destination.format()
	for _, p := range d.Previous {
		needed = max(needed, p.Destination.format())
	}
	return needed
}

func (d Destination) format() int {
	switch {
	case d.Redshift != nil:
		return 4
	case d.Search != nil:
		return 3
	}
	return 2
}

func decode(data []byte) (*DeliveryStream, error) { return read(data) }

// decodeWhole refuses a document of which it would lose something.
func decodeWhole(data []byte) (*DeliveryStream, error) {
	d, err := read(data, json.RejectUnknownMembers(true))
	if errors.Is(err, json.ErrUnknownName) {
		return nil, fmt.Errorf("%w: %w", format.ErrNewer, err)
	}
	return d, err
}

func read(data []byte, options ...json.Options) (*DeliveryStream, error) {
	if err := format.CheckDocument(data, Format); err != nil {
		return nil, fmt.Errorf("delivery stream's document: %w", err)
	}
	d := new(DeliveryStream)
	if err := json.Unmarshal(data, d, options...); err != nil {
		return nil, fmt.Errorf("delivery stream's document: %w", err)
	}
	return d, nil
}
