// Package redrive delivers anew what a delivery stream's destination did not take and was set aside in S3: it finds the objects,
// hands one after the other to the destination, and moves those aside that are dealt with.
//
// Guarantees:
//   - An object is moved aside only after its destination said that all it stands for is delivered, or that what is left is in a
//     new object, written before. Anything else is left as it is, and told. Nothing is lost, whatever fails or is killed in between.
//   - What was moved aside is not found again. An object that was dealt with and not moved, because the process was killed, is handed
//     to the destination again by the next run. That nothing is delivered twice is the destination's doing, see Destination.
//   - Nothing of another delivery stream is touched, also not one of the same name that was deleted: the id of the delivery stream
//     in the object's metadata decides, and not its name.
//   - A dry run changes nothing, and asks the destination nothing.
//
// Not guaranteed: that objects are found which were set aside under settings that the delivery stream does not have any more.
package redrive

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/objectstore"
)

// Metadata that tell of an object why it was set aside.
const (
	MetadataCode   = "hydrant-code"
	MetadataReason = "hydrant-reason"
)

// Source is where a destination's share of what was set aside is found.
type Source struct {
	Stream *catalog.DeliveryStream
	Leg    names.Leg
	// S3 is the settings that objects are set aside under, and ErrorType what !{firehose:error-output-type} becomes.
	S3        *types.ExtendedS3DestinationDescription
	ErrorType string
}

// Item is an object that was set aside.
type Item struct {
	Object objectstore.Object // where it is and whose; Batch and Metadata are what it says of itself
	Size   int64
	At     time.Time // when it was set aside, by the clock of S3
	// Version tells this content of the object from any other (its ETag).
	Version string
}

// Records is how many records it stands for, as far as it says; otherwise 0.
func (i Item) Records() int {
	n, err := strconv.Atoi(i.Object.Metadata[objectstore.MetadataRecords])
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// of tells whether the item is of the source: its batch's id begins with the delivery stream's id and the leg.
func (i Item) of(s Source) bool {
	return strings.HasPrefix(string(i.Object.Batch), string(s.Stream.ID)+"."+string(s.Leg)+".")
}

// Outcome is what became of one item, in records, or documents, which are the same number.
type Outcome struct {
	Delivered int // now
	Already   int // they were delivered before
	Left      int // they are not delivered

	// Rest is a new object with what is left and nothing else, as s3://bucket/key. It is there when Redrive returns. Empty while
	// something is left says that the item itself stays as it is.
	Rest string
	// Why tells why something is left, or the item could not be read; nil where nothing is. With it and nothing left, the
	// number is not known, and the item stays.
	Why *delivery.Error
}

// dealtWith tells that nothing but the item's being there is left to do about it.
func (o Outcome) dealtWith() bool { return o.Why == nil || o.Rest != "" }

// Destination delivers items again.
type Destination interface {
	// Source is where its items are.
	Source() Source
	// Redrive delivers what the item stands for. It may be called for an item that was delivered before, wholly or in part, by this
	// process or another, also while another call for it runs elsewhere or a process wakes that stalled in the middle of one, and
	// while the service delivers; it must then deliver nothing twice, as far as the destination lets it, and says so where it does not.
	//
	// An error says that it makes no sense to go on with other items: the destination is away, or would refuse all. With a Rest
	// the item is moved aside all the same. Whatever is wrong with this item alone is in the Outcome. When ctx ends it returns soon, having done nothing, everything, or something
	// that the next call finds out.
	Redrive(ctx context.Context, item Item) (Outcome, error)
}

// batchOf is the id in an object's metadata.
func batchOf(metadata map[string]string) batch.ID {
	return batch.ID(metadata[objectstore.MetadataBatch])
}
