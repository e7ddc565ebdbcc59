package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"hydrant/e2e/internal/composed"
)

// TestComposeMonitoring has Prometheus find every replica, however many there are, answer each question of the dashboard and of the
// alerts, and raise the alert of a service that is gone. Grafana itself is not started: its dashboard is these questions.
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
	for _, q := range append(dashboardQuestions(t), alertQuestions(t)...) {
		p.eventually("an answer to "+q.expr, 3*time.Minute, func() bool {
			p.putOneToEach(streams)
			return q.answeredBy(t, m.query(q.expr))
		})
	}
	m.offers(readDashboard(t).Templating.List[0], streams)
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

// question is what Prometheus is asked.
type question struct {
	expr   string
	labels []string // that each series of the answer has
}

// dashboardQuestions are what the panels ask, as Grafana asks it, of all delivery streams and one minute. A legend is made of labels.
func dashboardQuestions(t *testing.T) (all []question) {
	t.Helper()
	for _, query := range queries(t) {
		if !*search && regexp.MustCompile("delivery_to_elasticsearch_(records|bytes|data_freshness)").MatchString(query.Expr) {
			continue // nothing is delivered there
		}
		q := question{expr: strings.NewReplacer("$__rate_interval", "1m", "$stream", ".*").Replace(query.Expr)}
		for _, label := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(*query.LegendFormat, -1) {
			q.labels = append(q.labels, label[1])
		}
		all = append(all, q)
	}
	return all
}

// alertQuestions are those of the alerts, which are answered whether there is something to raise or not: then by 0.
func alertQuestions(t *testing.T) (all []question) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []struct{ Expr string } }
	}
	readYAML(t, "deploy/prometheus/rules.yml", &file)
	for _, rule := range file.Groups[0].Rules {
		all = append(all, question{expr: regexp.MustCompile(" (==|<|>) ").ReplaceAllString(rule.Expr, " $1 bool ")})
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

// answeredBy tells whether there are series, and makes sure that they have the labels.
func (q question) answeredBy(t *testing.T, answer []sample) bool {
	t.Helper()
	for _, s := range answer {
		for _, label := range q.labels {
			if s.Metric[label] == "" {
				t.Errorf("%s answers with %v, without %s", q.expr, s.Metric, label)
			}
		}
	}
	return len(answer) > 0
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

// offers makes sure that a variable of the dashboard can be set to each of the delivery streams.
func (m prometheus) offers(v dashboard.VariableModel, streams []string) {
	m.p.t.Helper()
	asked := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(*v.Definition)
	if asked == nil {
		m.p.t.Fatalf("the variable %s is %s", v.Name, *v.Definition)
	}
	var answer struct{ Data []string }
	m.get("label/"+asked[2]+"/values?match[]="+asked[1], &answer)
	for _, stream := range streams {
		if !slices.Contains(answer.Data, stream) {
			m.p.t.Errorf("the variable %s is one of %v, and not %s", v.Name, answer.Data, stream)
		}
	}
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
