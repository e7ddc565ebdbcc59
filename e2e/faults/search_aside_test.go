package faults

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
)

// TestSetAsideStaysSetAside kills each sink when it has set aside documents that the node did not take for longer than the retry
// duration, one before the outcome is written down and one before it is acknowledged. By the time that the batches are delivered
// again the node takes everything: who looked for nothing would index what is in a file.
func TestSetAsideStaysSetAside(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 6))
	r := newSearchRig(t, replicas)
	streams := map[string]checker.Search{
		"aside": r.createSearch("aside", searching{Search: checker.Search{Rotation: checker.NoRotation, MayGiveUp: true}, interval: 1, retries: 1}),
	}
	r.must(r.node.Client().Do(t.Context(), http.MethodPut, "/"+streams["aside"].Index, nil, nil))
	var stop func()
	r.blockWrites(t, func() {
		stop = r.produce(t, rng, map[string]float64{"aside": 200})
		for name, at := range map[string]string{"es-1": "es.failed-file", "es-2": "sink.before-ack"} {
			r.parts[name].arm(t, at, "kill")
		}
		for _, name := range []string{"es-1", "es-2"} {
			deploy.Eventually(t, name+" is killed with documents set aside", func() bool { return r.parts[name].ended() })
		}
	})
	left, err := checker.Objects(t.Context(), r.direct, bucket, failedPrefix)
	r.must(err)
	if len(left) < replicas {
		t.Errorf("%d files were written, and %d sinks killed that had written one", len(left), replicas)
	}
	for _, name := range []string{"es-1", "es-2"} {
		r.must(r.parts[name].Restart())
	}
	wait(t.Context(), 2*time.Second)
	stop()

	r.calm()
	r.drain(drainTime)
	r.checkDocuments(t, streams)
	r.conclude(t)
}

// ended tells whether the process is not there any more.
func (p *part) ended() bool {
	select {
	case <-p.Exited():
		return true
	default:
		return false
	}
}
