package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
)

// TestBackupSwitchedOnLater backs up what is put after the update was answered, and nothing that was acknowledged before
// the update was sent.
func TestBackupSwitchedOnLater(t *testing.T) {
	everywhere(t, deploy.Options{}, func(t *testing.T, d *deploy.Deployment) {
		create(t, d, "late", destination("originals", "", 1))
		makeBucket(t, d, "copies")
		several := func(word string) string {
			var all strings.Builder
			for n := range 20 {
				record := fmt.Sprintf("%s %d\n", word, n)
				put(t, d, "late", record)
				all.WriteString(record)
			}
			return all.String()
		}
		before := several("before")
		_, err := d.Firehose().UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
			DeliveryStreamName: aws.String("late"), CurrentDeliveryStreamVersionId: aws.String("1"), DestinationId: aws.String("destinationId-000000000001"),
			ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{
				S3BackupMode: types.S3BackupModeEnabled,
				S3BackupUpdate: &types.S3DestinationUpdate{
					RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::copies"), Prefix: aws.String("source/"),
					BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
				},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		after := several("after")
		if got := body(t, d, "originals", "", len(before)+len(after)); got != before+after {
			t.Errorf("delivered %q", got)
		}
		if got := body(t, d, "copies", "source/", len(after)); got != after {
			t.Errorf("backed up %q, want %q", got, after)
		}
		d.Restart() // a leg that began later goes on where it was
		again := several("again")
		if got := body(t, d, "copies", "source/", len(after)+len(again)); got != after+again {
			t.Errorf("backed up %q, want %q", got, after+again)
		}
	})
}
