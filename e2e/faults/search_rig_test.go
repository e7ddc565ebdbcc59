package faults

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

const (
	// domain is a name that each sink has another address for: that of its own proxy.
	domain = "arn:aws:es:us-east-1:000000000000:domain/faults"
	// Where failed documents and backups are, in either bucket.
	failedPrefix, allPrefix = "failed/", "all/"
	// badShare is how many of the records no index takes: few enough that there are batches without.
	badShare = 0.003
)

// The rates at which the search node fails when nothing else is going on, and in a storm.
func searchOrdinary() faultproxy.SearchSettings {
	return faultproxy.SearchSettings{
		Throttled: 0.02, Unavailable: 0.02, TooLarge: 0.02, ItemsThrottled: 0.04, ResetBefore: 0.01, ResetAfter: 0.02,
		HeldAnswer: 0.005, BlackHole: 0.005, Truncated: 0.01, MaxHold: 10 * time.Second,
	}
}

func searchStorm() faultproxy.SearchSettings {
	return faultproxy.SearchSettings{
		Throttled: 0.1, Unavailable: 0.1, TooLarge: 0.1, ItemsThrottled: 0.15, ResetBefore: 0.1, ResetAfter: 0.15,
		HeldAnswer: 0.05, BlackHole: 0.05, Truncated: 0.1, MaxHold: 10 * time.Second,
	}
}

// newSearchRig is a rig with a search node and so many sinks that index into it, each through a proxy of its own. Where the
// node was not fetched the test is skipped. Settings are environment variables that come last, and so win.
func newSearchRig(t *testing.T, sinks int, settings ...string) *rig {
	node := esnode.Start(t, esnode.Elasticsearch9, esnode.Options{})
	r := newRig(t, *seed, programs, settings...)
	r.addSearch(node, "faults-", sinks, settings)
	r.awaitReady()
	return r
}

// addSearch adds a node, which may be another rig's too, and sinks. The indices of this one begin with a word.
func (r *rig) addSearch(node *esnode.Node, indices string, sinks int, settings []string) {
	r.t.Helper()
	r.node, r.indices = node, indices
	r.add("search", "search", &part{process: node.Process, ready: node.ReadyURL()})
	r.must(node.Client().PutIndexTemplate(r.t.Context(), indices+"template", map[string]any{
		"index_patterns": []string{indices + "*"},
		"template":       map[string]any{"settings": map[string]any{"index.number_of_replicas": 0}, "mappings": checker.Mapping()},
	}))
	for n := range sinks {
		r.startSearchSink(fmt.Sprintf("es-%d", n+1), programs, n, settings)
	}
}

// startSearchSink starts a sink, every second one of which sends many requests for a batch, and the others large ones, which are
// refused with 413 now and then.
func (r *rig) startSearchSink(name string, programs deploy.Programs, n int, settings []string) {
	seed, documents := *seed+uint64(10+n), []int{150, 10_000}[n%2]
	proxy, err := faultproxy.NewSearch(seed, strings.TrimPrefix(r.node.URL, "http://"))
	r.must(err)
	r.t.Cleanup(proxy.Close)
	r.search[name] = proxy
	r.startSink("es", name, programs, seed, slices.Concat([]string{
		"HYDRANT_ES_ENDPOINTS=" + domain + "=" + proxy.URL(), "HYDRANT_ES_TIMEOUT=4s",
		"HYDRANT_BULK_SIZE=2097152", fmt.Sprint("HYDRANT_BULK_RECORDS=", documents),
	}, settings))
}

func (r *rig) setSearch(t *testing.T, settings faultproxy.SearchSettings) {
	for _, proxy := range r.search {
		if err := proxy.Set(settings); err != nil {
			t.Error(err)
		}
	}
}

// blockWrites has every index refuse documents until it is over. The node may still be starting.
func (r *rig) blockWrites(t *testing.T, over func()) {
	deploy.Eventually(t, "the indices are blocked", func() bool { return r.setBlocked(t, true) })
	over()
	deploy.Eventually(t, "the indices are not blocked any more", func() bool { return r.setBlocked(t, false) })
}

func (r *rig) setBlocked(t *testing.T, blocked bool) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := r.node.Client().BlockWrites(ctx, r.indices+"*", blocked)
	var answered *esnode.StatusError
	return err == nil || errors.As(err, &answered) && answered.Status == http.StatusNotFound // there is none yet
}

// searching is a delivery stream of the rig to the search node.
type searching struct {
	checker.Search
	backup   bool
	interval int32
	retries  int32 // seconds
}

// createSearch makes a delivery stream to the search node; what it is called, its index is.
func (r *rig) createSearch(name string, s searching) checker.Search {
	r.t.Helper()
	s.Index = r.indices + name
	to := &types.AmazonopensearchserviceDestinationConfiguration{
		RoleARN: aws.String(role), DomainARN: aws.String(domain), IndexName: &s.Index,
		IndexRotationPeriod: types.AmazonopensearchserviceIndexRotationPeriod(s.Rotation),
		BufferingHints:      &types.AmazonopensearchserviceBufferingHints{SizeInMBs: aws.Int32(3), IntervalInSeconds: &s.interval},
		RetryOptions:        &types.AmazonopensearchserviceRetryOptions{DurationInSeconds: &s.retries},
		S3Configuration: &types.S3DestinationConfiguration{
			RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + bucket), Prefix: aws.String(allPrefix),
			ErrorOutputPrefix: aws.String(failedPrefix + "!{firehose:error-output-type}/"),
			BufferingHints:    &types.BufferingHints{SizeInMBs: aws.Int32(4), IntervalInSeconds: aws.Int32(2)},
		},
	}
	r.shapes[name] = shape{documents: true, bad: badShare}
	legs := []names.Leg{names.LegES}
	if s.backup {
		to.S3BackupMode = types.AmazonopensearchserviceS3BackupModeAllDocuments
		to.S3Configuration.BucketARN = aws.String("arn:aws:s3:::" + backupBucket)
		to.S3Configuration.CompressionFormat = types.CompressionFormatGzip
		legs = append(legs, names.LegBackup)
	}
	if s.NoIDs {
		to.DocumentIdOptions = &types.DocumentIdOptions{DefaultDocumentIdFormat: types.DefaultDocumentIdFormatNoDocumentId}
	}
	r.create(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, AmazonopensearchserviceDestinationConfiguration: to}, legs)
	return s.Search
}

// checkDocuments counts every record that goes to the search node. Some must be such as it does not take.
func (r *rig) checkDocuments(t *testing.T, streams map[string]checker.Search) *checker.Report {
	t.Helper()
	report := r.countDocuments(t, streams)
	if report.SetAside == 0 {
		t.Error("nothing was set aside, so that was not tested")
	}
	return report
}

func (r *rig) countDocuments(t *testing.T, streams map[string]checker.Search) *checker.Report {
	t.Helper()
	var failed []checker.Object
	for _, name := range []string{bucket, backupBucket} {
		objects, err := checker.Objects(t.Context(), r.direct, name, failedPrefix)
		r.must(err)
		failed = append(failed, objects...)
	}
	report, err := checker.CheckDocuments(t.Context(), r.ledger, r.documents(t.Context()), failed, checker.DocumentOptions{
		Streams: streams, Arrived: r.arrivals(t.Context()),
	})
	r.must(err)
	t.Logf("documents\n%s", report)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Indexed == 0 {
		t.Error("nothing was indexed, so nothing was tested")
	}
	return report
}

// documents are all that the node has, past the proxies.
func (r *rig) documents(ctx context.Context) iter.Seq2[checker.Found, error] {
	return func(yield func(checker.Found, error) bool) {
		for d, err := range r.node.Client().Documents(ctx, r.indices+"*") {
			if !yield(checker.Found{Index: d.Index, ID: d.ID, Version: d.Version, Source: d.Source}, err) {
				return
			}
		}
	}
}

// message is a message of a record log.
type message struct {
	stream   string // id of the delivery stream
	shard    uint64
	sequence uint64
}

// arrivals reads when each message arrived, from the logs themselves.
func (r *rig) arrivals(ctx context.Context) func(id string) (time.Time, error) {
	at := map[message]time.Time{}
	streams := r.js.ListStreams(ctx, jetstream.WithStreamListSubject(names.AllRecords))
	for info := range streams.Info() {
		if log, ok := names.ParseLog(info.Config.Name); ok {
			r.readLog(ctx, log, info, at)
		}
	}
	r.must(streams.Err())
	return func(id string) (time.Time, error) {
		parsed, err := record.ParseID(id)
		if err != nil {
			return time.Time{}, err
		}
		arrived, ok := at[message{string(parsed.Stream), uint64(parsed.Shard), parsed.Sequence}]
		if !ok {
			return time.Time{}, fmt.Errorf("there is no message of the RecordId %s", id)
		}
		return arrived, nil
	}
}

func (r *rig) readLog(ctx context.Context, log names.Log, info *jetstream.StreamInfo, at map[message]time.Time) {
	if info.State.Msgs == 0 {
		return
	}
	consumer, err := r.js.OrderedConsumer(ctx, info.Config.Name, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	r.must(err)
	messages, err := consumer.Messages()
	r.must(err)
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		r.must(err)
		meta, err := m.Metadata()
		r.must(err)
		at[message{string(log.ID), uint64(log.Shard), meta.Sequence.Stream}] = meta.Timestamp
		if meta.Sequence.Stream >= info.State.LastSeq {
			return
		}
	}
}

// checkBackups counts the backups of the delivery streams that have them.
func (r *rig) checkBackups(t *testing.T) {
	t.Helper()
	objects, err := checker.Objects(t.Context(), r.direct, backupBucket, allPrefix)
	r.must(err)
	report := r.judge(names.LegBackup, objects, checker.Options{})
	t.Logf("leg %s\n%s", names.LegBackup, report)
	if err := report.Err(); err != nil {
		t.Errorf("leg %s: %v", names.LegBackup, err)
	}
	if report.Delivered == 0 {
		t.Error("nothing was backed up, so nothing was tested")
	}
}
