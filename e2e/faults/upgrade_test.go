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
	"hydrant/e2e/internal/producer"
	"hydrant/shared/names"
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
	for _, kind := range []string{"s3sink", "buffer", "ingest"} {
		for n := range replicas {
			u.replace(kind, n+1)
			u.awaitDeliveries(4)
		}
	}
	stop()
	u.drain(drainTime)
	u.verdict(t, checker.Options{})
	u.wasNewer("plain")
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
	u.awaitDeliveries(4)

	u.replace("ingest", 1)
	u.replace("ingest", 2)
	u.awaitRefusal("buffer", "delivery stream plain, leg s3, shard 0: ", "format 2, known up to 1")
	u.createStream("late", destination("late/", 1, 1, types.CompressionFormatUncompressed))
	u.awaitRefusal("buffer", "delivery stream late: ", "format 5, known up to 4")
	u.awaitRefusal("s3sink", "delivery stream late: ", "format 5, known up to 4")
	u.toldByStatus("plain", "format 2, known up to 1")
	_, err = u.js.Publish(t.Context(), names.RecordsSubject("other", 0), []byte("goes on"))
	u.must(err)
	deploy.Eventually(t, "a delivery stream that nothing newer is of goes on", func() bool { return u.objectsOf("other-bucket") > 0 })

	u.replace("buffer", 1)
	u.replace("buffer", 2)
	u.awaitRefusal("s3sink", "batches of delivery stream plain, leg s3: ", "format 2, known up to 1")
	stop()

	u.replace("s3sink", 1)
	u.replace("s3sink", 2)
	u.drain(drainTime)
	u.verdict(t, checker.Options{})
	u.wasNewer("plain")
}

// upgrade is an installation whose replicas are replaced, and the producers that put to it meanwhile.
type upgrade struct {
	*rig
	next deploy.Programs
	apis map[string]string // of the ingest replicas, by name
}

func newUpgrade(t *testing.T) *upgrade {
	built, err := next()
	if err != nil {
		t.Fatal(err)
	}
	u := &upgrade{rig: newRig(t, 1, programs, "HYDRANT_RETRY_MAX=1s"), next: built, apis: map[string]string{}}
	for n, address := range u.backends {
		u.apis[fmt.Sprintf("ingest-%d", n+1)] = address
	}
	u.createStream("plain", destination("", 1, 1, types.CompressionFormatUncompressed))
	u.createStream("packed", withBackup(destination("packed/", 1, 1, types.CompressionFormatGzip)))
	return u
}

func otherDestination() *types.ExtendedS3DestinationConfiguration {
	to := destination("", 1, 0, types.CompressionFormatUncompressed)
	to.BucketARN = aws.String("arn:aws:s3:::other-bucket")
	return to
}

// produce puts to both delivery streams until it is told to stop. No call may fail after the SDK's own retries.
func (u *upgrade) produce() (stop func()) {
	ctx, cancel := context.WithCancel(u.t.Context())
	var running sync.WaitGroup
	var all []*producer.Producer
	for i, stream := range []string{"plain", "packed"} {
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
	switch kind {
	case "ingest":
		u.startIngest(name)
	case "s3sink":
		u.startSink(kind, name+"-next", u.next, uint64(n), []string{"HYDRANT_RETRY_MAX=1s"})
	default:
		admin := u.addr()
		u.start(kind, name+"-next", u.next.Path("hydrant-"+kind), admin+"/readyz", u.env, "--admin-addr", admin)
	}
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

// awaitDeliveries waits until so many batches more are delivered.
func (u *upgrade) awaitDeliveries(more uint64) {
	u.t.Helper()
	before := u.deliveries()
	deploy.Eventually(u.t, "deliveries go on", func() bool { return u.deliveries() >= before+more })
}

func (u *upgrade) deliveries() uint64 {
	u.t.Helper()
	s, err := u.js.Stream(u.t.Context(), names.DeliveriesStream)
	u.must(err)
	return s.CachedInfo().State.LastSeq
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

// wasNewer makes sure that the next version wrote what this one cannot read, or nothing was tested.
func (u *upgrade) wasNewer(stream names.Stream) {
	u.t.Helper()
	batches, err := u.js.Stream(u.t.Context(), names.BatchesStream)
	u.must(err)
	m, err := batches.GetLastMsgForSubject(u.t.Context(), names.BatchesSubject(names.LegS3, stream, 0))
	u.must(err)
	var d struct {
		Format       int
		RecordFormat int `json:"record_format"`
	}
	u.must(json.Unmarshal(m.Data, &d))
	if d.Format != 2 || d.RecordFormat != 2 {
		u.t.Errorf("the last batch is %s", m.Data)
	}
	logs := u.js.ListStreams(u.t.Context(), jetstream.WithStreamListSubject(names.RecordsSubject(stream, 0)))
	for info := range logs.Info() {
		log, err := u.js.Stream(u.t.Context(), info.Config.Name)
		u.must(err)
		last, err := log.GetMsg(u.t.Context(), info.State.LastSeq)
		u.must(err)
		if record.CheckFormat(last.Header) == nil {
			u.t.Errorf("the last message has the headers %v", last.Header)
		}
	}
}
