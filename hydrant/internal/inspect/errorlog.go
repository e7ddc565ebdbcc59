package inspect

import (
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

// LogOptions says where the failures of one leg of a delivery stream are logged, and whether they are.
func LogOptions(d *catalog.DeliveryStream, leg names.Leg) delivery.LogOptions {
	s3 := d.Destination.S3Of(leg)
	if s3 == nil {
		return delivery.LogOptionsOf(d, names.LogStream(leg), nil)
	}
	return delivery.LogOptionsOf(d, names.LogStream(leg), s3.CloudWatchLoggingOptions)
}
