//go:build linux

// Package power takes the power away from running installations, and fills their disks: what NATS has is on file systems of
// their own (e2e/internal/volume). Producers are SDK clients, S3 is on the machine's own disk, and in the end every acknowledged record
// is there once. TestUnsynced is the check of the check: without syncs the same cut loses what was acknowledged.
//
//	go test ./power -v -power.duration 10m -power.seed 7
package power

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/producer"
	"hydrant/e2e/internal/volume"
	"hydrant/shared/proc"
	"hydrant/shared/record"
)

var (
	duration   = flag.Duration("power.duration", 0, "how long each test takes the power away; two or three times at least")
	seed       = flag.Uint64("power.seed", 1, "seed of the moments, and of what is done between")
	filesystem = flag.String("power.filesystem", string(volume.Ext4), "what the disks have: ext4 or xfs")
	programs   deploy.Programs
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hydrant-power")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if programs, err = deploy.Build(context.Background(), dir, ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

const (
	role   = "arn:aws:iam::000000000000:role/power"
	bucket = "power"
)

// rig is an installation of which the NATS servers have disks of their own.
type rig struct {
	*deploy.Deployment
	t      *testing.T
	rng    *rand.Rand
	ledger *checker.Ledger
	disks  map[string]*volume.Volume // by NATS server
}

// newRig starts an installation with a disk of so many MiB for each of the NATS servers named, and makes the delivery streams.
func newRig(t *testing.T, kind deploy.Kind, options deploy.Options, mebibytes int64, servers ...string) *rig {
	t.Helper()
	t.Logf("seed %d: repeat with make power DURATION=%s SEED=%d FILESYSTEM=%s", *seed, *duration, *seed, *filesystem)
	r := &rig{t: t, rng: rand.New(rand.NewPCG(*seed, 0)), ledger: checker.NewLedger(), disks: map[string]*volume.Volume{}}
	options.Dir = t.TempDir()
	for _, name := range servers {
		r.disks[name] = volume.New(t, volume.Kind(*filesystem), mebibytes, filepath.Join(options.Dir, name))
	}
	settings := map[string]string{"HYDRANT_ACK_WAIT": "3s", "HYDRANT_RETRY_MAX": "1s"}
	for name, value := range options.Settings {
		settings[name] = value
	}
	options.Settings = settings
	r.Deployment = deploy.Start(t, kind, programs, options)
	deploy.Eventually(t, "the bucket is made", func() bool {
		_, err := r.S3Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
		return err == nil
	})
	for _, name := range slices.Concat(loaded, []string{probed}) {
		r.create(name)
	}
	return r
}

// loaded are the delivery streams that producers put into.
var loaded = []string{"one", "two"}

// probed is that of probe.
const probed = "probed"

// probe puts a record that is not counted, in one attempt.
func (r *rig) probe() error {
	client := r.Firehose(func(o *firehose.Options) { o.Retryer = aws.NopRetryer{} })
	_, err := client.PutRecord(r.t.Context(), &firehose.PutRecordInput{DeliveryStreamName: aws.String(probed), Record: &types.Record{Data: []byte("probe\n")}})
	return err
}

func (r *rig) create(name string) {
	r.t.Helper()
	_, err := r.Firehose().CreateDeliveryStream(r.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: destination(name + "/"),
	})
	must(r.t, err)
}

func destination(prefix string) *types.ExtendedS3DestinationConfiguration {
	return &types.ExtendedS3DestinationConfiguration{
		RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + bucket), Prefix: &prefix,
		BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
	}
}

// produce starts producers for each delivery stream: one of large calls, and many of small ones, which JetStream is given as atomic batches.
// They wait so long for each answer before they try again. The function it returns has their last calls finished.
func (r *rig) produce(patience time.Duration) (stop func()) {
	r.t.Helper()
	client := producer.NewClient(r.API, &http.Client{Timeout: patience})
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	var all []*producer.Producer
	for _, stream := range loaded {
		for n := range 13 {
			config := producer.Config{
				Client: client, Stream: stream, ID: fmt.Sprintf("p%d", n), Ledger: r.ledger, Rate: 100, Largest: 100_000,
				Rand: rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64())),
			}
			if n > 0 {
				config.MaxBatch, config.Rate, config.Largest = 2, 30, 1000
			}
			one, err := producer.New(config)
			must(r.t, err)
			all = append(all, one)
			running.Go(func() {
				if err := one.Run(ctx); err != nil {
					r.t.Error(err)
				}
			})
		}
	}
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		sum := producer.Stats{}
		for _, one := range all {
			s := one.Stats()
			sum.Calls, sum.Acknowledged, sum.Refused, sum.Unknown = sum.Calls+s.Calls, sum.Acknowledged+s.Acknowledged, sum.Refused+s.Refused, sum.Unknown+s.Unknown
			sum.LastErr = cmp.Or(s.LastErr, sum.LastErr)
		}
		r.t.Logf("%+v", sum)
	})
	r.t.Cleanup(stop)
	return stop
}

// cuts calls cut so many times at least, and until the duration is over.
func (r *rig) cuts(least int, cut func(n int)) {
	r.t.Helper()
	began, n := time.Now(), 0
	for n < least || time.Since(began) < *duration {
		cut(n)
		n++
	}
	r.t.Logf("the power was cut %d times in %s", n, time.Since(began).Round(time.Millisecond))
}

// moment is any until most.
func (r *rig) moment(most time.Duration) {
	timer := time.NewTimer(time.Duration(r.rng.Int64N(int64(most))))
	defer timer.Stop()
	<-timer.C
}

// cut takes the power from servers, which run in the parts named, and gives it back.
func (r *rig) cut(servers []string, parts ...string) {
	r.t.Helper()
	r.powerOff(servers, parts...)
	for _, name := range parts {
		must(r.t, r.Part(name).Restart())
	}
}

// powerOff leaves the parts stopped, and the disks mounted again.
func (r *rig) powerOff(servers []string, parts ...string) {
	r.t.Helper()
	var processes []*proc.Process
	var disks []*volume.Volume
	for _, name := range parts {
		processes = append(processes, r.Part(name))
	}
	for _, name := range servers {
		disks = append(disks, r.disks[name])
	}
	volume.Cut(r.t, processes, disks...)
	for _, disk := range disks {
		disk.Mount()
	}
}

// report waits until everything is delivered, and compares it with what was put.
func (r *rig) report() *checker.Report {
	r.t.Helper()
	deploy.EventuallyWithin(r.t, 2*time.Minute, "everything is delivered", func() bool { return r.Delivered(loaded...) })
	var objects []checker.Object
	for _, name := range loaded { // those of others hold no records
		more, err := checker.Objects(r.t.Context(), r.S3Client(), bucket, name+"/")
		must(r.t, err)
		objects = append(objects, more...)
	}
	report, err := checker.Check(r.t.Context(), r.ledger, objects, checker.Options{Ordered: true, Locate: func(id string) (checker.Position, error) {
		parsed, err := record.ParseID(id)
		return checker.Position{StreamID: string(parsed.Stream), Shard: uint64(parsed.Shard), Sequence: parsed.Sequence}, err
	}})
	must(r.t, err)
	r.t.Log(report)
	if report.Ledger.Acknowledged == 0 {
		r.t.Error("nothing was acknowledged, so nothing was tested")
	}
	return report
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
