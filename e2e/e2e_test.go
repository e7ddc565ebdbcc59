// Package e2e tests Hydrant from outside: a producer's SDK in front, an S3 client behind. Every test runs against
// everything in one process, and against the built programs.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
)

var programs deploy.Programs

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
	if programs, err = deploy.Build(context.Background(), dir, ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// everywhere runs a test against each deployment, beside other tests, which wait most of the time too. Settings of everything in one
// process are the environment of this process, so that one with settings runs alone.
func everywhere(t *testing.T, options deploy.Options, test func(*testing.T, *deploy.Deployment)) {
	t.Helper()
	beside := len(options.Settings) == 0
	if beside {
		t.Parallel()
	}
	for _, kind := range []deploy.Kind{deploy.OneProcess, deploy.Processes} {
		t.Run(string(kind), func(t *testing.T) {
			if beside || kind == deploy.Processes {
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
