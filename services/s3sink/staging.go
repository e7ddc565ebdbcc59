package s3sink

import (
	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
)

// announced returns where else, beside DELIVERIES, an outcome of the leg is told: an object that is the staging of Redshift
// is announced to the service that loads it. What expired left no object to load. The backup of the source records is
// nobody's staging.
func (l leg) announced(d *catalog.DeliveryStream, entry batch.Delivery) []string {
	if l.name != names.LegS3 || d.Destination.Redshift == nil || entry.Outcome != batch.Delivered {
		return nil
	}
	return []string{names.StagingSubject(d.Name)}
}
