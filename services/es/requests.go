package es

import (
	"fmt"
	"time"
)

const (
	// A request has room for the largest record there is, and the line before it.
	leastBulkSize = 2 << 20
	mostBulkSize  = 64 << 20
)

// Requests are how clusters are asked.
type Requests struct {
	ESSigV4   bool          `name:"es-sigv4" help:"Sign requests to clusters with SigV4, as Amazon's domains want it: with the role of the delivery stream where --sts-endpoint is set, else with the service's own credentials, which are those for S3."`
	ESRegion  string        `name:"es-region" help:"Region that requests to clusters are signed for. Empty means that of the DomainARN, or else --s3-region."`
	ESTimeout time.Duration `name:"es-timeout" default:"60s" help:"How long a cluster may take to answer a request. What sending it takes is not counted."`

	BulkSize     int  `name:"bulk-size" default:"5242880" help:"Bytes of a bulk request, at most. A cluster that is busy gets smaller ones."`
	BulkRecords  int  `name:"bulk-records" default:"10000" help:"Documents of a bulk request, at most."`
	BulkInFlight int  `name:"bulk-in-flight" default:"4" help:"Bulk requests to one cluster at once, and of one batch, at most. A cluster that is busy gets fewer."`
	BulkGzip     bool `name:"bulk-gzip" help:"Compress bulk requests, which saves network at the price of CPU, here and in the cluster."`
}

// Validate finds wrong values.
func (c Requests) Validate() error {
	switch {
	case c.ESTimeout < time.Second:
		return fmt.Errorf("--es-timeout (HYDRANT_ES_TIMEOUT): %s is not accepted; use 1s or more", c.ESTimeout)
	case c.BulkSize < leastBulkSize || c.BulkSize > mostBulkSize:
		return fmt.Errorf("--bulk-size (HYDRANT_BULK_SIZE): %d is not accepted; use %d to %d bytes", c.BulkSize, leastBulkSize, mostBulkSize)
	case c.BulkRecords < 1:
		return fmt.Errorf("--bulk-records (HYDRANT_BULK_RECORDS): %d is not accepted; use 1 or more", c.BulkRecords)
	case c.BulkInFlight < 1 || c.BulkInFlight > 64:
		return fmt.Errorf("--bulk-in-flight (HYDRANT_BULK_IN_FLIGHT): %d is not accepted; use 1 to 64", c.BulkInFlight)
	}
	return nil
}
