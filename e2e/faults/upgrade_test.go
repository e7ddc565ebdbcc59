package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/e2e/internal/producer"
	"hydrant/shared/names"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
)

// next builds the programs of a version to come, once, and where they are wanted.
var next = sync.OnceValues(func() (deploy.Programs, error) { //nolint:gochecknoglobals // as the programs of this version
	dir := programs.Path("next")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return deploy.Programs{}, err
	}
	return deploy.BuildNext(context.Background(), dir)
})

// TestUpgrade replaces every replica of an installation, one at a time and under load, by one of a version that writes all formats anew.
// The search node is common to the two installations; the delivery streams to it are not.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	node := esnode.Start(t, esnode.Elasticsearch9, esnode.Options{})
	t.Run("in order", func(t *testing.T) {
		t.Parallel()
		newUpgrade(t, node, "ordered-").inOrder()
	})
	t.Run("in the wrong order", func(t *testing.T) {
		t.Parallel()
		newUpgrade(t, node, "disordered-").inTheWrongOrder()
	})
}

// inOrder is the documented one: readers before writers.
func (u *upgrade) inOrder() {
	stop := u.produce()
	refusals := u.refusals()
	for _, kind := range []string{"redshift", "es", "s3sink", "buffer", "ingest"} {
		if r, ok := refusals[kind]; ok {
			u.replaceRefused(kind, r)
			u.awaitDeliveries()
			continue
		}
		for n := range replicas {
			u.replace(kind, n+1)
			u.awaitDeliveries()
		}
	}
	stop()
	u.drain(drainTime)
	u.verdict()
	u.wasNewer()
	for _, p := range u.parts {
		if strings.HasSuffix(p.Name(), "-next") {
			u.leavesAlone(p) // what the version before wrote is no obstacle
		}
	}
}

// inTheWrongOrder has a version that is not upgraded meet what a newer one wrote: it leaves that alone and says so, goes on with the
// rest, and everything is delivered, once, when it is upgraded too.
func (u *upgrade) inTheWrongOrder() {
	_, err := u.direct.CreateBucket(u.t.Context(), &s3.CreateBucketInput{Bucket: aws.String("other-bucket")})
	u.must(err)
	u.createStream("other", otherDestination())
	u.goes["other"] = nil // its records are not the producers'
	stop := u.produce()
	u.awaitDeliveries()

	u.replaceBoth("ingest")
	u.awaitRefusal("buffer", "delivery stream plain, leg s3, shard 0: ", "format 2, known up to 1")
	u.createStream("late", destination("late/", 1, 1, types.CompressionFormatUncompressed))
	for _, kind := range []string{"buffer", "s3sink", "es", "redshift"} {
		u.awaitRefusal(kind, "delivery stream late: ", "format 5, known up to 4")
	}
	u.toldByStatus("plain", "format 2, known up to 1")
	_, err = u.js.Publish(u.t.Context(), names.RecordsSubject("other", 0), []byte("goes on"))
	u.must(err)
	deploy.Eventually(u.t, "a delivery stream that nothing newer is of goes on", func() bool { return u.objectsOf("other-bucket") > 0 })

	u.replaceBoth("buffer")
	u.awaitRefusal("s3sink", "batches of delivery stream plain, leg s3: ", "format 2, known up to 1")
	u.awaitRefusal("es", "batches of delivery stream documents, leg es: ", "format 2, known up to 1")
	stop()

	u.replaceBoth("s3sink")
	u.awaitRefusal("redshift", "staged objects of delivery stream rows: ", "format 2, known up to 1")
	u.replaceBoth("es")
	u.replaceBoth("redshift")
	u.drain(drainTime)
	u.verdict()
	u.wasNewer()
}

// upgrade is an installation whose replicas are replaced, and the producers that put to it meanwhile.
type upgrade struct {
	*rig
	next      deploy.Programs
	apis      map[string]string // of the ingest replicas, by name
	documents map[string]checker.Search
	rows      map[string]checker.Warehouse
}

// hurried is that a batch which is refused is looked at again at once.
const hurried = "HYDRANT_RETRY_MAX=1s"

func newUpgrade(t *testing.T, node *esnode.Node, indices string) *upgrade {
	built, err := next()
	if err != nil {
		t.Fatal(err)
	}
	database := pgtest.Start(t)
	u := &upgrade{rig: newRig(t, 1, programs, hurried), next: built, apis: map[string]string{}}
	u.addSearch(node, indices, replicas, []string{hurried})
	u.addWarehouse(database, replicas, []string{hurried})
	u.awaitReady()
	for n, address := range u.backends {
		u.apis[fmt.Sprintf("ingest-%d", n+1)] = address
	}
	u.createStream("plain", destination("", 1, 1, types.CompressionFormatUncompressed))
	u.createStream("packed", withBackup(destination("packed/", 1, 1, types.CompressionFormatGzip)))
	u.documents = map[string]checker.Search{
		"documents": u.createSearch("documents", searching{Search: checker.Search{Rotation: checker.NoRotation}, interval: 1, retries: hour}),
	}
	u.shapes["documents"] = shape{documents: true} // all of them such as the node takes
	u.rows = map[string]checker.Warehouse{"rows": u.createRedshift("rows", loading{
		Warehouse: checker.Warehouse{Form: checker.Document}, standIn: attentive, options: "JSON 'auto'", interval: 1, retries: hour,
	})}
	return u
}

func otherDestination() *types.ExtendedS3DestinationConfiguration {
	to := destination("", 1, 0, types.CompressionFormatUncompressed)
	to.BucketARN = aws.String("arn:aws:s3:::other-bucket")
	return to
}

// produce puts to all delivery streams until it is told to stop. No call may fail after the SDK's own retries.
func (u *upgrade) produce() (stop func()) {
	ctx, cancel := context.WithCancel(u.t.Context())
	var running sync.WaitGroup
	var all []*producer.Producer
	for i, stream := range []string{"plain", "packed", "documents", "rows"} {
		p := u.producer(stream, "p0", rand.New(rand.NewPCG(1, uint64(i))), 200)
		all = append(all, p)
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				u.t.Errorf("producer of %s: %v", stream, err)
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
		for _, p := range all {
			if s := p.Stats(); s.Refused > 0 || s.Unknown > 0 || s.Acknowledged == 0 {
				u.t.Errorf("calls failed, or none was made: %+v", s)
			}
		}
	}
}

// replace starts a replica of the next version beside the one of this version, and has that end as a user would. The front knows
// both before the older ends, as one does that follows the addresses of a service.
func (u *upgrade) replace(kind string, n int) {
	u.t.Helper()
	name := fmt.Sprintf("%s-%d", kind, n)
	u.startNext(kind, name, n)
	u.awaitReadiness(name + "-next")
	if kind == "ingest" {
		u.front()
	}
	u.end(name)
	if kind == "ingest" {
		delete(u.apis, name)
		u.front()
	}
}

func (u *upgrade) awaitReadiness(name string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	u.must(u.parts[name].WaitReady(ctx, u.parts[name].ready))
}

// end has a replica end as its user would.
func (u *upgrade) end(name string) {
	u.t.Helper()
	ending, ok := u.parts[name].process.(*proc.Process)
	if !ok {
		u.t.Fatalf("%s is no process", name)
	}
	u.must(ending.Terminate(time.Minute))
	delete(u.parts, name)
}

func (u *upgrade) replaceBoth(kind string) {
	u.t.Helper()
	for n := range replicas {
		u.replace(kind, n+1)
	}
}

func (u *upgrade) startNext(kind, name string, n int) {
	settings := []string{hurried}
	switch kind {
	case "ingest":
		u.startIngest(name)
	case "s3sink":
		u.startSink(kind, name+"-next", u.next, uint64(n), settings)
	case "es":
		u.startSearchSink(name+"-next", u.next, n, settings)
	case "redshift":
		u.startLoader(name+"-next", u.next, n, settings)
	default:
		admin := u.addr()
		u.start(kind, name+"-next", u.next.Path("hydrant-"+kind), admin+"/readyz", u.env, "--admin-addr", admin)
	}
}

func (u *upgrade) startIngest(name string) {
	api, admin := u.addr(), u.addr()
	u.start("ingest", name+"-next", u.next.Path("hydrant-ingest"), admin+"/readyz", u.env, "--listen", api, "--admin-addr", admin)
	u.apis[name+"-next"] = api
}

// front gives the replicas that there are to the proxy in front of them.
func (u *upgrade) front() {
	var backends []string
	for _, address := range u.apis {
		backends = append(backends, address)
	}
	u.api.SetBackends(backends...)
}
