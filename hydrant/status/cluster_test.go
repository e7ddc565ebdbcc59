package status

import (
	"strings"
	"testing"
	"time"

	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
)

// A log that no server leads, as in an election, is not said to be missing, nor to be empty.
func TestCollectWithoutALeader(t *testing.T) {
	cluster := natstest.StartCluster(t, 3)
	in := &installation{t: t, js: cluster.JetStream(), cfg: broker.Config{NATSURL: cluster.URL(), Replicas: 3, Retention: 24 * time.Hour}}
	in.prepare()
	d := in.stream("demo", id("d"), 1) // its log has one replica
	in.put(d, 0, 10)
	log, err := in.js.Stream(t.Context(), names.Log{Stream: d.Name, ID: d.ID}.JetStream())
	in.must(err)
	cluster.Named(log.CachedInfo().Cluster.Leader).Stop()
	natstest.WaitFor(t, "the others answer", func() bool {
		legs, err := Collect(t.Context(), in.js, Options{})
		if err != nil || len(legs) != 1 {
			return false
		}
		if legs[0].Buffered.Records == 0 && !strings.Contains(legs[0].Problem, "the record log of shard 0 does not answer, and what is buffered there is not counted") {
			t.Errorf("buffered are %+v, problem %q", legs[0].Buffered, legs[0].Problem)
		}
		return true
	})
}
