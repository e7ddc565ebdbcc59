package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/esnode"
	"hydrant/e2e/internal/producer"
	"hydrant/shared/names"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
	"hydrant/shared/record"
)

// next builds the programs of a version to come, once, and where they are wanted.
var next = sync.OnceValues(func() (deploy.Programs, error) { //nolint:gochecknoglobals // as the programs of this version
	dir := programs.Path("next")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return deploy.Programs{}, err
	}
	return deploy.BuildNext(context.Background(), dir)
})

// TestUpgrade replaces every replica of an installation, one at a time and under load, by one of a version that writes all
// formats anew, in the documented order: readers before writers.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	stop := u.produce()
	for _, kind := range []string{"redshift", "es", "s3sink", "buffer", "ingest"} {
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

// TestUpgradeInTheWrongOrder has a version that is not upgraded meet what a newer one wrote: it leaves that alone and says so,
// goes on with the rest, and everything is delivered, once, when it is upgraded too.
func TestUpgradeInTheWrongOrder(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	_, err := u.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("other-bucket")})
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
	_, err = u.js.Publish(t.Context(), names.RecordsSubject("other", 0), []byte("goes on"))
	u.must(err)
	deploy.Eventually(t, "a delivery stream that nothing newer is of goes on", func() bool { return u.objectsOf("other-bucket") > 0 })

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

func newUpgrade(t *testing.T) *upgrade {
	built, err := next()
	if err != nil {
		t.Fatal(err)
	}
	node, database := esnode.Start(t, esnode.Elasticsearch9, esnode.Options{}), pgtest.Start(t)
	u := &upgrade{rig: newRig(t, 1, programs, hurried), next: built, apis: map[string]string{}}
	u.addSearch(node, replicas, []string{hurried})
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
	newer := u.parts[name+"-next"]
	ctx, cancel := context.WithTimeout(u.t.Context(), time.Minute)
	defer cancel()
	u.must(newer.WaitReady(ctx, newer.ready))
	if kind == "ingest" {
		u.front()
	}
	older, ok := u.parts[name].process.(*proc.Process)
	if !ok {
		u.t.Fatalf("%s is no process", name)
	}
	u.must(older.Terminate(15 * time.Second))
	if kind == "ingest" {
		delete(u.apis, name)
		u.front()
	}
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

// awaitDeliveries waits until each kind of destination has been delivered to again.
func (u *upgrade) awaitDeliveries() {
	u.t.Helper()
	before := u.deliveries()
	deploy.Eventually(u.t, "deliveries go on", func() bool {
		now := u.deliveries()
		for _, subject := range u.watched() {
			if now[subject] == before[subject] {
				return false
			}
		}
		return true
	})
}

// watched are where the deliveries to each kind of destination are told.
func (u *upgrade) watched() []string {
	return []string{
		names.DeliveriesSubject(names.LegS3, "plain"), names.DeliveriesSubject(names.LegES, "documents"), names.DeliveriesSubject(names.LegRedshift, "rows"),
	}
}

// deliveries counts them by their subjects.
func (u *upgrade) deliveries() map[string]uint64 {
	u.t.Helper()
	s, err := u.js.Stream(u.t.Context(), names.DeliveriesStream)
	u.must(err)
	info, err := s.Info(u.t.Context(), jetstream.WithSubjectFilter("deliveries.>"))
	u.must(err)
	return info.State.Subjects
}

// awaitRefusal waits until a replica says that it is ready, and leaves something alone for the reason that has these words.
func (u *upgrade) awaitRefusal(kind, thing, reason string) {
	u.t.Helper()
	deploy.Eventually(u.t, kind+" leaves alone "+thing, func() bool {
		for name, p := range u.parts {
			if !strings.HasPrefix(name, kind+"-") {
				continue
			}
			for line := range strings.Lines(u.readyz(p)) {
				if strings.HasPrefix(line, "left alone: "+thing) && strings.Contains(line, "newer version") && strings.Contains(line, reason) {
					return true
				}
			}
		}
		return false
	})
}

// leavesAlone fails if the part leaves anything alone.
func (u *upgrade) leavesAlone(p *part) {
	u.t.Helper()
	if answer := u.readyz(p); answer != "ready\n" {
		u.t.Errorf("%s says %q", p.Name(), answer)
	}
}

func (u *upgrade) readyz(p *part) string {
	u.t.Helper()
	request, err := http.NewRequestWithContext(u.t.Context(), http.MethodGet, p.ready, nil)
	u.must(err)
	answer, err := http.DefaultClient.Do(request)
	u.must(err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	u.must(err)
	if answer.StatusCode != http.StatusOK {
		u.t.Logf("%s is not ready: %s", p.Name(), body)
	}
	return string(body)
}

// toldByStatus looks at the installation with the tools of this version.
func (u *upgrade) toldByStatus(stream, words string) {
	u.t.Helper()
	deploy.Eventually(u.t, "hydrant status tells why "+stream+" waits", func() bool {
		status := exec.CommandContext(u.t.Context(), programs.Path("hydrant"), "status", stream) //nolint:gosec // our own program
		status.Env = append(os.Environ(), u.env...)
		out, err := status.CombinedOutput()
		if err != nil {
			u.t.Logf("status: %v\n%s", err, out)
		}
		return strings.Contains(string(out), words)
	})
}

func (u *upgrade) objectsOf(of string) int {
	u.t.Helper()
	list, err := u.direct.ListObjectsV2(u.t.Context(), &s3.ListObjectsV2Input{Bucket: &of})
	if err != nil {
		return 0
	}
	return len(list.Contents)
}

// verdict counts every record in S3, in the index and in the table. Nothing may be set aside.
func (u *upgrade) verdict() {
	u.t.Helper()
	if aside := slices.Concat(u.objects(u.t, failedPrefix), u.objects(u.t, manifestPrefix)); len(aside) > 0 {
		u.t.Errorf("%d files or manifests name what was set aside", len(aside))
	}
	u.rig.verdict(u.t, checker.Options{})
	u.countDocuments(u.t, u.documents)
	u.countRows(u.t, u.rows)
}

// wasNewer makes sure that the next version wrote what this one cannot read, or nothing was tested.
func (u *upgrade) wasNewer() {
	u.t.Helper()
	for leg, stream := range map[names.Leg]names.Stream{names.LegS3: "plain", names.LegES: "documents"} {
		u.batchIsNewer(names.BatchesSubject(leg, stream, 0))
		u.recordIsNewer(names.RecordsSubject(stream, 0))
	}
	u.recordIsNewer(names.RecordsSubject("rows", 0))
	for _, subject := range u.watched() {
		u.deliveryIsNewer(subject)
	}
}

func (u *upgrade) batchIsNewer(subject string) {
	u.t.Helper()
	var d struct {
		Format       int
		RecordFormat int `json:"record_format"`
	}
	u.last(names.BatchesStream, subject, &d)
	if d.Format != 2 || d.RecordFormat != 2 {
		u.t.Errorf("the last batch at %s is %+v", subject, d)
	}
}

func (u *upgrade) deliveryIsNewer(subject string) {
	u.t.Helper()
	var d struct{ Format int }
	u.last(names.DeliveriesStream, subject, &d)
	if d.Format != 2 {
		u.t.Errorf("the last delivery at %s is %+v", subject, d)
	}
}

// last reads the last message with a subject.
func (u *upgrade) last(stream, subject string, into any) {
	u.t.Helper()
	s, err := u.js.Stream(u.t.Context(), stream)
	u.must(err)
	m, err := s.GetLastMsgForSubject(u.t.Context(), subject)
	u.must(err)
	u.must(json.Unmarshal(m.Data, into))
}

func (u *upgrade) recordIsNewer(subject string) {
	u.t.Helper()
	logs := u.js.ListStreams(u.t.Context(), jetstream.WithStreamListSubject(subject))
	for info := range logs.Info() {
		log, err := u.js.Stream(u.t.Context(), info.Config.Name)
		u.must(err)
		last, err := log.GetMsg(u.t.Context(), info.State.LastSeq)
		u.must(err)
		if record.CheckFormat(last.Header) == nil {
			u.t.Errorf("the last message has the headers %v", last.Header)
		}
	}
	u.must(logs.Err())
}
