package power

import (
	"fmt"
	"testing"
	"time"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
)

// TestUnsynced cuts the power of a NATS server that syncs as JetStream does by default, and of one as Hydrant asks for, in the same way:
// of the first what was put since the disk was last synced is lost, although it was acknowledged, and the checker says so. Nothing is
// delivered before the cut.
func TestUnsynced(t *testing.T) {
	for name, unsynced := range map[string]bool{"default sync_interval": true, "always": false} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]string{"HYDRANT_ALLOW_UNSYNCED": fmt.Sprint(unsynced)}
			r := newRig(t, deploy.Processes, deploy.Options{StoreBytes: 300 << 20, Unsynced: unsynced, Settings: settings}, 512, "nats")
			start := r.Stop("buffer")
			r.disks["nats"].Sync()
			stop := r.produce(15 * time.Second)
			deploy.Eventually(t, "records are acknowledged", func() bool { return r.ledger.Counts().Acknowledged > 500 })
			stop()
			r.cut([]string{"nats"}, "nats")
			start()
			r.WaitReady()
			if lost := r.report().Count(checker.Lost); (lost > 0) != unsynced {
				t.Errorf("%d records are lost", lost)
			}
		})
	}
}

// TestEverything cuts the power of the one program that is everything, again and again, also while it starts. Delivery streams are made,
// changed and deleted meanwhile.
func TestEverything(t *testing.T) {
	r := newRig(t, deploy.OneProgram, deploy.Options{StoreBytes: 700 << 20}, 1024, "nats")
	catalog := newCatalog(r)
	stop := r.produce(15 * time.Second)
	r.cuts(func(n int) {
		halt := catalog.change()
		r.moment(2 * time.Second)
		r.cut([]string{"nats"}, "hydrant")
		if n%3 == 2 {
			r.moment(500 * time.Millisecond) // while it starts
			r.cut([]string{"nats"}, "hydrant")
		}
		halt()
		r.WaitReady()
		catalog.verify()
	})
	stop()
	must(t, r.report().Err())
	catalog.verifyLogs()
}
