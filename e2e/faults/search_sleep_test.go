package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/faultproxy"
)

// sleepPoints are where a sink is that goes to sleep with a batch: before and after it asks the node to index documents, before
// and after it writes the file of those that failed, and when only JetStream does not know yet.
func sleepPoints() []string {
	return []string{"es.before-bulk", "es.after-bulk", "es.before-failed-file", "es.failed-file", "sink.before-ack"}
}

// sleepSettings have a sink send what it was about to send before it slept: it has more patience than the sleep is long, and a
// batch is one request, before which it has asked already whether the batch is still its own. With debug messages its log says
// what became of each attempt.
func sleepSettings() []string {
	return []string{
		"HYDRANT_ACK_WAIT=30s", "HYDRANT_ES_TIMEOUT=3m", "HYDRANT_S3_TIMEOUT=3m", "HYDRANT_BULK_RECORDS=10000",
		"HYDRANT_BULK_SIZE=10485760", "HYDRANT_LOG_LEVEL=debug",
	}
}

// TestSearchWakesAfterAMinute stops a sink at each of the points, has another deliver what they held, and wakes them. What each
// then does in good faith changes nothing: every record is in the index once, or in one file.
func TestSearchWakesAfterAMinute(t *testing.T) {
	if !*minute {
		t.Skip("takes two minutes: make sleep runs it")
	}
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 5))
	points := sleepPoints()
	r := newSearchRig(t, len(points)+1, sleepSettings()...)
	streams := map[string]checker.Search{
		"steady":   r.createSearch("steady", searching{Search: checker.Search{Rotation: checker.OneHour}, interval: 1, retries: hour}),
		"changing": r.createSearch("changing", searching{Search: checker.Search{Rotation: checker.NoRotation}, interval: 1, retries: hour}),
	}
	stop := r.produce(t, rng, map[string]float64{"steady": 150, "changing": 150})
	sleeping := r.sleepAtEach(t, points)
	r.moveFailedFiles(t, "changing")
	wait(t.Context(), asleep)
	stop()

	r.drainWithout(t, sleeping)
	before := r.count(t)
	late := r.awaitBulk(sleeping[0])
	for n, p := range sleeping {
		p.wakeAndFinish(t, points[n])
	}
	deploy.Eventually(t, "the node answers the bulk request that "+sleeping[0].Name()+" made before it slept", late)
	r.awaitReady()
	r.drain(drainTime)
	if after := r.count(t); after != before {
		t.Errorf("there are %d documents, and were %d before the sinks woke", after, before)
	}
	r.checkDocuments(t, streams)
	r.conclude(t)
}

// sleepAtEach stops a sink of its own at each point. The last sink stays awake.
func (r *rig) sleepAtEach(t *testing.T, points []string) []*part {
	sleeping := make([]*part, len(points))
	var fallen sync.WaitGroup
	for n, point := range points {
		fallen.Go(func() {
			sleeping[n] = r.parts[fmt.Sprintf("es-%d", n+1)]
			r.fallAsleep(t, point, sleeping[n])
		})
	}
	fallen.Wait()
	return sleeping
}

// moveFailedFiles has the files of failed documents be written under another name from now on: those that were written, or are
// about to be, are to be found under the old one.
func (r *rig) moveFailedFiles(t *testing.T, stream string) {
	t.Helper()
	deploy.Eventually(t, "the configuration is changed", func() bool {
		_, err := r.client.UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
			DeliveryStreamName: &stream, CurrentDeliveryStreamVersionId: aws.String("1"), DestinationId: aws.String("destinationId-000000000001"),
			AmazonopensearchserviceDestinationUpdate: &types.AmazonopensearchserviceDestinationUpdate{
				S3Update: &types.S3DestinationUpdate{ErrorOutputPrefix: aws.String(failedPrefix + "moved/!{firehose:error-output-type}/")},
			},
		})
		return err == nil
	})
}

// drainWithout has what the sleeping sinks held delivered by others, while they sleep.
func (r *rig) drainWithout(t *testing.T, sleeping []*part) {
	t.Helper()
	r.drain(drainTime)
	for _, p := range sleeping {
		if !p.asleep() {
			t.Errorf("%s was not asleep while its batch was taken over", p.Name())
		}
	}
}

func (r *rig) count(t *testing.T) int {
	t.Helper()
	n, err := r.node.Client().Count(t.Context(), r.indices+"*")
	r.must(err)
	return n
}

// awaitBulk tells whether the node has answered a bulk request of the sink since awaitBulk was called.
func (r *rig) awaitBulk(p *part) func() bool {
	answered := make(chan struct{})
	var once sync.Once
	r.search[p.Name()].OnRequest(func(phase faultproxy.Phase, kind faultproxy.Kind, _ string) {
		if phase == faultproxy.BeforeAnswer && kind == faultproxy.Bulk {
			once.Do(func() { close(answered) })
		}
	})
	return func() bool {
		select {
		case <-answered:
			return true
		default:
			return false
		}
	}
}

// wakeAndFinish wakes a sink and returns when it is through with the batch that it slept with: it gave up, since the batch may be
// another's, or believes to have delivered it, or could not say so.
func (p *part) wakeAndFinish(t *testing.T, point string) {
	t.Helper()
	slept := len(p.LogTail(wholeLog))
	p.wake(t)
	deploy.Eventually(t, p.Name()+" is through with its batch", func() bool {
		for line := range strings.Lines(p.LogTail(wholeLog)[slept:]) {
			_, message, _ := strings.Cut(line, "msg=")
			if through(message) {
				t.Logf("%s woke at %s: %s", p.Name(), point, message)
				return true
			}
		}
		return false
	})
}

// through tells whether a line of a sink's log, or a loader's, is the last of an attempt.
func through(message string) bool {
	for _, end := range []string{
		"attempt given up", "batch delivered", "batch set_aside", "batch handed back", "delivery failed",
		"objects loaded", "objects not loaded", "objects set aside", "objects handed back", "acknowledgement not confirmed",
	} {
		if strings.HasPrefix(message, `"`+end) {
			return true
		}
	}
	return false
}

// wholeLog is more than any log has.
const wholeLog = 64 << 20
