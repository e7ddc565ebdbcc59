package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/shared/broker"
	"hydrant/shared/names"
)

const (
	bucket      = "bench"
	bucketARN   = "arn:aws:s3:::" + bucket
	roleARN     = "arn:aws:iam::000000000000:role/bench"
	bareStream  = "BARE"
	bareSubject = "bare"

	creators  = 16 // delivery streams made at once
	retention = 24 * time.Hour

	s3Key, s3Secret = "local", "localsecret"
)

// hints are the settings of a delivery stream that the rows differ in.
type hints struct {
	sizeMB, interval int32
	compression      types.CompressionFormat
}

// createStreams makes delivery streams, several at once.
func (i *installation) createStreams(ctx context.Context, h hints, streams ...string) error {
	client := i.firehose()
	work := make(chan string)
	failures := make([]error, creators)
	var wg sync.WaitGroup
	for n := range creators {
		wg.Go(func() {
			for name := range work {
				failures[n] = errors.Join(failures[n], create(ctx, client, h, name))
			}
		})
	}
	for _, name := range streams {
		work <- name
	}
	close(work)
	wg.Wait()
	return errors.Join(failures...)
}

func (i *installation) firehose() *firehose.Client {
	endpoint := "http://" + i.addr.api
	return firehose.New(firehose.Options{
		Region: "us-east-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	})
}

func create(ctx context.Context, client *firehose.Client, h hints, name string) error {
	_, err := client.CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name,
		ExtendedS3DestinationConfiguration: &types.ExtendedS3DestinationConfiguration{
			RoleARN: aws.String(roleARN), BucketARN: aws.String(bucketARN),
			BufferingHints:    &types.BufferingHints{SizeInMBs: &h.sizeMB, IntervalInSeconds: &h.interval},
			CompressionFormat: h.compression,
		},
	})
	if err != nil {
		return fmt.Errorf("create the delivery stream %s: %w", name, err)
	}
	return nil
}

// streamNames are those of the delivery streams where there are many.
func streamNames() []string {
	list := make([]string, manyStreams)
	for n := range list {
		list[n] = fmt.Sprintf("bench-%04d", n)
	}
	return list
}

// createBare makes a JetStream stream for the bare client, which differs from a record log in its name alone.
func (i *installation) createBare(ctx context.Context) error {
	cfg := broker.LogConfig(names.Log{Stream: "bare", ID: "bare"}, retention, 1)
	cfg.Name, cfg.Subjects = bareStream, []string{bareSubject}
	_, err := i.js.CreateStream(ctx, cfg)
	return err
}

// empty removes every message of the logs and of the bare client's stream, and waits until the files are gone and the disk
// has nothing left to do.
func (i *installation) empty(ctx context.Context) error {
	list := i.js.StreamNames(ctx)
	for name := range list.Name() {
		if _, isLog := names.ParseLog(name); !isLog && name != bareStream {
			continue
		}
		if err := i.purge(ctx, name); err != nil {
			return err
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	return i.settle(ctx)
}

func (i *installation) purge(ctx context.Context, name string) error {
	stream, err := i.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("purge %s: %w", name, err)
	}
	if err := stream.Purge(ctx); err != nil {
		return fmt.Errorf("purge %s: %w", name, err)
	}
	return nil
}

// settleTime is how long removing what a load has left may take.
const settleTime = 30 * time.Second

// leftover is what the directory of an emptied installation may hold: descriptors, deliveries, metrics, an empty block of each log.
const leftover = 256 << 20

// settle waits until removed files are gone, which NATS does behind the purge, and until everything else is written.
func (i *installation) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) { return machine.UsedBytes(i.dir) < leftover, nil })
	if err != nil {
		return fmt.Errorf("%d MB are still there after the purge: %w", machine.UsedBytes(i.dir)>>20, err)
	}
	return machine.Flush(i.dir)
}
