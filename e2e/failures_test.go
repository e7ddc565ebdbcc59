package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/smithy-go"

	"hydrant/e2e/internal/deploy"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
)

func wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("got %v, want %s with %q", err, code, text)
	}
}

// post sends a body as it is, and returns the error code and message that it is answered with.
func post(t *testing.T, d *deploy.Deployment, operation, body string) (code, message string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.API, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Amz-Target", "Firehose_20150804."+operation)
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%s %s: the answer %q is not JSON: %v", operation, response.Status, data, err)
	}
	return answer.Type, answer.Message
}

func TestBadInputIsRefusedAndNothingIsLost(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "good", destination("good", "", 1))
		put(t, d, "good", "before\n")

		for _, c := range []struct{ name, operation, body, code, text string }{
			{"not JSON", "PutRecord", `{"DeliveryStreamName":`, "SerializationException", ""},
			{"wrong base64", "PutRecord", `{"DeliveryStreamName":"good","Record":{"Data":"a$b="}}`, "SerializationException", ""},
			{"unknown operation", "MakeCoffee", `{}`, "UnknownOperationException", ""},
			{"no stream name", "PutRecord", `{"Record":{"Data":"aGVsbG8="}}`, "ValidationException", "deliveryStreamName"},
		} {
			t.Run(c.name, func(t *testing.T) {
				code, message := post(t, d, c.operation, c.body)
				if code != c.code || !strings.Contains(message, c.text) {
					t.Errorf("got %s %q, want %s with %q", code, message, c.code, c.text)
				}
			})
		}
		client := d.Firehose()
		_, err := client.PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: aws.String("absent"), Record: &types.Record{Data: []byte("x")}})
		wantCode(t, err, "ResourceNotFoundException", "Firehose absent not found under account")
		_, err = client.PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: aws.String("good"), Record: &types.Record{Data: make([]byte, 1_024_001)}})
		wantCode(t, err, "ValidationException", "record.data")
		big := make([]types.Record, 5)
		for i := range big {
			big[i].Data = make([]byte, 900_000)
		}
		_, err = client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{DeliveryStreamName: aws.String("good"), Records: big})
		wantCode(t, err, "InvalidArgumentException", "Records size exceeds 4 MB limit")

		put(t, d, "good", "after\n")
		if got := body(t, d, "good", "", 13); got != "before\nafter\n" {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestMissingBucketIsToldAndHealed(t *testing.T) {
	apart(t, deploy.Options{Settings: map[string]string{"HYDRANT_RETRY_MAX": "1s"}}, func(t *testing.T, d *deploy.Deployment) {
		_, err := d.Firehose().CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
			DeliveryStreamName: aws.String("early"), ExtendedS3DestinationConfiguration: destination("late-bucket", "", 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, "early", "waits\n")
		var entry delivery.LogEntry
		if err := json.Unmarshal(messages(t, d, "ERRORS", "errors.early.S3Delivery", 1)[0], &entry); err != nil {
			t.Fatal(err)
		}
		if entry.ErrorCode != "S3.NoSuchBucket" || !strings.Contains(entry.DeliveryStreamARN, "deliverystream/early") || entry.Destination != "arn:aws:s3:::late-bucket" {
			t.Errorf("the error log has %+v", entry)
		}
		makeBucket(t, d, "late-bucket")
		if got := body(t, d, "late-bucket", "", 6); got != "waits\n" {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestCorrectedBucketHealsTheBacklog(t *testing.T) {
	apart(t, deploy.Options{Settings: map[string]string{"HYDRANT_RETRY_MAX": "1s"}}, func(t *testing.T, d *deploy.Deployment) {
		_, err := d.Firehose().CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
			DeliveryStreamName: aws.String("wrong"), ExtendedS3DestinationConfiguration: destination("no-such-bucket", "", 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, "wrong", "heals\n")
		messages(t, d, "ERRORS", "errors.wrong.S3Delivery", 1)
		makeBucket(t, d, "right-bucket")
		_, err = d.Firehose().UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
			DeliveryStreamName: aws.String("wrong"), CurrentDeliveryStreamVersionId: aws.String("1"), DestinationId: aws.String("destinationId-000000000001"),
			ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{BucketARN: aws.String("arn:aws:s3:::right-bucket")},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := body(t, d, "right-bucket", "", 6); got != "heals\n" {
			t.Errorf("delivered %q", got)
		}
	})
}

// TestKeyThatTheServerPassesOver asks for encryption of an S3 server that knows none and does not say so.
func TestKeyThatTheServerPassesOver(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		to := destination("open-bucket", "", 0)
		to.EncryptionConfiguration = &types.EncryptionConfiguration{
			KMSEncryptionConfig: &types.KMSEncryptionConfig{AWSKMSKeyARN: aws.String("arn:aws:kms:us-east-1:000000000000:key/k")},
		}
		to.CloudWatchLoggingOptions = &types.CloudWatchLoggingOptions{
			Enabled: aws.Bool(true), LogGroupName: aws.String("/aws/kinesisfirehose/open"), LogStreamName: aws.String("S3Delivery"),
		}
		create(t, d, "open", to)
		put(t, d, "open", "not encrypted\n")
		if got := body(t, d, "open-bucket", "", 14); got != "not encrypted\n" {
			t.Errorf("delivered %q", got)
		}
		var entry delivery.LogEntry
		if err := json.Unmarshal(messages(t, d, "ERRORS", "errors.open.S3Delivery", 1)[0], &entry); err != nil {
			t.Fatal(err)
		}
		if entry.ErrorCode != "S3.KMS.NotFoundException" || !strings.Contains(entry.Message, "not encrypted") {
			t.Errorf("the error log has %+v", entry)
		}
	})
}

func TestS3ServerAwayForAWhile(t *testing.T) {
	apart(t, deploy.Options{Settings: map[string]string{"HYDRANT_RETRY_MAX": "1s"}}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "patient", destination("patient", "", 0))
		start := d.Stop("s3")
		put(t, d, "patient", "while it was away\n")
		messages(t, d, "ERRORS", "errors.patient.S3Delivery", 1)
		start()
		if got := body(t, d, "patient", "", 18); got != "while it was away\n" {
			t.Errorf("delivered %q", got)
		}
	})
}

func TestNATSAwayForAWhile(t *testing.T) {
	apart(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "steady", destination("steady", "", 0))
		put(t, d, "steady", "before\n")
		body(t, d, "steady", "", 7)
		start := d.Stop("nats")

		client := d.Firehose(func(o *firehose.Options) { o.RetryMaxAttempts = 1 })
		stream := "steady"
		_, err := client.PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: &stream, Record: &types.Record{Data: []byte("refused\n")}})
		wantCode(t, err, "ServiceUnavailableException", "")
		out, err := client.PutRecordBatch(t.Context(), &firehose.PutRecordBatchInput{DeliveryStreamName: &stream, Records: []types.Record{{Data: []byte("refused too\n")}}})
		if err != nil { // by a proxy that knows that no ingest is ready
			wantCode(t, err, "ServiceUnavailableException", "")
		} else if *out.FailedPutCount != 1 || aws.ToString(out.RequestResponses[0].ErrorCode) != "ServiceUnavailableException" {
			t.Errorf("a batch while NATS is away: %+v", out)
		}
		start()
		deploy.Eventually(t, "puts are taken again", func() bool {
			_, err := client.PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: &stream, Record: &types.Record{Data: []byte("after\n")}})
			return err == nil
		})
		if got := body(t, d, "steady", "", 13); !strings.HasPrefix(got, "before\nafter\n") || strings.Contains(got, "refused") {
			t.Errorf("delivered %q: a refused record must not come later", got)
		}
	})
}

func TestExpiredRecordsAreCounted(t *testing.T) {
	apart(t, deploy.Options{Settings: map[string]string{"HYDRANT_RETENTION": "3s", "HYDRANT_RETRY_MAX": "1s"}}, func(t *testing.T, d *deploy.Deployment) {
		_, err := d.Firehose().CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
			DeliveryStreamName: aws.String("fading"), ExtendedS3DestinationConfiguration: destination("never-made", "", 0),
		})
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, "fading", "lost\n")
		entry := deliveries(t, d, "deliveries.s3.fading", 1)[0]
		if entry.Outcome != batch.Expired || entry.ExpiredRecords != 1 || entry.Records != 0 {
			t.Errorf("noted as %+v", entry)
		}
		for n := 1; ; n++ { // what failed before is in the log too
			log := messages(t, d, "ERRORS", "errors.fading.S3Delivery", n)
			if strings.Contains(string(log[n-1]), "RecordsExpired") {
				return
			}
		}
	})
}

func TestDeletedAndMadeAgain(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		client := d.Firehose()
		name := "phoenix"
		for life := range 5 {
			bucket := fmt.Sprintf("life-%d", life)
			makeBucket(t, d, bucket)
			deploy.Eventually(t, "the name is free", func() bool {
				_, err := client.CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
					DeliveryStreamName: &name, ExtendedS3DestinationConfiguration: destination(bucket, "", 1),
				})
				return err == nil
			})
			var want string
			for n := range 10 {
				line := fmt.Sprintf("%d-%d\n", life, n)
				put(t, d, name, line)
				want += line
			}
			if got := body(t, d, bucket, "", len(want)); got != want {
				t.Errorf("life %d delivered %q, want %q", life, got, want)
			}
			put(t, d, name, "discarded or delivered, but never in the next life\n")
			if _, err := client.DeleteDeliveryStream(t.Context(), &firehose.DeleteDeliveryStreamInput{DeliveryStreamName: &name}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestFullStoreRefusesAndRecovers(t *testing.T) {
	apart(t, deploy.Options{
		StoreBytes: 64 << 20, Settings: map[string]string{"HYDRANT_RETRY_MAX": "1s", "HYDRANT_STREAM_SHARE_PERCENT": "100"},
	}, func(t *testing.T, d *deploy.Deployment) {
		makeBucket(t, d, "full")
		create(t, d, "full", destination("full", "", 1))
		start := d.Stop("s3")
		client := d.Firehose(func(o *firehose.Options) { o.RetryMaxAttempts = 1 })
		name, acknowledged := "full", 0
		line := strings.Repeat("x", 99_999) + "\n"
		deadline := time.Now().Add(time.Minute)
		for {
			_, err := client.PutRecord(context.WithoutCancel(t.Context()), &firehose.PutRecordInput{DeliveryStreamName: &name, Record: &types.Record{Data: []byte(line)}})
			if err != nil {
				wantCode(t, err, "ServiceUnavailableException", "")
				break
			}
			if acknowledged++; acknowledged > 640 || time.Now().After(deadline) {
				t.Fatalf("%d records of 100 kB taken into a store of 64 MiB", acknowledged)
			}
		}
		start()
		if got := body(t, d, "full", "", acknowledged*len(line)); len(got) != acknowledged*len(line) {
			t.Errorf("%d bytes delivered, %d acknowledged", len(got), acknowledged*len(line))
		}
		deploy.Eventually(t, "puts are taken again after trimming", func() bool {
			_, err := client.PutRecord(t.Context(), &firehose.PutRecordInput{DeliveryStreamName: &name, Record: &types.Record{Data: []byte("again\n")}})
			return err == nil
		})
	})
}

func TestHealthAndMetrics(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "seen", destination("seen", "", 0))
		put(t, d, "seen", "12345")
		body(t, d, "seen", "", 5)
		for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": `hydrant_incoming_bytes_total{stream="seen"} 5`} {
			if got := d.Get(path); !strings.Contains(got, want) {
				t.Errorf("%s has no %q", path, want)
			}
		}
	})
}

// TestServerSyncsAlways asks the NATS servers that Hydrant brings along. That of the processes is configured by the test.
func TestServerSyncsAlways(t *testing.T) {
	against(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		if got := d.Monitor("/jsz?config=1"); !strings.Contains(got, `"sync_always": true`) {
			t.Errorf("the NATS server does not say that it syncs always: %s", got)
		}
	}, deploy.OneProcess, deploy.Compose)
}
