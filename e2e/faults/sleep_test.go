package faults

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/checker"
)

// asleep is longer than the ack wait by default, and than a NATS server waits for a client that says nothing. The calls that
// a sleeping ingest had taken are repeated elsewhere meanwhile.
const asleep = 65 * time.Second

// TestWakesAfterAMinute stops one replica of each service at a named point, has the other do the work and the configuration
// change, and wakes the first. What it then does in good faith is done already.
func TestWakesAfterAMinute(t *testing.T) {
	if !*minute {
		t.Skip("takes a minute and a half: make sleep runs it")
	}
	for _, test := range []struct {
		name   string
		points []string
	}{
		{"before the write", []string{"ingest.before-publish", "buffer.before-publish", "s3sink.before-complete"}},
		{"before the answer", []string{"ingest.published", "buffer.published", "s3sink.uploaded"}},
		{"before the outcome", []string{"sink.delivered"}},
		{"before the acknowledgement", []string{"sink.before-ack"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(*seed, 2))
			r := newRig(t, *seed, programs, "HYDRANT_ACK_WAIT=30s")
			r.createStream("steady", withBackup(destination("", 1, 1, types.CompressionFormatGzip)))
			r.createStream("changing", withBackup(destination("a/", 1, 1, types.CompressionFormatSnappy)))
			stop := r.produce(t, rng, map[string]float64{"steady": 50, "changing": 50})

			// The sink first: should both buffers fall asleep, it gets nothing more to do.
			var awake sync.WaitGroup
			for _, point := range slices.Backward(test.points) {
				sleeping := r.fallAsleep(t, point, r.passing(point)...)
				awake.Go(func() {
					wait(t.Context(), asleep)
					for _, p := range sleeping {
						p.wake(t)
					}
				})
			}
			r.reconfigure(t, rng.Uint64())
			awake.Wait()
			stop()
			r.api.SetAll(false)
			r.awaitReady()
			r.drain(drainTime)
			r.verdict(t, checker.Options{})
		})
	}
}

// passing are the processes of which one comes past a point: the first replica, or of the buffer, where the membership decides
// which one has work, either.
func (r *rig) passing(point string) []*part {
	switch service, _, _ := strings.Cut(point, "."); service {
	case "sink":
		return []*part{r.parts["s3sink-1"]}
	case "buffer":
		return []*part{r.parts["buffer-1"], r.parts["buffer-2"]}
	default:
		return []*part{r.parts[service+"-1"]}
	}
}

// fallAsleep arms a point of the processes and returns those that have stopped themselves there: the first that came past,
// rarely more.
func (r *rig) fallAsleep(t *testing.T, point string, armed ...*part) []*part {
	sleeping := r.stopAt(t, time.Minute, point, armed...)
	if len(sleeping) == 0 {
		t.Fatalf("no process stopped within a minute at %s", point)
	}
	for _, p := range sleeping {
		t.Logf("%s sleeps at %s", p.Name(), point)
	}
	return sleeping
}

// asleep asks the kernel, which knows better than who sent the signal.
func (p *part) asleep() bool { paused, err := p.Paused(); return paused && err == nil }

// wake lets a process go on that has slept all the time.
func (p *part) wake(t *testing.T) {
	if !p.asleep() {
		t.Errorf("%s was not asleep until now", p.Name())
	}
	if err := p.Resume(); err != nil {
		t.Error(err)
	}
}
