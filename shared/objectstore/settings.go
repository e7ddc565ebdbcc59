package objectstore

import (
	"errors"
	"fmt"
	"net/url"
	"time"
)

const (
	defaultRegion = "us-east-1"

	// checksumsRequired is the value of --s3-checksums that leaves out the checksums which S3 does not insist on.
	checksumsRequired = "required"

	// Values of --s3-sign-payload.
	signAuto, signAlways, signNever = "auto", "always", "never"

	// Values of --s3-acl.
	aclAuto, aclAlways, aclNever = "auto", "always", "never"

	// stsOfAWS is the value of --sts-endpoint for AWS's own STS.
	stsOfAWS = "aws"
)

// Settings are the settings of a service that writes to S3, to be embedded in its own. They have the same names in each.
type Settings struct {
	S3Endpoint        string        `name:"s3-endpoint" help:"Address of the S3 server, for example http://127.0.0.1:9000. Empty means AWS."`
	S3Region          string        `name:"s3-region" default:"us-east-1" help:"Region that requests are signed for."`
	S3PathStyle       bool          `name:"s3-path-style" help:"Name buckets in the path of the address instead of in its host name. Most S3 servers outside AWS need it."`
	S3AccessKeyID     string        `name:"s3-access-key-id" help:"Access key. Without one, credentials are looked for where the AWS SDK does: environment, shared files, web identity, container, instance."`
	S3SecretAccessKey string        `name:"s3-secret-access-key" secret:"" help:"Secret of the access key."`
	S3SessionToken    string        `name:"s3-session-token" secret:"" help:"Session token of temporary credentials."`
	S3Timeout         time.Duration `name:"s3-timeout" default:"60s" help:"How long S3 may take to answer a request. What sending a part takes is not counted."`
	S3Checksums       string        `name:"s3-checksums" enum:"supported,required" default:"supported" help:"Send checksums wherever S3 supports them, or only where it insists on them, for S3 servers that refuse them otherwise: ${enum}."`
	S3SignPayload     string        `name:"s3-sign-payload" enum:"auto,always,never" default:"auto" help:"Whether bodies sent by plain http are signed, so that nobody can change them on their way, at the price of SHA-256 here and in the server, and of assembling them in memory first. auto leaves it out where the S3 server is on this machine; by https nothing is signed that TLS protects already: ${enum}."`
	S3CreateBuckets   bool          `name:"s3-create-buckets" help:"Make a bucket that does not exist."`
	S3ACL             string        `name:"s3-acl" enum:"auto,always,never" default:"auto" help:"Whether objects are written with bucket-owner-full-control, for buckets of another account. auto does so where a delivery stream's role is of another account than the delivery stream: ${enum}."`
	STSEndpoint       string        `name:"sts-endpoint" help:"Address of the STS server from which the roles of the delivery streams (RoleARN) are assumed, or aws for the one of the region. Empty means that deliveries use the service's own credentials."`

	PartSize   int64 `name:"part-size" default:"5242880" help:"Bytes of a part. What does not fit into one is sent in several."`
	PartMemory int64 `name:"part-memory" default:"33554432" help:"Bytes of the parts that all workers together hold in memory."`
}

// Validate finds wrong values and contradictions.
func (c Settings) Validate() error {
	if err := c.validateS3(); err != nil {
		return err
	}
	if c.PartSize < MinPartSize || c.PartSize > maxPartSize {
		return fmt.Errorf("--part-size (HYDRANT_PART_SIZE): %d is not accepted; use %d (5 MiB, S3's own limit) to %d bytes", c.PartSize, MinPartSize, maxPartSize)
	}
	if c.PartMemory < c.PartSize || c.PartMemory/c.PartSize > mostParts {
		return fmt.Errorf("--part-memory (HYDRANT_PART_MEMORY): %d is not accepted with a --part-size of %d; use room for 1 to %d parts", c.PartMemory, c.PartSize, mostParts)
	}
	return nil
}

func (c Settings) validateS3() error {
	if c.S3Endpoint != "" {
		if err := checkAddress("--s3-endpoint (HYDRANT_S3_ENDPOINT)", c.S3Endpoint, "http:// or https:// with a host and a port"); err != nil {
			return err
		}
	}
	if c.STSEndpoint != "" && c.STSEndpoint != stsOfAWS {
		if err := checkAddress("--sts-endpoint (HYDRANT_STS_ENDPOINT)", c.STSEndpoint, "aws, or http:// or https:// with a host and a port"); err != nil {
			return err
		}
	}
	switch {
	case c.S3Region == "":
		return errors.New(`--s3-region (HYDRANT_S3_REGION): "" is not accepted; use the name of a region, such as us-east-1`)
	case (c.S3AccessKeyID == "") != (c.S3SecretAccessKey == ""):
		return errors.New("--s3-access-key-id and --s3-secret-access-key (HYDRANT_S3_ACCESS_KEY_ID, HYDRANT_S3_SECRET_ACCESS_KEY): one is set without the other; set both, or neither to look for credentials where the AWS SDK does")
	case c.S3SessionToken != "" && c.S3AccessKeyID == "":
		return errors.New("--s3-session-token (HYDRANT_S3_SESSION_TOKEN): set without an access key; set --s3-access-key-id and --s3-secret-access-key too")
	case c.S3Timeout < time.Second:
		return fmt.Errorf("--s3-timeout (HYDRANT_S3_TIMEOUT): %s is not accepted; use 1s or more", c.S3Timeout)
	case c.S3Checksums != "supported" && c.S3Checksums != checksumsRequired:
		return fmt.Errorf("--s3-checksums (HYDRANT_S3_CHECKSUMS): %q is not accepted; use supported or required", c.S3Checksums)
	case c.S3SignPayload != signAuto && c.S3SignPayload != signAlways && c.S3SignPayload != signNever:
		return fmt.Errorf("--s3-sign-payload (HYDRANT_S3_SIGN_PAYLOAD): %q is not accepted; use auto, always or never", c.S3SignPayload)
	case c.S3ACL != aclAuto && c.S3ACL != aclAlways && c.S3ACL != aclNever:
		return fmt.Errorf("--s3-acl (HYDRANT_S3_ACL): %q is not accepted; use auto, always or never", c.S3ACL)
	}
	return nil
}

// checkAddress does not repeat an address that may have a password in it.
func checkAddress(setting, address, accepted string) error {
	u, err := url.Parse(address)
	if err != nil || u.User != nil {
		return fmt.Errorf("%s: not an address that is accepted; use %s, and no user", setting, accepted)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
		return fmt.Errorf("%s: %q is not accepted; use %s", setting, address, accepted)
	}
	return nil
}
