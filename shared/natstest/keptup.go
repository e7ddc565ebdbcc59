package natstest

import (
	"testing"
	"time"
)

// KeptUp runs a test of who keeps something in hand by telling JetStream of it in time. Where that was kept, test says true. Where it
// was lost, on a machine too busy to tell, there was nothing to be seen, and test runs again with a longer ack wait.
func KeptUp(t *testing.T, test func(t *testing.T, ackWait time.Duration) (kept bool)) {
	t.Helper()
	for ackWait := time.Second; ackWait <= 16*time.Second; ackWait *= 2 {
		kept := false
		t.Run("ack wait "+ackWait.String(), func(t *testing.T) { kept = test(t, ackWait) })
		if kept || t.Failed() {
			return
		}
		t.Logf("not kept with an ack wait of %s", ackWait)
	}
	t.Error("it is never kept")
}
