package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
)

// setAside is the bucket for what fails, and for what is backed up, below the name of the index.
const setAside = "set-aside"

// impatient has a sink try again after a second at most.
func impatient() map[string]string { return map[string]string{"HYDRANT_RETRY_MAX": "1s"} }

// searchTo is a search destination, in the newer shape.
func searchTo(url, index string, retrySeconds int32) *types.AmazonopensearchserviceDestinationConfiguration {
	return &types.AmazonopensearchserviceDestinationConfiguration{
		ClusterEndpoint: &url, IndexName: &index, RoleARN: aws.String(role),
		IndexRotationPeriod:      types.AmazonopensearchserviceIndexRotationPeriodNoRotation,
		BufferingHints:           &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
		RetryOptions:             &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: &retrySeconds},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
		S3Configuration:          failedTo(index),
	}
}

// elasticsearchTo is one in the older shape, which backs up all that it is given.
func elasticsearchTo(url, index, typeName string) *types.ElasticsearchDestinationConfiguration {
	return &types.ElasticsearchDestinationConfiguration{
		ClusterEndpoint: &url, IndexName: &index, TypeName: &typeName, RoleARN: aws.String(role),
		IndexRotationPeriod:      types.ElasticsearchIndexRotationPeriodNoRotation,
		BufferingHints:           &types.ElasticsearchBufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
		RetryOptions:             &types.ElasticsearchRetryOptions{DurationInSeconds: aws.Int32(300)},
		S3BackupMode:             types.ElasticsearchS3BackupModeAllDocuments,
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
		S3Configuration:          failedTo(index),
	}
}

func failedTo(index string) *types.S3DestinationConfiguration {
	return &types.S3DestinationConfiguration{
		RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + setAside), Prefix: aws.String(index + "/"),
		BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
	}
}

// createSearch makes a delivery stream with the name of its index.
func createSearch(t *testing.T, d *deploy.Deployment, to *types.AmazonopensearchserviceDestinationConfiguration) {
	t.Helper()
	createStream(t, d, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: to.IndexName, AmazonopensearchserviceDestinationConfiguration: to})
}

func createStream(t *testing.T, d *deploy.Deployment, in *firehose.CreateDeliveryStreamInput) {
	t.Helper()
	makeBucket(t, d, setAside)
	if _, err := d.Firehose().CreateDeliveryStream(t.Context(), in); err != nil {
		t.Fatalf("create %s: %v", *in.DeliveryStreamName, err)
	}
}

// putAll puts records, 500 in a request, and returns what each was acknowledged as.
func putAll(t *testing.T, d *deploy.Deployment, stream string, data []string) (ids []string) {
	t.Helper()
	client := d.Firehose() // it repeats a call whose answer is lost, under the same invocation id, and so gets the same ids
	for len(data) > 0 {
		part := data[:min(len(data), 500)]
		data = data[len(part):]
		records := make([]types.Record, len(part))
		for i, text := range part {
			records[i].Data = []byte(text)
		}
		out, err := client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{DeliveryStreamName: &stream, Records: records})
		if err != nil || aws.ToInt32(out.FailedPutCount) != 0 {
			t.Fatalf("put to %s: %+v %v", stream, out, err)
		}
		for _, answer := range out.RequestResponses {
			ids = append(ids, *answer.RecordId)
		}
	}
	return ids
}

// numbered are n documents, from the number on.
func numbered(from, n, size int) []string {
	documents := make([]string, n)
	for i := range documents {
		documents[i] = fmt.Sprintf(`{"n":%d,"text":%q}`, from+i, strings.Repeat("x", size))
	}
	return documents
}

// wantIndexed waits until an index, or those of a pattern, have as many documents as there are ids, and checks that they are
// these, each once.
func wantIndexed(t *testing.T, client *esnode.Client, pattern string, ids []string) {
	t.Helper()
	deploy.Eventually(t, fmt.Sprintf("%d documents are in %s", len(ids), pattern), func() bool {
		count, err := client.Count(t.Context(), pattern)
		return err == nil && count >= len(ids)
	})
	missing := map[string]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	for document, err := range client.IDs(t.Context(), pattern) {
		if err != nil {
			t.Fatal(err)
		}
		if !missing[document.ID] {
			t.Errorf("%s has %s twice, or it was never acknowledged", pattern, document.ID)
		}
		delete(missing, document.ID)
	}
	if len(missing) > 0 {
		t.Errorf("%s lacks %d documents", pattern, len(missing))
	}
}

// failedLines are those of every file of a delivery stream, by the document's id. One that is there twice is an error.
func failedLines(t *testing.T, d *deploy.Deployment, stream string) map[string]checker.FailedDocument {
	t.Helper()
	lines := map[string]checker.FailedDocument{}
	for _, o := range d.Objects(setAside, stream+"/elasticsearch-failed/") {
		for text := range bytes.Lines(plain(t, o)) {
			line, err := checker.ParseFailed(text)
			if err != nil {
				t.Fatalf("%s: %v in %s", o.Key, err, text)
			}
			if _, twice := lines[line.ID]; twice {
				t.Errorf("%s is set aside twice", line.ID)
			}
			lines[line.ID] = line
		}
	}
	return lines
}

// wantSetAside waits until records are set aside, and checks that they are these, each once. It returns their lines.
func wantSetAside(t *testing.T, d *deploy.Deployment, stream string, ids, data []string) map[string]checker.FailedDocument {
	t.Helper()
	var lines map[string]checker.FailedDocument
	deploy.Eventually(t, fmt.Sprintf("%d documents are set aside", len(ids)), func() bool {
		lines = failedLines(t, d, stream)
		return len(lines) >= len(ids)
	})
	for i, id := range ids {
		if string(lines[id].Data) != data[i] {
			t.Errorf("%s is set aside as %.200q", id, lines[id].Data)
		}
	}
	if len(lines) != len(ids) {
		t.Errorf("%d documents are set aside, want %d", len(lines), len(ids))
	}
	return lines
}

// wantNothingSetAside checks that no document of a delivery stream failed.
func wantNothingSetAside(t *testing.T, d *deploy.Deployment, stream string) {
	t.Helper()
	if lines := failedLines(t, d, stream); len(lines) > 0 {
		t.Errorf("%d documents are set aside: %+v", len(lines), lines)
	}
}
