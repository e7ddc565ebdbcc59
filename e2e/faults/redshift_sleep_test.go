package faults

import (
	"math/rand/v2"
	"slices"
	"testing"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/faultproxy"
)

// loaderSleepPoints are where a loader is that goes to sleep with objects: before and after it asks the database to load them, before
// and after it writes the manifest of those that it gives up, and when only JetStream does not know yet.
func loaderSleepPoints() []string {
	return []string{"redshift.before-copy", "redshift.after-copy", "redshift.before-ack", "redshift.before-error-manifest", "redshift.error-manifest"}
}

// loaderSleepSettings have a loader send what it was about to send before it slept: it has more patience than the sleep is long. Who
// falls asleep has the turn of several delivery streams, so that the next point is come past no sooner than an ack wait later.
func loaderSleepSettings() []string {
	return []string{"HYDRANT_ACK_WAIT=10s", "HYDRANT_COPY_TIMEOUT=5m", "HYDRANT_S3_TIMEOUT=3m", "HYDRANT_LOG_LEVEL=debug"}
}

// TestRedshiftWakesAfterAMinute stops a loader at each of the points, and a sink that has announced what it staged, has others do
// what they had in hand, and wakes them. What each then does in good faith changes nothing.
func TestRedshiftWakesAfterAMinute(t *testing.T) {
	if !*minute {
		t.Skip("takes two minutes: make sleep runs it")
	}
	t.Parallel()
	rng := rand.New(rand.NewPCG(*seed, 8))
	points := loaderSleepPoints()
	r := newRedshiftRig(t, len(points)+1, loaderSleepSettings()...)
	streams := r.createLoads()
	stop := r.produce(t, rng, map[string]float64{"plain": 50, "packed": 50, "fields": 20, "short": 50, "fleeting": 20})
	points = append(points, "sink.announced")
	sleeping := r.loadersAsleep(t, points)
	wait(t.Context(), asleep)
	stop()

	r.drainWithout(t, sleeping)
	before := r.everything(t, streams)
	late := r.awaitCopy(sleeping[0])
	for n, p := range sleeping {
		p.wakeAndFinish(t, points[n])
	}
	deploy.Eventually(t, "the database answers the COPY that "+sleeping[0].Name()+" had made before it slept", late)
	r.awaitReady()
	r.drain(drainTime)
	if after := r.everything(t, streams); after != before {
		t.Errorf("there are %d rows and error manifests, and were %d before they woke", after, before)
	}
	r.checkRows(t, streams)
	r.conclude(t)
}

// loadersAsleep has one process after the other fall asleep, each at the next point. Of the loaders only who has the turn of a
// delivery stream comes past one, so that all that are awake are armed.
func (r *rig) loadersAsleep(t *testing.T, points []string) (sleeping []*part) {
	t.Helper()
	for _, point := range points {
		armed := r.ofKind("redshift")
		if point == "sink.announced" {
			armed = r.ofKind("s3sink")[:1]
		}
		armed = slices.DeleteFunc(armed, (*part).asleep)
		fallen := r.fallAsleep(t, point, armed...)
		sleeping = append(sleeping, fallen[0])
		for _, other := range fallen[1:] {
			other.wake(t)
		}
	}
	return sleeping
}

// everything counts rows and error manifests.
func (r *rig) everything(t *testing.T, streams map[string]checker.Warehouse) int {
	t.Helper()
	n := len(r.objects(t, manifestPrefix)) + len(r.objects(t, skippedPrefix))
	for _, err := range r.rows(t.Context(), streams) {
		r.must(err)
		n++
	}
	return n
}

// awaitCopy tells whether the database has answered a COPY of the loader since awaitCopy was called.
func (r *rig) awaitCopy(p *part) func() bool {
	answered := make(chan struct{}, 1)
	r.onCopy(func(phase faultproxy.Phase, kind faultproxy.Kind, client string) {
		if phase == faultproxy.BeforeAnswer && kind == faultproxy.Copy && r.loaderAt(client) == p {
			select {
			case answered <- struct{}{}:
			default:
			}
		}
	})
	return func() bool { return len(answered) > 0 }
}
