//go:build faults

package s3sink

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/prometheus/client_golang/prometheus"

	"hydrant/shared/names"
	"hydrant/shared/service"
)

// What makes the test binary a process that runs the service.
const (
	sinkNATS = "S3SINK_TEST_NATS"
	sinkS3   = "S3SINK_TEST_S3"
)

// TestSinkProcess is the service in a process of its own, and nothing where nobody asked for it.
func TestSinkProcess(t *testing.T) {
	natsURL, s3URL := os.Getenv(sinkNATS), os.Getenv(sinkS3)
	if natsURL == "" {
		t.Skip("it is run by TestKilledWhileAnnouncing")
	}
	cfg := rigConfig(natsURL, s3URL)
	ownParts(&cfg)
	s, err := New(cfg, service.Runtime{Log: testLog(t), Metrics: prometheus.NewRegistry()})
	check(t, err)
	_ = s.Run(context.Background()) // until it is killed
}

// TestKilledWhileAnnouncing kills the sink at each step around the announcement. Every object is announced, under its batch's id
// however often, and a batch is acknowledged after that only.
func TestKilledWhileAnnouncing(t *testing.T) {
	t.Parallel()
	for point, again := range map[string]bool{ // whether the announcement had been made
		"sink.delivered": false, "sink.announced": true, "sink.before-ack": true,
	} {
		t.Run(point, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo", toRedshift(types.CompressionFormatUncompressed))
			s.fill(1000)
			d := s.hand(s.batch())
			r.runKilledAt(point)
			want := 0
			if again {
				want = 1
			}
			wantEqual(t, "the announcements before the kill", len(r.staged()), want)
			c, err := r.js.Consumer(t.Context(), names.BatchesStream, names.SinkConsumer(names.LegS3, s.doc.Name, s.doc.ID))
			check(t, err)
			wantEqual(t, "the batches that are not acknowledged", c.CachedInfo().NumAckPending, 1)

			r.start()
			s.delivered(d)
			wantEqual(t, "the announcements", r.wantStagedObjects("data"), want+1)
			r.wantOne("data")
		})
	}
}

// runKilledAt runs a process of the service until it has been killed at that point.
func (r *rig) runKilledAt(point string) {
	r.t.Helper()
	armed := filepath.Join(r.t.TempDir(), "fault")
	check(r.t, os.WriteFile(armed, []byte(point+" kill"), 0o600))
	sink := exec.CommandContext(r.t.Context(), os.Args[0], "-test.run=^TestSinkProcess$")
	sink.Env = append(os.Environ(), "HYDRANT_FAULTPOINT="+armed, sinkNATS+"="+r.nats.URL(), sinkS3+"="+r.s3.URL())
	out := new(strings.Builder)
	sink.Stdout, sink.Stderr = out, out
	err := sink.Run()
	status, _ := sink.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		r.t.Fatalf("the sink ended with %v:\n%s", err, out)
	}
}
