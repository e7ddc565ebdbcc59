package natstest_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/natstest"
)

// What a cluster acknowledged is there when the server that led is gone, and the server has it all when it is back.
func TestClusterOutlivesItsLeader(t *testing.T) {
	c := natstest.StartCluster(t, 3)
	js := c.JetStream()
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept"}, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "kept", []byte("here")); err != nil {
		t.Fatal(err)
	}
	leader := c.Named(stream.CachedInfo().Cluster.Leader)
	leader.Stop()
	c.WaitReady()
	natstest.WaitFor(t, "the others go on", func() bool {
		_, err := js.Publish(t.Context(), "kept", nil)
		return err == nil
	})
	leader.Restart()
	natstest.WaitFor(t, "all are current", func() bool {
		info, err := stream.Info(t.Context())
		if err != nil || info.Cluster.Leader == "" || info.State.Msgs < 2 {
			return false
		}
		for _, peer := range info.Cluster.Replicas {
			if !peer.Current {
				return false
			}
		}
		return len(info.Cluster.Replicas) == 2
	})
}
