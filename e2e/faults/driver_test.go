package faults

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

// point is the action of arming a named fault point of a process: "kill at ingest.published".
const point = "kill at "

// points are the named places at which a process is killed.
func points(kinds ...string) []schedule.Action {
	all := map[string][]string{
		"ingest": {"ingest.before-publish", "ingest.published"},
		"buffer": {"buffer.before-publish", "buffer.published"},
		"s3sink": {"s3sink.before-complete", "s3sink.uploaded", "sink.delivered", "sink.before-ack"},
		// Of loaders, and of stand-ins, only those come past that have the turn: all are armed, and one goes off.
		"redshift": {"redshift.before-copy", "redshift.after-copy", "redshift.before-ack"},
		"standin":  {betweenCopyAndCommit},
		"es": {
			"es.before-bulk", "es.after-bulk", "es.before-failed-file", "es.before-complete", "es.uploaded", "es.failed-file", "sink.kept",
			"sink.delivered", "sink.before-ack",
		},
	}
	var actions []schedule.Action
	for _, kind := range kinds {
		for _, name := range all[kind] {
			actions = append(actions, killedAt(kind, name))
		}
	}
	return actions
}

// killedAt is the action of killing a process of a kind at a point.
func killedAt(kind, name string) schedule.Action {
	action := schedule.Action{Name: point + name, Reach: schedule.One, Kinds: []string{kind}, MinLength: 2 * time.Second, MaxLength: 5 * time.Second}
	if kind == "redshift" || kind == "standin" {
		action.Reach, action.MinLength, action.MaxLength = schedule.Replicas, time.Second, 3*time.Second
	}
	return action
}

// The rates at which S3 fails when nothing else is going on, and in a storm.
func ordinary() faultproxy.S3Settings {
	return faultproxy.S3Settings{InternalError: 0.02, SlowDown: 0.02, ResetBefore: 0.01, ResetAfter: 0.02, HeldAnswer: 0.005, BlackHole: 0.005, MaxHold: 10 * time.Second}
}

func storm() faultproxy.S3Settings {
	return faultproxy.S3Settings{InternalError: 0.2, SlowDown: 0.2, ResetBefore: 0.1, ResetAfter: 0.15, HeldAnswer: 0.05, BlackHole: 0.05, MaxHold: 10 * time.Second}
}

// What is counted of processes that are hurt while a bulk request of theirs is open.
const (
	killedInFlight = "killed with a bulk request open"
	pausedInFlight = "paused with a bulk request open"
)

// What is counted of all processes that the driver hurts, by their kind.
const (
	killed = "killed: "
	paused = "paused: "
)

func (r *rig) kill(p *part) {
	r.noteOpen(p, killedInFlight)
	r.went(killed + p.kind)
	p.Kill()
}

func (r *rig) pause(p *part) error {
	r.noteOpen(p, pausedInFlight)
	r.went(paused + p.kind)
	return p.Pause()
}

// noteOpen notes what is about to be done to a process that waits for the search node's answer.
func (r *rig) noteOpen(p *part, what string) {
	if proxy := r.search[p.Name()]; proxy != nil && proxy.Open(faultproxy.Bulk) > 0 {
		r.went(what)
	}
}

// play carries a schedule out. When it returns, every process runs and S3 fails at its ordinary rates.
func (r *rig) play(t *testing.T, s schedule.Schedule, rng *rand.Rand) {
	var events sync.WaitGroup
	defer events.Wait()
	start := time.Now()
	for _, event := range s.Events {
		wait(t.Context(), time.Until(start.Add(event.At)))
		t.Log(event)
		pick := rng.Uint64()
		events.Go(func() { r.carryOut(t, event, pick) })
	}
}

// carryOut does one event. The next one that concerns the same process waits until this one is over, which is a little
// later than the schedule has it.
func (r *rig) carryOut(t *testing.T, event schedule.Event, pick uint64) {
	for _, name := range r.sortedTargets(event) {
		r.parts[name].event.Lock()
		defer r.parts[name].event.Unlock()
	}
	over := func() { wait(t.Context(), event.Length) }
	switch name, isPoint := strings.CutPrefix(event.Action, point); {
	case r.carryOutLoad(t, event, over):
	case isPoint:
		r.killAt(t, event, name)
	case event.Action == schedule.S3Storm:
		r.setS3(t, storm())
		over()
		r.setS3(t, ordinary())
	case event.Action == schedule.Reconfigure:
		r.reconfigure(t, pick)
	case event.Action == schedule.SearchStorm:
		r.setSearch(t, searchStorm())
		over()
		r.setSearch(t, searchOrdinary())
	case event.Action == schedule.BlockWrites:
		r.blockWrites(t, over)
	case event.Action == schedule.KillInComplete:
		r.killInRequest(t, event, r.s3[event.Targets[0].Name], faultproxy.BeforeForward, faultproxy.CompleteMultipart)
	case event.Action == schedule.KillAfterUpload:
		r.killInRequest(t, event, r.s3[event.Targets[0].Name], faultproxy.BeforeAnswer, faultproxy.PutObject, faultproxy.CompleteMultipart)
	case event.Action == schedule.KillInBulk:
		r.killInRequest(t, event, r.search[event.Targets[0].Name], faultproxy.BeforeForward, faultproxy.Bulk)
	case event.Action == schedule.KillAfterBulk:
		r.killInRequest(t, event, r.search[event.Targets[0].Name], faultproxy.BeforeAnswer, faultproxy.Bulk)
	case event.Action == schedule.PauseInBulk:
		r.pauseInBulk(t, event)
	case event.Action == schedule.RefuseBulk:
		r.force(t, event, faultproxy.TooLarge, faultproxy.Bulk, r.searches()...)
	case event.Action == schedule.RefuseDocuments:
		r.force(t, event, faultproxy.ItemsThrottled, faultproxy.Bulk, r.searches()...)
	case event.Action == schedule.LoseAnswer:
		r.force(t, event, faultproxy.ResetAfter, faultproxy.Bulk, r.searches()...)
	case event.Action == schedule.TruncateAnswer:
		r.force(t, event, faultproxy.Truncated, faultproxy.Bulk, r.searches()...)
	case event.Action == schedule.Pause, event.Action == schedule.PauseReplicas:
		r.each(t, event, r.pause)
		over()
		r.each(t, event, func(p *part) error { return p.Resume() })
	default:
		r.each(t, event, func(p *part) error { r.kill(p); return nil })
		over()
		r.each(t, event, func(p *part) error { return p.Restart() })
	}
}

// sortedTargets are in one order for all, so that two events cannot wait for each other.
func (r *rig) sortedTargets(event schedule.Event) []string {
	targets := make([]string, len(event.Targets))
	for i, target := range event.Targets {
		targets[i] = target.Name
	}
	slices.Sort(targets)
	return targets
}

func (r *rig) each(t *testing.T, event schedule.Event, do func(*part) error) {
	for _, target := range event.Targets {
		if err := do(r.parts[target.Name]); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	}
}

// killAt arms a fault point of each target, waits for one to go off, and starts the process again. One that nothing came past is
// disarmed; if the file is gone by then, the process has taken it and dies.
func (r *rig) killAt(t *testing.T, event schedule.Event, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), event.Length)
	defer cancel()
	var armed sync.WaitGroup
	defer armed.Wait()
	for _, target := range event.Targets {
		p := r.parts[target.Name]
		p.arm(t, name, "kill")
		armed.Go(func() {
			defer cancel() // the others need not
			r.restartWhenKilled(ctx, t, event, p, func() bool { return os.Remove(p.armed) == nil })
		})
	}
}

// arm makes the process kill or stop itself when it comes past a fault point.
func (p *part) arm(t *testing.T, name, action string) {
	t.Helper()
	if err := os.WriteFile(p.armed+".new", []byte(name+" "+action), 0o600); err != nil {
		t.Error(err)
	}
	if err := os.Rename(p.armed+".new", p.armed); err != nil {
		t.Error(err)
	}
}

// hooked is a proxy that tells of its requests.
type hooked interface{ OnRequest(hook faultproxy.Hook) }

// killInRequest kills a sink while a request of it is with a proxy.
func (r *rig) killInRequest(t *testing.T, event schedule.Event, proxy hooked, phase faultproxy.Phase, kinds ...faultproxy.Kind) {
	p := r.parts[event.Targets[0].Name]
	var settled atomic.Bool // it went off, or was disarmed
	proxy.OnRequest(func(at faultproxy.Phase, what faultproxy.Kind, _ string) {
		if at == phase && slices.Contains(kinds, what) && settled.CompareAndSwap(false, true) {
			r.kill(p)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), event.Length)
	defer cancel()
	r.restartWhenKilled(ctx, t, event, p, func() bool { return settled.CompareAndSwap(false, true) })
	proxy.OnRequest(nil)
}

// restartWhenKilled starts a process again that is killed before ctx ends. Then it is disarmed; what can no longer be disarmed is
// going off.
func (r *rig) restartWhenKilled(ctx context.Context, t *testing.T, event schedule.Event, p *part, disarm func() bool) {
	select {
	case <-p.Exited():
	case <-ctx.Done():
		if disarm() || t.Context().Err() != nil {
			return
		}
		<-p.Exited()
	}
	t.Logf("%s: went off", event.Action)
	r.went(event.Action)
	if err := p.Restart(); err != nil {
		t.Errorf("%s: %v", event, err)
	}
}

func (r *rig) setS3(t *testing.T, settings faultproxy.S3Settings) {
	for _, proxy := range r.s3 {
		if err := proxy.Set(settings); err != nil {
			t.Error(err)
		}
	}
	r.setFetching(t, settings)
}

// reconfigure changes something about the delivery stream "changing". A lost answer shows as a version that is not the
// expected one, so what counts is that the version goes on.
func (r *rig) reconfigure(t *testing.T, pick uint64) {
	name := "changing"
	described, err := r.client.DescribeDeliveryStream(t.Context(), &firehose.DescribeDeliveryStreamInput{DeliveryStreamName: &name})
	if err != nil {
		t.Log("reconfigure:", err)
		return
	}
	version := described.DeliveryStreamDescription.VersionId
	prefixes := []string{"a/", "b/!{timestamp:yyyy/DDD}/!{firehose:random-string}/", "c"}
	formats := types.CompressionFormat("").Values()
	_, err = r.client.UpdateDestination(t.Context(), &firehose.UpdateDestinationInput{
		DeliveryStreamName: &name, CurrentDeliveryStreamVersionId: version, DestinationId: aws.String("destinationId-000000000001"),
		ExtendedS3DestinationUpdate: &types.ExtendedS3DestinationUpdate{
			Prefix:            &prefixes[pick%3],
			CompressionFormat: formats[pick/3%uint64(len(formats))],
			BufferingHints:    &types.BufferingHints{SizeInMBs: aws.Int32(int32(1 + pick/7%4)), IntervalInSeconds: aws.Int32(int32(pick / 31 % 3))},
			S3BackupUpdate: &types.S3DestinationUpdate{
				Prefix: &prefixes[pick/101%3], CompressionFormat: formats[pick/17%uint64(len(formats))],
			},
		},
	})
	if err != nil {
		t.Log("reconfigure:", err)
		return
	}
	r.went(schedule.Reconfigure)
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
