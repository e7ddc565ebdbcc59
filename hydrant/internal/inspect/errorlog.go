package inspect

import (
	"hydrant/shared/catalog"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
)

// LogOptions says where the failures of one leg of a delivery stream are logged, and whether they are.
func LogOptions(d *catalog.DeliveryStream, leg names.Leg) delivery.LogOptions {
	return delivery.LogOptionsOf(d, names.LogStream(leg), d.Destination.Logging(leg))
}
