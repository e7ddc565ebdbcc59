package es

import (
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
)

// indexName is the guide's name of the index that a record goes to: the name that is set, and behind it a part of the time in
// UTC at which the record arrived. Weeks are those of ISO 8601, with its year, which is another than the calendar's around
// New Year.
func indexName(name string, rotation types.AmazonopensearchserviceIndexRotationPeriod, arrived time.Time) string {
	arrived = arrived.UTC()
	switch rotation {
	case types.AmazonopensearchserviceIndexRotationPeriodOneHour:
		return name + arrived.Format("-2006-01-02-15")
	case types.AmazonopensearchserviceIndexRotationPeriodOneDay:
		return name + arrived.Format("-2006-01-02")
	case types.AmazonopensearchserviceIndexRotationPeriodOneWeek:
		year, week := arrived.ISOWeek()
		return fmt.Sprintf("%s-%04d-w%02d", name, year, week)
	case types.AmazonopensearchserviceIndexRotationPeriodOneMonth:
		return name + arrived.Format("-2006-01")
	default:
		return name
	}
}
