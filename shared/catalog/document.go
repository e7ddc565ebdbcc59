package catalog

import (
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/go-json-experiment/json"

	"hydrant/shared/names"
)

// Format is the version of the document that this build writes, and the newest it reads.
const Format = 1

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

	// Previous holds the destinations that batches still in the log may have been tried under, oldest first.
	Previous []PreviousDestination `json:"previous"`
}

// Destination is where a delivery stream delivers to, in the API's own shape with every default filled in.
type Destination struct {
	ID string                                  `json:"id"`
	S3 *types.ExtendedS3DestinationDescription `json:"s3"`
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

// Legs returns the legs that the delivery stream has.
func (d *DeliveryStream) Legs() []LegHints {
	s3 := d.Destination.S3
	if s3 == nil {
		return nil
	}
	return []LegHints{{
		Leg:      names.LegS3,
		Bytes:    int64(*s3.BufferingHints.SizeInMBs) << 20,
		Interval: time.Duration(*s3.BufferingHints.IntervalInSeconds) * time.Second,
		Since:    d.Created,
	}}
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
	stored.Format = Format
	return json.Marshal(&stored, json.OmitZeroStructFields(true), json.Deterministic(true))
}

func decode(data []byte) (*DeliveryStream, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("delivery stream's document: %w", err)
	}
	if version.Format > Format {
		return nil, fmt.Errorf("delivery stream's document: %w (format %d, known up to %d)", ErrNewerFormat, version.Format, Format)
	}
	d := new(DeliveryStream)
	if err := json.Unmarshal(data, d); err != nil {
		return nil, fmt.Errorf("delivery stream's document: %w", err)
	}
	return d, nil
}
