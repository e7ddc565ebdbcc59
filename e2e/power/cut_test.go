//go:build linux

package power

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
)

// TestUnsynced cuts the power of a NATS server that syncs as JetStream does by default, and of one as Hydrant asks for, in the same way:
// of the first what was put since the disk was last synced is lost, although it was acknowledged, and the checker says so. Nothing is
// delivered before the cut.
func TestUnsynced(t *testing.T) {
	t.Parallel()
	for name, unsynced := range map[string]bool{"default sync_interval": true, "always": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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

// TestStartSyncs has a process killed that wrote and did not sync: what is started again syncs that before it believes it.
func TestStartSyncs(t *testing.T) {
	t.Parallel()
	r := newRig(t, deploy.OneProgram, deploy.Options{StoreBytes: 100 << 20}, 320, "nats")
	r.Part("hydrant").Kill()
	written := filepath.Join(r.disks["nats"].Dir, "written")
	must(t, os.WriteFile(written, []byte("by the one that was killed"), 0o600))
	must(t, r.Part("hydrant").Restart())
	r.WaitReady()
	r.cut([]string{"nats"}, "hydrant")
	if got, err := os.ReadFile(written); string(got) != "by the one that was killed" {
		t.Errorf("the disk has %q, %v", got, err)
	}
}

// TestEverything cuts the power of the one program that is everything, again and again, also while it starts. Delivery streams are made,
// changed and deleted meanwhile.
func TestEverything(t *testing.T) {
	t.Parallel()
	r := newRig(t, deploy.OneProgram, deploy.Options{StoreBytes: 700 << 20}, 1024, "nats")
	catalog := newCatalog(r)
	stop := r.produce(15 * time.Second)
	r.cuts(3, func(n int) {
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
