package natstest

import (
	"testing"
	"time"
)

// KeptUp runs a test of what has to be done again and again in time, such as telling JetStream that work goes on. It begins with a
// second for that, and where test says that it was not kept up with on a machine as busy as this, has it run again with twice the time:
// what comes of being late is not what is tested.
func KeptUp(t *testing.T, test func(t *testing.T, within time.Duration) bool) {
	t.Helper()
	for within := time.Second; within <= 16*time.Second; within *= 2 {
		kept := false
		t.Run("within "+within.String(), func(t *testing.T) { kept = test(t, within) })
		if kept || t.Failed() {
			return
		}
		t.Logf("not kept up with, within %s", within)
	}
	t.Error("it is never kept up with")
}
