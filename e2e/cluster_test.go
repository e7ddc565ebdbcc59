package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/producer"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

var (
	clusterKills = flag.Int("cluster.kills", 3, "how many times a NATS server of the cluster is killed under load: each of the named ones first, then any")
	clusterSeed  = flag.Uint64("cluster.seed", 1, "seed of which is killed, when, and for how long")
)

// TestCluster has three NATS servers, of which one is killed under load again and again: one that leads the log, one that only
// follows, one that leads the batches, any. What was acknowledged is delivered, once, and each server is caught up again.
// Then the number of replicas is changed there and back under the same load.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, programs, nil)
	c.makeOneOfEach()
	c.mustHave(3)

	rng := rand.New(rand.NewPCG(*clusterSeed, 0))
	stop := c.produce(rng, "one", "two")
	for n := range *clusterKills {
		c.killServer(rng, n)
	}
	for _, replicas := range []int{1, 3} {
		t.Log(c.Hydrant("replicas", fmt.Sprint(replicas)))
		c.mustHave(replicas)
	}
	stop()
	c.verdict("one", "two")
}

// clustered is an installation on three NATS servers.
type clustered struct {
	*deploy.Deployment
	t      *testing.T
	js     jetstream.JetStream
	ledger *checker.Ledger
	enough int           // streams, to believe that a list has them all
	apart  time.Duration // the clocks
}

const clusterBucket = "cluster"

func startCluster(t *testing.T, programs deploy.Programs, clocks map[string]time.Duration) *clustered {
	t.Helper()
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Cluster: true, Clocks: clocks, Settings: map[string]string{
		"HYDRANT_REPLICAS": "3", "HYDRANT_ACK_WAIT": "5s", "HYDRANT_RETRY_MAX": "2s",
	}})
	return &clustered{Deployment: d, t: t, js: d.JetStream(), ledger: checker.NewLedger(), enough: 14}
}

// makeOneOfEach makes the delivery streams that records are put into, and one of each other kind, for what Hydrant makes for it.
func (c *clustered) makeOneOfEach() {
	c.t.Helper()
	for _, name := range []string{"one", "two"} {
		create(c.t, c.Deployment, name, destination(clusterBucket, name+"/", 1))
	}
	copied := destination("copied", "", 1)
	copied.S3BackupMode = types.S3BackupModeEnabled
	copied.S3BackupConfiguration = toBucket("copies")
	create(c.t, c.Deployment, "copied", copied)
	createStream(c.t, c.Deployment, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("indexed"),
		ElasticsearchDestinationConfiguration: &types.ElasticsearchDestinationConfiguration{
			RoleARN: aws.String(role), ClusterEndpoint: aws.String("http://127.0.0.1:1"), IndexName: aws.String("nowhere"), S3Configuration: toBucket("set-aside"),
		},
	})
	createStream(c.t, c.Deployment, &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: aws.String("loaded"),
		RedshiftDestinationConfiguration: &types.RedshiftDestinationConfiguration{
			RoleARN: aws.String(role), ClusterJDBCURL: aws.String("jdbc:redshift://127.0.0.1:1/nowhere?ssl=false"), Username: aws.String("nobody"),
			Password: aws.String("not-asked"), CopyCommand: &types.CopyCommand{DataTableName: aws.String("nowhere")}, S3Configuration: toBucket("staged"),
		},
	})
	deploy.Eventually(c.t, "each leg has its consumer", func() bool {
		found := strings.Join(c.consumers(), " ")
		for _, wanted := range []string{"s3sink_one_", "s3sink_copied_", "backup_copied_", "es_indexed_", "s3sink_loaded_", "redshift_loaded_"} {
			if !strings.Contains(found, wanted) {
				return false
			}
		}
		return true
	})
}

func toBucket(bucket string) *types.S3DestinationConfiguration {
	return &types.S3DestinationConfiguration{
		RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + bucket),
		BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)},
	}
}

// streams are all there are in NATS, whoever made them.
func (c *clustered) streams() (all []*jetstream.StreamInfo) {
	c.t.Helper()
	list := c.js.ListStreams(c.t.Context())
	for info := range list.Info() {
		all = append(all, info)
	}
	must(c.t, list.Err())
	return all
}

func (c *clustered) consumersOf(stream string) (all []*jetstream.ConsumerInfo) {
	c.t.Helper()
	s, err := c.js.Stream(c.t.Context(), stream)
	must(c.t, err)
	list := s.ListConsumers(c.t.Context())
	for info := range list.Info() {
		all = append(all, info)
	}
	must(c.t, list.Err())
	return all
}

func (c *clustered) consumers() (all []string) {
	c.t.Helper()
	for _, stream := range []string{names.BatchesStream, names.StagingStream} {
		for _, info := range c.consumersOf(stream) {
			all = append(all, info.Name)
		}
	}
	return all
}

// mustHave looks at everything in NATS, so that a stream, a bucket or a durable consumer that comes to be made without regard
// to the number of replicas is found.
func (c *clustered) mustHave(replicas int) {
	c.t.Helper()
	all := c.streams()
	if len(all) < c.enough { // nine of the installation, and a log for each delivery stream
		c.t.Errorf("there are %d streams", len(all))
	}
	for _, info := range all {
		c.mustBeOn(replicas, info.Config.Name, info.Cluster)
		for _, consumer := range c.consumersOf(info.Config.Name) {
			if consumer.Config.Durable != "" {
				c.mustBeOn(replicas, consumer.Stream+" > "+consumer.Name, consumer.Cluster)
			}
		}
	}
}

func (c *clustered) mustBeOn(replicas int, name string, cluster *jetstream.ClusterInfo) {
	c.t.Helper()
	if n := 1 + len(cluster.Replicas); n != replicas {
		c.t.Errorf("%s has %d replicas, want %d", name, n, replicas)
	}
}

// killServer kills the n-th server that there is a name for, or any, for some moments, and waits until it has everything again.
func (c *clustered) killServer(rng *rand.Rand, n int) {
	c.t.Helper()
	name, why := c.victim(rng, n)
	down := time.Duration(rng.Int64N(int64(3 * time.Second)))
	c.t.Logf("killing %s, %s, for %s", name, why, down)
	start := c.Stop(name)
	timer := time.NewTimer(down)
	<-timer.C
	start()
	deploy.Eventually(c.t, name+" is current", func() bool { return c.current() })
	timer.Reset(time.Duration(rng.Int64N(int64(2 * time.Second)))) // the next moment
	<-timer.C
}

func (c *clustered) victim(rng *rand.Rand, n int) (name, why string) {
	c.t.Helper()
	log, batches := c.leader("RECORDS_one"), c.leader(names.BatchesStream)
	switch n {
	case 0:
		return log, "which leads a log"
	case 1:
		others := slices.DeleteFunc(c.NATSServers(), func(s string) bool { return s == log })
		return others[rng.IntN(len(others))], "which follows a log"
	case 2:
		return batches, "which leads the batches"
	default:
		all := c.NATSServers()
		return all[rng.IntN(len(all))], "chosen at random"
	}
}

// leader is the server that leads the first stream with that beginning of a name, when there is one: it may just be elected.
func (c *clustered) leader(beginning string) (name string) {
	c.t.Helper()
	deploy.Eventually(c.t, beginning+"… has a leader", func() bool {
		list := c.js.ListStreams(c.t.Context())
		for info := range list.Info() {
			if strings.HasPrefix(info.Config.Name, beginning) && info.Cluster != nil {
				name = info.Cluster.Leader
			}
		}
		return name != ""
	})
	return name
}

// current tells whether every replica of every stream has what its leader has. While there is no leader NATS does not say.
func (c *clustered) current() bool {
	list := c.js.ListStreams(c.t.Context())
	n := 0
	for info := range list.Info() {
		n++
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
			return false
		}
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline || !peer.Current {
				return false
			}
		}
	}
	return list.Err() == nil && n >= c.enough
}

// produce starts two producers for each delivery stream; the function it returns has their last calls finished.
func (c *clustered) produce(rng *rand.Rand, streams ...string) (stop func()) {
	c.t.Helper()
	client := producer.NewClient(c.API, &http.Client{Timeout: 15 * time.Second})
	ctx, cancel := context.WithCancel(c.t.Context())
	var running sync.WaitGroup
	var all []*producer.Producer
	for _, stream := range streams {
		for n := range 2 {
			one, err := producer.New(producer.Config{
				Client: client, Stream: stream, ID: fmt.Sprintf("p%d", n), Ledger: c.ledger, Rate: 100,
				Rand: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())),
			})
			must(c.t, err)
			all = append(all, one)
			running.Go(func() {
				if err := one.Run(ctx); err != nil {
					c.t.Error(err)
				}
			})
		}
	}
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		for _, one := range all {
			c.t.Logf("%+v", one.Stats())
		}
	})
	c.t.Cleanup(stop)
	return stop
}

// verdict waits until everything is delivered, and counts every record. What a sink had taken when another server came to lead may be handed
// out again later by as much as clocks are apart.
func (c *clustered) verdict(streams ...string) {
	c.t.Helper()
	deploy.EventuallyWithin(c.t, c.apart+time.Minute, "everything is delivered", func() bool { return c.Delivered(streams...) })
	objects, err := checker.Objects(c.t.Context(), c.S3Client(), clusterBucket, "")
	must(c.t, err)
	report, err := checker.Check(c.t.Context(), c.ledger, objects, checker.Options{Ordered: true, Locate: func(id string) (checker.Position, error) {
		parsed, err := record.ParseID(id)
		return checker.Position{StreamID: string(parsed.Stream), Shard: uint64(parsed.Shard), Sequence: parsed.Sequence}, err
	}})
	must(c.t, err)
	c.t.Log(report)
	must(c.t, report.Err())
	if report.Delivered == 0 {
		c.t.Error("nothing was delivered, so nothing was tested")
	}
}
