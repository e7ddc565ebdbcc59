// Package s3sink delivers batches to S3.
//
// Guarantees, of which DESIGN.md tells the reasons and the failure cases:
//   - A batch becomes one object, whose bytes are its records', concatenated, in order. However often a batch is delivered,
//     by whomever, and whichever answer is lost, there is one object, written once.
//   - An object is complete or not there: what was read is compared with the batch's counts before an object gets its name.
//   - Nothing is overwritten, not even what somebody else put under a batch's name.
//   - What expired before it could be delivered is counted and logged; what survives of such a batch is delivered under a
//     name of its own, never over a whole object.
//   - Memory is bounded by --part-memory and a few megabytes a worker, whatever the size of a batch.
//
// Not guaranteed: one object where the configuration changed and the earlier destination refuses to be asked, or where a
// PutObject under the earlier configuration is carried out after the next worker looked for it. Both are logged, where they
// can be known, as possibly delivered twice. A store without conditional writes has a window in which two workers write the
// same object, with the same bytes.
package s3sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/datapoints"
	"hydrant/shared/delivery"
	"hydrant/shared/members"
	"hydrant/shared/names"
	"hydrant/shared/recordlog"
	"hydrant/shared/service"
	"hydrant/shared/session"
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

	// grace is how long what is in work may go on when the service is to stop. With aborting an upload and handing the
	// batch back it stays below 10 seconds.
	grace = 5 * time.Second
)

// Config is the settings of the service.
type Config struct {
	NATS broker.Config `embed:""`

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

	PutSize    int64 `name:"put-size" default:"1073741824" help:"Bytes up to which an uncompressed object is sent in one request, straight from the log. Larger ones, compressed ones, and all where bodies have to be signed are assembled in parts. 0 means always."`
	PartSize   int64 `name:"part-size" default:"5242880" help:"Bytes of a part. What does not fit into one is sent in several."`
	PartMemory int64 `name:"part-memory" default:"33554432" help:"Bytes of the parts that all workers together hold in memory."`

	Workers          int           `name:"workers" default:"8" help:"Batches delivered at once."`
	WorkersPerStream int           `name:"workers-per-stream" default:"4" help:"Batches of one delivery stream delivered at once."`
	AckWait          time.Duration `name:"ack-wait" default:"30s" help:"How long a worker may be silent before its batch is given to another."`
	RetryMin         time.Duration `name:"retry-min" default:"1s" help:"Delay before a batch is tried a second time. It doubles with each try."`
	RetryMax         time.Duration `name:"retry-max" default:"60s" help:"Longest delay between two tries of a batch."`
}

// Memory is what a process that runs the service alone needs: the parts, for each worker what it reads and a compressor,
// and the rest.
func (c Config) Memory() int64 {
	const rest, ofWorker = 14 << 20, 3 << 20
	return rest + c.PartMemory + int64(c.Workers)*ofWorker
}

// Validate finds wrong values and contradictions.
func (c Config) Validate() error {
	if err := c.NATS.Validate(); err != nil {
		return err
	}
	if err := c.validateS3(); err != nil {
		return err
	}
	if c.PartSize < minPartSize || c.PartSize > maxPartSize {
		return fmt.Errorf("--part-size (HYDRANT_PART_SIZE): %d is not accepted; use %d (5 MiB, S3's own limit) to %d bytes", c.PartSize, minPartSize, maxPartSize)
	}
	if c.PartMemory < c.PartSize || c.PartMemory/c.PartSize > mostParts {
		return fmt.Errorf("--part-memory (HYDRANT_PART_MEMORY): %d is not accepted with a --part-size of %d; use room for 1 to %d parts", c.PartMemory, c.PartSize, mostParts)
	}
	if c.PutSize < 0 || c.PutSize > maxPutSize {
		return fmt.Errorf("--put-size (HYDRANT_PUT_SIZE): %d is not accepted; use 0 to %d bytes (5 GiB, S3's own limit)", c.PutSize, int64(maxPutSize))
	}
	return c.delivery(legs()[0], nil).Validate()
}

func (c Config) validateS3() error {
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

// leg is one of the ways to S3 that the service delivers.
type leg struct {
	name    names.Leg
	metrics string // prefix
}

// legs are the destination itself and the backup of the source records.
func legs() []leg {
	return []leg{
		{names.LegS3, "delivery_to_s3"},
		{names.LegBackup, "backup_to_s3"},
	}
}

func (c Config) delivery(l leg, slots delivery.Slots) delivery.Config {
	return delivery.Config{
		Leg: l.name, LogStream: names.LogStream(l.name), Location: l.bucketARN, Logging: l.logging,
		Workers: c.Workers, Slots: slots, PerStream: c.WorkersPerStream, AckWait: c.AckWait, Grace: grace,
		MinDelay: c.RetryMin, MaxDelay: c.RetryMax,
	}
}

// bucketARN is how the error log names the destination.
func (l leg) bucketARN(d *catalog.DeliveryStream) string {
	s3 := d.Destination.S3Of(l.name)
	if s3 == nil {
		return ""
	}
	return aws.ToString(s3.BucketARN)
}

// logging returns the leg's settings of its error log.
func (l leg) logging(d *catalog.DeliveryStream) *types.CloudWatchLoggingOptions {
	if s3 := d.Destination.S3Of(l.name); s3 != nil {
		return s3.CloudWatchLoggingOptions
	}
	return nil
}

// Service is the S3 sink.
type Service struct {
	cfg     Config
	log     *slog.Logger
	metrics map[names.Leg]*delivery.Metrics
	points  *datapoints.Recorder
	buffers *buffers

	session session.Session
}

var _ service.Service = (*Service)(nil)

// New returns a service, or says which setting is wrong.
func New(cfg Config, rt service.Runtime) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	points, err := datapoints.NewRecorder("s3sink", rt.Metrics, rt.Log)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, log: rt.Log, buffers: newBuffers(cfg.PartSize, cfg.PartMemory), metrics: map[names.Leg]*delivery.Metrics{}, points: points}
	for _, l := range legs() {
		s.metrics[l.name] = delivery.NewMetrics(l.metrics, rt.Metrics, points)
	}
	return s, nil
}

// Ready implements service.Service.
func (s *Service) Ready() error { return s.session.Ready() }

// Run implements service.Service. While NATS is away it waits, and is not ready.
func (s *Service) Run(ctx context.Context) error {
	clients, err := newClients(ctx, s.cfg, s.log)
	if err != nil {
		return err
	}
	defer clients.close()
	open, err := s.session.Open(ctx, s.cfg.NATS, "hydrant-s3sink", s.log)
	if err != nil {
		return err
	}
	defer open.Conn.Close()
	d := &destination{
		clients: clients, records: recordlog.New(open.JetStream), log: s.log, buffers: s.buffers, region: s.cfg.S3Region, putSize: s.cfg.PutSize,
		createBuckets: s.cfg.S3CreateBuckets, checksums: s.cfg.S3Checksums != checksumsRequired, acl: s.cfg.S3ACL,
	}
	err = session.Persist(ctx, s.log, func() (err error) {
		d.installation, err = broker.InstallationID(ctx, open.JetStream)
		return err
	})
	if err != nil {
		return err
	}
	return s.serve(ctx, open.JetStream, open.View, d)
}

// serve delivers until ctx ends. The view, the membership and the datapoints outlive the deliveries that are being finished.
func (s *Service) serve(ctx context.Context, js jetstream.JetStream, view *catalog.View, d *destination) error {
	group := members.NewGroup(js, "s3sink", s.log)
	slots := delivery.NewSlots(s.cfg.Workers)
	var runners []*delivery.Runner
	for _, l := range legs() {
		runners = append(runners, delivery.NewRunner(s.cfg.delivery(l, slots), js, view, d, s.metrics[l.name], s.log))
	}
	changed := func(name names.Stream) {
		for _, r := range runners {
			r.Changed(ctx, name)
		}
	}

	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer end()
	running.Go(func() { view.Run(background, changed) })
	// Nobody asks who the members are but the operator: the replicas share consumers.
	running.Go(func() { group.Run(background, func() {}) })
	running.Go(func() { _ = s.points.Run(background, js.Conn()) }) // it ends with the context, and for no other reason
	var delivering sync.WaitGroup
	for _, r := range runners {
		delivering.Go(func() { _ = r.Run(ctx) }) // the same
	}
	delivering.Wait()
	return ctx.Err()
}
