package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go"

	"hydrant/e2e/bench/internal/load"
	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/record"
	"hydrant/shared/recordlog"
)

// searchHint is the size hint of delivery streams to Elasticsearch, in MB, which is the default.
const searchHint = 5

// createSearch makes a delivery stream to an index.
func (i *installation) createSearch(ctx context.Context, url, name, index string) error {
	_, err := i.firehose().CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name,
		ElasticsearchDestinationConfiguration: &types.ElasticsearchDestinationConfiguration{
			RoleARN: aws.String(roleARN), ClusterEndpoint: &url, IndexName: &index,
			IndexRotationPeriod: types.ElasticsearchIndexRotationPeriodNoRotation,
			BufferingHints:      &types.ElasticsearchBufferingHints{SizeInMBs: aws.Int32(searchHint), IntervalInSeconds: aws.Int32(tail)},
			S3Configuration:     &types.S3DestinationConfiguration{RoleARN: aws.String(roleARN), BucketARN: aws.String(bucketARN)},
		},
	})
	if err != nil {
		return fmt.Errorf("create the delivery stream %s: %w", name, err)
	}
	return nil
}

// cuts are the batches that the buffer has cut of a leg.
type cuts struct {
	leg names.Leg

	mu      sync.Mutex
	batches []batch.Descriptor
	bytes   int64
	failed  error
}

// watch listens to the buffer until stop is called.
func (c *cuts) watch(conn *nats.Conn) (stop func(), err error) {
	sub, err := conn.Subscribe(names.AllBatches, func(m *nats.Msg) { c.add(m.Data) })
	if err != nil {
		return nil, err
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil
}

// add takes a descriptor in. One that is published again, for an answer that was lost, counts once.
func (c *cuts) add(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, err := batch.Decode(data)
	switch {
	case err != nil:
		c.failed = err
	case d.Leg != c.leg:
	case len(c.batches) > 0 && d.First <= c.batches[len(c.batches)-1].Last:
	default:
		c.batches, c.bytes = append(c.batches, d), c.bytes+d.Bytes
	}
}

// reach waits until the batches hold so many bytes.
func (c *cuts) reach(ctx context.Context, bytes int64) ([]batch.Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	err := poll(ctx, 10*time.Millisecond, func() (bool, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.bytes >= bytes, c.failed
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || c.bytes != bytes {
		return nil, errors.Join(err, fmt.Errorf("%d bytes were acknowledged, and %d are in batches", bytes, c.bytes))
	}
	return c.batches, nil
}

// putForSearch puts what fills so many batches on a delivery stream, and returns them when they are cut.
func (b *bench) putForSearch(ctx context.Context, i *installation, stream string, batches int) ([]batch.Descriptor, error) {
	cut := &cuts{leg: names.LegES}
	stop, err := cut.watch(i.conn)
	if err != nil {
		return nil, err
	}
	defer stop()
	const perBatch = (searchHint<<20 + load.BatchBytes - 1) / load.BatchBytes
	target := load.NewTarget(stream)
	l := b.batches(i)
	l.Length, l.Calls = drainTime, batches*perBatch
	l.Next = func(connection, n int) load.Call { return b.data.PutBatch(target, 7*connection+n) }
	put, err := l.Run(ctx)
	if err != nil {
		return nil, err
	}
	return cut.reach(ctx, put.Bytes)
}

// document is a record with the id that it gets in the index.
type document struct {
	id   string
	body []byte
}

// documents reads what is in batches into memory, each record as the document that hydrant-es makes of it.
func (i *installation) documents(ctx context.Context, batches []batch.Descriptor) ([]document, error) {
	var all []document
	for _, d := range batches {
		before := len(all)
		r := recordlog.New(i.js).Open(d)
		defer r.Close()
		for range d.Messages {
			m, err := r.NextMessage(ctx)
			if err != nil {
				return nil, fmt.Errorf("read batch %s: %w", d.ID(), err)
			}
			all = appendDocuments(all, record.ID{Stream: d.StreamID, Shard: d.Shard, Sequence: m.Sequence}, m)
		}
		if len(all)-before != d.Records {
			return nil, fmt.Errorf("batch %s holds %d records, and %d were read", d.ID(), d.Records, len(all)-before)
		}
	}
	return all, nil
}

func appendDocuments(to []document, id record.ID, m recordlog.Message) []document {
	rest := m.Payload
	for index, length := range m.Lengths {
		id.Index = index
		to = append(to, document{id.String(), bytes.TrimSpace(rest[:length])})
		rest = rest[length:]
	}
	return to
}
