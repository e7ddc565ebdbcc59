// Package e2e tests Hydrant from outside: a producer's SDK in front, an S3 client behind. Every test runs against
// everything in one process, and against the built programs; with -deploy.compose, against the containers of compose.yaml.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
)

var programs deploy.Programs

var composed = flag.String("deploy.compose", "", "tag of Hydrant's images: run the tests against compose.yaml with these, and against nothing else (make compose-suite)")

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hydrant-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if programs, err = build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(ctx context.Context, dir string) (deploy.Programs, error) {
	flag.Parse()
	if *composed == "" {
		return deploy.Build(ctx, dir, "")
	}
	if err := leaveOut(); err != nil {
		return deploy.Programs{}, err
	}
	return deploy.Images(ctx, dir, *composed)
}

// everywhere runs a test against each deployment.
func everywhere(t *testing.T, options deploy.Options, test func(*testing.T, *deploy.Deployment)) {
	t.Helper()
	against(t, options, test, deploy.OneProcess, deploy.Processes, deploy.Compose)
}

// apart runs a test that stops a service, or has a bucket missing, against the deployments of which a service is a process or a
// container of its own, and buckets are not made on demand.
func apart(t *testing.T, options deploy.Options, test func(*testing.T, *deploy.Deployment)) {
	t.Helper()
	against(t, options, test, deploy.Processes, deploy.Compose)
}

// against runs a test against those of the deployments that can be started, beside other tests, since most of the time is waiting. The
// settings of everything in one process are the environment of this process, so that one with settings runs alone.
func against(t *testing.T, options deploy.Options, test func(*testing.T, *deploy.Deployment), kinds ...deploy.Kind) {
	t.Helper()
	kinds = slices.DeleteFunc(kinds, func(k deploy.Kind) bool { return !programs.Start(k) })
	alone := func(kind deploy.Kind) bool { return kind == deploy.OneProcess && len(options.Settings) > 0 }
	if !slices.ContainsFunc(kinds, alone) {
		t.Parallel()
	}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			if !alone(kind) {
				t.Parallel()
			}
			test(t, deploy.Start(t, kind, programs, options))
		})
	}
}

const role = "arn:aws:iam::000000000000:role/delivery"

// destination is a bucket and prefix with the smallest size hint and an interval in seconds.
func destination(bucket, prefix string, interval int32) *types.ExtendedS3DestinationConfiguration {
	return &types.ExtendedS3DestinationConfiguration{
		RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + bucket), Prefix: aws.String(prefix),
		BufferingHints:           &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(interval)},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
	}
}

// create makes a delivery stream, and its bucket where nobody else does.
func create(t *testing.T, d *deploy.Deployment, name string, to *types.ExtendedS3DestinationConfiguration) {
	t.Helper()
	makeBucket(t, d, (*to.BucketARN)[len("arn:aws:s3:::"):])
	createS3(t, d, name, to)
}

// createS3 makes a delivery stream, and no bucket.
func createS3(t *testing.T, d *deploy.Deployment, name string, to *types.ExtendedS3DestinationConfiguration) {
	t.Helper()
	_, err := d.Firehose().CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: to,
	})
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
}

func put(t *testing.T, d *deploy.Deployment, stream, data string) string {
	t.Helper()
	out, err := d.Firehose().PutRecord(t.Context(), &firehose.PutRecordInput{
		DeliveryStreamName: &stream, Record: &types.Record{Data: []byte(data)},
	})
	if err != nil {
		t.Fatalf("put to %s: %v", stream, err)
	}
	return *out.RecordId
}

// putBatch puts records as a client has to: those that are refused, since the disk is too slow for them, it puts again.
func putBatch(t *testing.T, d *deploy.Deployment, stream string, records []types.Record) {
	t.Helper()
	deploy.Eventually(t, "a batch is taken", func() bool {
		out, err := d.Firehose().PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{DeliveryStreamName: &stream, Records: records})
		if err != nil {
			t.Fatalf("put a batch to %s: %v", stream, err)
		}
		var refused []types.Record
		for i, response := range out.RequestResponses {
			if response.ErrorCode != nil {
				refused = append(refused, records[i])
			}
		}
		records = refused
		return len(refused) == 0
	})
}
