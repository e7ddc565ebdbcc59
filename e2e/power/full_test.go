//go:build linux

package power

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/deploy"
)

// TestFullDisk has a disk that is full though the store has not reached its limit, which is set above what the disk has. Clients give up
// sooner than Hydrant answers and try again, so that they ask for what was stored in part. Then the power is cut, or Hydrant is ended.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		room int64 // that another file leaves
		cut  bool
	}{
		{"by what is stored", 2 << 20, false},
		{"by another file, and without power", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, deploy.OneProgram, deploy.Options{StoreBytes: 4 << 30}, 320, "nats")
			stop := r.produce(2 * time.Second)
			deploy.Eventually(t, "records are acknowledged", func() bool { return r.ledger.Counts().Acknowledged > 300 })
			empty := r.disks["nats"].Fill(c.room)
			r.refuses()
			if c.cut {
				r.moment(6 * time.Second)
				r.powerOff([]string{"nats"}, "hydrant")
				empty()
				must(t, r.Part("hydrant").Restart())
				r.WaitReady()
				stop()
			} else {
				stop()
				empty()
				r.Restart()
			}
			must(t, r.probe())
			must(t, r.report().Err())
		})
	}
}

// refuses waits until puts are refused as full, and looks for what an operator is told.
func (r *rig) refuses() {
	r.t.Helper()
	deploy.Eventually(r.t, "puts are refused because NATS could not write", func() bool {
		err := r.probe()
		var unavailable *types.ServiceUnavailableException
		if err != nil && !errors.As(err, &unavailable) {
			r.t.Fatalf("a put is refused with %v", err)
		}
		return err != nil && strings.Contains(err.Error(), "could not write")
	})
	if metrics := r.Get("/metrics"); !strings.Contains(metrics, "hydrant_ingest_store_refusing 1") {
		r.t.Error("the metrics do not say that records are refused")
	}
	if log := r.Part("hydrant").LogTail(1 << 20); !strings.Contains(log, "no space left on device") || !strings.Contains(log, "make room, and start it anew") {
		r.t.Error("the log does not say why, and what to do")
	}
}
