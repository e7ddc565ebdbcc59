package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/deploy"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
)

// prepareExamples makes the delivery streams that docs/nats-cli.md tells of at its beginning, and waits until each is in the state
// that is told there. It leaves no consumer behind, which the page would show.
func prepareExamples(t *testing.T, d *deploy.Deployment) {
	t.Helper()
	ready := []func(){delivering(t, d), waiting(t, d), failing(t, d), settingAside(t, d), staged(t, d)}
	for _, wait := range ready {
		wait()
	}
}

// delivering is clicks, of which two batches are in S3.
func delivering(t *testing.T, d *deploy.Deployment) (wait func()) {
	t.Helper()
	create(t, d, "clicks", destination("clicks", "", 1))
	putAll(t, d, "clicks", []string{"GET /\n", "GET /about\n"})
	awaitStored(t, d, "DELIVERIES", "deliveries.s3.clicks", 1)
	put(t, d, "clicks", "GET /basket\n")
	return func() {
		awaitStored(t, d, "DELIVERIES", "deliveries.s3.clicks", 2)
		awaitConsumer(t, d, "BATCHES", "s3sink_clicks_", 0)
	}
}

// waiting is archive: a batch was cut for its size, and what came since is in none for a quarter of an hour.
func waiting(t *testing.T, d *deploy.Deployment) (wait func()) {
	t.Helper()
	create(t, d, "archive", destination("archive", "", 900))
	page := strings.Repeat("page ", 120_000)
	put(t, d, "archive", page)
	put(t, d, "archive", page)
	awaitStored(t, d, "BATCHES", "batches.s3.archive.0", 1)
	for i := range 3 {
		put(t, d, "archive", fmt.Sprintf("page %d\n", i))
	}
	return func() {
		awaitStored(t, d, "DELIVERIES", "deliveries.s3.archive", 1)
		awaitConsumer(t, d, "BATCHES", "s3sink_archive_", 0)
	}
}

// failing is orders, whose bucket is missing and whose two batches are tried again and again.
func failing(t *testing.T, d *deploy.Deployment) (wait func()) {
	t.Helper()
	createS3(t, d, "orders", destination("no-such-bucket", "", 1))
	for i := range 2 {
		put(t, d, "orders", fmt.Sprintf("{\"order\": %d}\n", i))
		awaitStored(t, d, "BATCHES", "batches.s3.orders.0", i+1)
	}
	return func() {
		awaitStored(t, d, "ERRORS", "errors.orders.S3Delivery", 1)
		awaitConsumer(t, d, "BATCHES", "s3sink_orders_", 2)
	}
}

// settingAside is people, whose cluster does not answer, and which gives up at once.
func settingAside(t *testing.T, d *deploy.Deployment) (wait func()) {
	t.Helper()
	createSearch(t, d, searchTo("http://"+nobody(t), "people", 0))
	putAll(t, d, "people", []string{`{"name": "Ada"}`, `{"name": "Grace"}`})
	return func() {
		awaitStored(t, d, "ERRORS", "errors.people.ElasticsearchDelivery", 1)
		awaitConsumer(t, d, "BATCHES", "es_people_", 0)
	}
}

// staged is visits, whose objects wait for a database that does not answer.
func staged(t *testing.T, d *deploy.Deployment) (wait func()) {
	t.Helper()
	createRedshift(t, d, "visits", &types.RedshiftDestinationConfiguration{
		ClusterJDBCURL: aws.String("jdbc:redshift://" + nobody(t) + "/warehouse?ssl=false"),
		Username:       aws.String(pgtest.User), Password: aws.String(pgtest.Password), RoleARN: aws.String(role),
		CopyCommand:              &types.CopyCommand{DataTableName: aws.String("visits"), CopyOptions: aws.String("JSON 'auto'")},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
		S3Configuration:          failedTo("visits"),
	})
	put(t, d, "visits", "{\"name\": \"Ada\", \"pages\": 3}\n")
	return func() {
		awaitStored(t, d, "ERRORS", "errors.visits.RedshiftDelivery", 2) // behind which RETRIES has the second failure
		awaitConsumer(t, d, "BATCHES", "s3sink_visits_", 0)
		awaitConsumer(t, d, "STAGING", "redshift_visits_", 1)
	}
}

// nobody is an address at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	port, err := proc.FreePort()
	must(t, err)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// awaitStored waits for as many messages of a subject, without reading them.
func awaitStored(t *testing.T, d *deploy.Deployment, stream, subject string, least int) {
	t.Helper()
	s, err := d.JetStream().Stream(t.Context(), stream)
	must(t, err)
	deploy.Eventually(t, fmt.Sprintf("%d messages of %s are there", least, subject), func() bool {
		info, err := s.Info(t.Context(), jetstream.WithSubjectFilter(subject))
		must(t, err)
		return info.State.Subjects[subject] >= uint64(least)
	})
}

// awaitConsumer waits until as many messages are left to a consumer as are tried again and again.
func awaitConsumer(t *testing.T, d *deploy.Deployment, stream, name string, failing int) {
	t.Helper()
	s, err := d.JetStream().Stream(t.Context(), stream)
	must(t, err)
	deploy.Eventually(t, fmt.Sprintf("%s… has %d left, which were handed out again", name, failing), func() bool {
		for info := range s.ListConsumers(t.Context()).Info() {
			if strings.HasPrefix(info.Name, name) {
				return info.NumPending == 0 && info.NumAckPending == failing && info.NumRedelivered == failing
			}
		}
		return false
	})
}
