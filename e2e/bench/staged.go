package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/bench/internal/load"
	"hydrant/shared/batch"
	"hydrant/shared/names"
	"hydrant/shared/pgtest"
)

const (
	// stagedHint is the size hint of what is staged for Redshift, in MB, which is the default.
	stagedHint = 5
	// copyOptions are those of both COPYs.
	copyOptions = "JSON 'auto' TIMEFORMAT 'auto'"
)

// createRedshift makes a delivery stream to a table.
func (i *installation) createRedshift(ctx context.Context, name, table string) error {
	_, err := i.firehose().CreateDeliveryStream(ctx, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name,
		RedshiftDestinationConfiguration: &types.RedshiftDestinationConfiguration{
			RoleARN: aws.String(roleARN), ClusterJDBCURL: aws.String("jdbc:postgresql://" + i.addr.standIn + "/" + database + "?sslmode=disable"),
			Username: aws.String(pgtest.User), Password: aws.String(pgtest.Password),
			CopyCommand: &types.CopyCommand{DataTableName: &table, CopyOptions: aws.String(copyOptions)},
			S3Configuration: &types.S3DestinationConfiguration{
				RoleARN: aws.String(roleARN), BucketARN: aws.String(bucketARN),
				BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(stagedHint), IntervalInSeconds: aws.Int32(tail)},
			},
		},
	})
	if err != nil {
		return fmt.Errorf("create the delivery stream %s: %w", name, err)
	}
	return nil
}

// stage puts what fills so many objects on a delivery stream, and returns what its sink announces, when that is all.
func (b *bench) stage(ctx context.Context, i *installation, stream string, objects int) ([]batch.Delivery, error) {
	back := newBacklog(0, 0)
	stop, err := back.watchOne(i.conn, names.StagingSubject(names.Stream(stream)))
	if err != nil {
		return nil, err
	}
	defer stop()
	const each = (stagedHint<<20 + load.BatchBytes - 1) / load.BatchBytes
	target := load.NewTarget(stream)
	l := b.batches(i)
	l.Length, l.Calls, l.Acked = drainTime, objects*each, back.ack
	l.Next = func(connection, n int) load.Call { return b.data.PutBatch(target, 7*connection+n) }
	if _, err := l.Run(ctx); err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := back.drained(timed); err != nil {
		return nil, fmt.Errorf("wait for the staged objects: %w", err)
	}
	var staged []batch.Delivery
	for _, e := range back.history() {
		staged = append(staged, e.entry)
	}
	return staged, nil
}

// manifestOf names staged objects for a COPY by hand.
func manifestOf(staged []batch.Delivery) ([]byte, error) {
	type entry struct {
		URL       string `json:"url"`
		Mandatory bool   `json:"mandatory"`
	}
	var entries []entry
	for _, s := range staged {
		entries = append(entries, entry{s.Location, true})
	}
	return json.Marshal(map[string]any{"entries": entries})
}

// writeManifest writes it into the bucket.
func (i *installation) writeManifest(ctx context.Context, staged []batch.Delivery) (location string, err error) {
	manifest, err := manifestOf(staged)
	if err != nil {
		return "", err
	}
	name, key := bucket, "by-hand/manifest"
	_, err = i.s3Client().PutObject(ctx, &s3.PutObjectInput{Bucket: &name, Key: &key, Body: bytes.NewReader(manifest)})
	if err != nil {
		return "", fmt.Errorf("write the manifest: %w", err)
	}
	return "s3://" + name + "/" + key, nil
}

// copyOf is the statement of somebody who loads what a manifest names with psql.
func copyOf(table, manifest string) string {
	return fmt.Sprintf("COPY %s FROM '%s' CREDENTIALS 'aws_access_key_id=%s;aws_secret_access_key=%s' MANIFEST %s",
		table, manifest, s3Key, s3Secret, copyOptions)
}

// copies asks hydrant-redshift how many COPYs it took. It fails where one of them did.
func (i *installation) copies(ctx context.Context, stream string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.addr.redshift+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	return copiesIn(string(text), stream)
}

// copiesIn reads the number out of metrics.
func copiesIn(metrics, stream string) (copies int, err error) {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "hydrant_delivery_to_redshift_failures_total{") {
			return 0, fmt.Errorf("a COPY failed: %s", strings.TrimSpace(line))
		}
		value, found := strings.CutPrefix(line, `hydrant_delivery_to_redshift_success_total{stream="`+stream+`"} `)
		if found {
			copies, err = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return copies, err
}
