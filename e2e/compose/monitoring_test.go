package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/composed"
)

// TestComposeMonitoring has Prometheus find every replica, however many there are, answer each question of the dashboard, and
// raise the alert of a service that is gone. Grafana itself is not started: its dashboard is these questions.
func TestComposeMonitoring(t *testing.T) {
	if !*run {
		t.Skip("it needs a container engine: make compose-test")
	}
	address := composed.FreeAddr(t)
	p := newProject(t, "HYDRANT_PUBLISH_PROMETHEUS="+address, "HYDRANT_RETRY_MAX=1s", "HYDRANT_RETENTION=10s", "HYDRANT_S3_CREATE_BUCKETS=false")
	p.up()
	p.compose(t.Context(), "up", "--detach", "--wait", "--no-recreate", "--no-deps", "prometheus") // its profile has Grafana too
	m := prometheus{p, address}
	m.finds(map[string]int{"ingest": 1, "buffer": 1, "s3sink": 1, "es": 1, "redshift": 1, "api": 1})
	p.scale["ingest"], p.scale["s3sink"] = 2, 3
	p.up()
	m.finds(map[string]int{"ingest": 2, "buffer": 1, "s3sink": 3, "es": 1, "redshift": 1, "api": 1})

	streams := p.everyFate()
	for _, expr := range dashboardQueries(t) {
		p.eventually("an answer to "+expr, 3*time.Minute, func() bool {
			p.putOneToEach(streams)
			return len(m.query(expr)) > 0
		})
	}
	for _, alert := range []string{"HydrantRecordsSetAside", "HydrantRecordsExpired", "HydrantRecordsExpireSoon", "HydrantDeliveryFails"} {
		p.eventually(alert, 2*time.Minute, func() bool { return m.raises(alert, "") })
	}
	p.compose(t.Context(), "stop", "s3sink")
	p.eventually("an alert of the sink that is gone", 2*time.Minute, func() bool { return m.raises("HydrantServiceDown", "s3sink") })
}

// everyFate makes delivery streams of which some deliver, and with the others each thing goes wrong that a panel shows: no cluster,
// no database, no bucket.
func (p *project) everyFate() []string {
	p.t.Helper()
	for _, bucket := range []string{bucket, failed, staging} {
		_, err := p.s3().CreateBucket(p.t.Context(), &s3.CreateBucketInput{Bucket: &bucket})
		p.must(err)
	}
	p.create("no-bucket", "none", "")
	streams := []string{"seen", "no-bucket", "no-database", "no-cluster"}
	if p.search != "" {
		streams = append(streams, p.toSearch("documents").streams...)
	}
	p.firstRow()
	kept := intoBucket(bucket, "seen/")
	kept.S3BackupMode = types.S3BackupModeEnabled
	kept.S3BackupConfiguration = &types.S3DestinationConfiguration{RoleARN: kept.RoleARN, BucketARN: kept.BucketARN, Prefix: aws.String("backup/"), BufferingHints: kept.BufferingHints}
	database := intoTable("none")
	database.ClusterJDBCURL = aws.String("jdbc:postgresql://nowhere:5439/postgres?sslmode=disable")
	database.RetryOptions = &types.RedshiftRetryOptions{DurationInSeconds: aws.Int32(3)}
	cluster := p.intoIndex("none")
	cluster.ClusterEndpoint = aws.String("http://nowhere:9200")
	cluster.RetryOptions = &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: aws.Int32(3)}
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String("seen"), ExtendedS3DestinationConfiguration: kept})
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String("no-database"), RedshiftDestinationConfiguration: database})
	p.createStream(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: aws.String("no-cluster"), AmazonopensearchserviceDestinationConfiguration: cluster})
	return streams
}

// putOneToEach puts a record to delivery streams, and asks for one that does not exist.
func (p *project) putOneToEach(streams []string) {
	p.t.Helper()
	var refused *types.ResourceNotFoundException
	_, err := p.firehose().DescribeDeliveryStream(p.t.Context(), &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: aws.String("never-made")})
	if !errors.As(err, &refused) {
		p.t.Errorf("a delivery stream that was never made is described: %v", err)
	}
	for _, stream := range streams {
		_, err := p.firehose().PutRecord(p.t.Context(), &firehose.PutRecordInput{
			DeliveryStreamName: &stream, Record: &types.Record{Data: []byte("{}\n")},
		})
		p.must(err)
	}
}

// dashboardQueries are what the panels ask, as Grafana asks it, of all delivery streams and one minute.
func dashboardQueries(t *testing.T) (all []string) {
	t.Helper()
	var dashboard struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(read(t, "deploy/grafana/dashboards/hydrant.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			if !*search && regexp.MustCompile("delivery_to_elasticsearch_(records|bytes|data_freshness)").MatchString(target.Expr) {
				continue // nothing is delivered there
			}
			all = append(all, strings.NewReplacer("$__rate_interval", "1m", "$stream", ".*").Replace(target.Expr))
		}
	}
	return all
}

// prometheus is that of a project.
type prometheus struct {
	p       *project
	address string
}

// sample is one element of an answer.
type sample struct {
	Metric map[string]string
	Value  []any // time and value
}

// query is what PromQL answers at this moment.
func (m prometheus) query(expr string) []sample {
	m.p.t.Helper()
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	m.get("query?query="+url.QueryEscape(expr), &answer)
	if answer.Status != "success" {
		m.p.t.Fatalf("%s: %s", expr, answer.Error)
	}
	return answer.Data.Result
}

// finds waits until there are as many replicas as there should be, and all of them are scraped.
func (m prometheus) finds(want map[string]int) {
	m.p.t.Helper()
	m.p.eventually(fmt.Sprintf("Prometheus finds %v", want), 2*time.Minute, func() bool {
		found := map[string]int{}
		for _, s := range m.query("up == 1") {
			found[s.Metric["job"]]++
		}
		return maps.Equal(found, want) && len(m.query("up == 0")) == 0
	})
}

// raises tells whether an alert is raised or about to be, of a job if that is not "".
func (m prometheus) raises(name, job string) bool {
	m.p.t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct{ Labels map[string]string }
		}
	}
	m.get("alerts", &answer)
	for _, a := range answer.Data.Alerts {
		if a.Labels["alertname"] == name && (job == "" || a.Labels["job"] == job) {
			return true
		}
	}
	return false
}

func (m prometheus) get(path string, answer any) {
	m.p.t.Helper()
	request, err := http.NewRequestWithContext(m.p.t.Context(), http.MethodGet, "http://"+m.address+"/api/v1/"+path, nil)
	m.p.must(err)
	response, err := http.DefaultClient.Do(request)
	m.p.must(err)
	defer func() { _ = response.Body.Close() }()
	m.p.must(json.NewDecoder(response.Body).Decode(answer))
}
