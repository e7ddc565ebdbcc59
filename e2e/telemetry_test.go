package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
)

// tool runs a command-line tool of the program against an installation, and returns what it prints.
func tool(t *testing.T, d *deploy.Deployment, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), programs.Path("hydrant"), append(args, "--nats-url", d.NATS)...)
	var problems strings.Builder
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		t.Fatalf("hydrant %s: %v: %s", strings.Join(args, " "), err, problems.String())
	}
	return string(out)
}

// words are what a tool printed, without its line breaks.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// Services that are stopped leave the metrics of what they did.
func TestMetricsTool(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "counted", destination("counted", "", 0))
		put(t, d, "counted", "one\n")
		put(t, d, "counted", "three\n")
		body(t, d, "counted", "", 10)
		d.Restart()
		var report struct {
			Metrics []struct {
				Metric  string
				Sum     float64
				Samples int
				Max     float64
			}
		}
		if err := json.Unmarshal([]byte(tool(t, d, "metrics", "counted", "--json")), &report); err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, m := range report.Metrics {
			got[m.Metric] = m.Sum
		}
		for metric, want := range map[string]float64{
			"IncomingBytes": 10, "IncomingRecords": 2, "IncomingPutRequests": 2, "DeliveryToS3.Bytes": 10, "DeliveryToS3.Records": 2,
		} {
			if got[metric] != want {
				t.Errorf("%s is %v, want %v", metric, got[metric], want)
			}
		}
		if got["DeliveryToS3.Success"] != got["DeliveryToS3.ObjectCount"] || got["DeliveryToS3.Success"] == 0 {
			t.Errorf("got %v", got)
		}
		text := tool(t, d, "metrics", "counted", "--ascii")
		for _, want := range []string{"counted, ", "METRIC", "\nIncomingBytes, sum of each 1m: "} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	})
}

// What fails is found in the error log, once that is enabled.
func TestLogsTool(t *testing.T) {
	apart(t, deploy.Options{Settings: map[string]string{"HYDRANT_RETRY_MAX": "1s"}}, func(t *testing.T, d *deploy.Deployment) {
		to := destination("nowhere", "", 0)
		to.CloudWatchLoggingOptions = nil
		_, err := d.Firehose().CreateDeliveryStream(t.Context(), &firehose.CreateDeliveryStreamInput{
			DeliveryStreamName: aws.String("broken"), ExtendedS3DestinationConfiguration: to,
		})
		if err != nil {
			t.Fatal(err)
		}
		put(t, d, "broken", "waits\n")
		deploy.Eventually(t, "status tells of the failure and of logging that is off", func() bool {
			return strings.Contains(words(tool(t, d, "status", "broken")), `"hydrant logs broken" says how to turn it on`)
		})
		if text := tool(t, d, "logs", "broken"); !strings.Contains(text, "no entries of broken") || !strings.Contains(text, "is off") {
			t.Errorf("got\n%s", text)
		}
		_, err = d.Firehose().UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
			DeliveryStreamName: aws.String("broken"), CurrentDeliveryStreamVersionId: aws.String("1"), DestinationId: aws.String("destinationId-000000000001"),
			ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{
				Enabled: aws.Bool(true), LogGroupName: aws.String("mine"), LogStreamName: aws.String("what failed"),
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		deploy.Eventually(t, "the error log has the failure", func() bool {
			return strings.Contains(words(tool(t, d, "logs", "broken", "--log-stream", "what failed")), "S3.NoSuchBucket The bucket does not exist.")
		})
		line, _, _ := strings.Cut(tool(t, d, "logs", "broken", "--json", "-n", "1"), "\n")
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["logGroup"] != "mine" || entry["bucket"] != "nowhere" || entry["requestId"] == nil {
			t.Errorf("%v: %s", err, line)
		}
		if text := words(tool(t, d, "status", "broken")); !strings.Contains(text, "last error S3.NoSuchBucket") {
			t.Errorf("got\n%s", text)
		}
	})
}
