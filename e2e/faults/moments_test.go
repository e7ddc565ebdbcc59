package faults

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

const (
	// longEnough is from which duration on a run has to have had each of its moments.
	longEnough = 30 * time.Second
	// momentTime is for how long a moment is waited at most that did not come while the schedule was played: ten times what the
	// rarest takes, which is a batch with a bad document at the one sink that is to write of it.
	momentTime = time.Minute
)

// moment is something without which a run has not tested what it is for: how often it was there, and what brings it about.
type moment struct {
	what   string
	count  func() int
	action string
	kind   string        // of the process that it concerns, or kinds; "" if none
	all    bool          // it concerns all of the kind
	length time.Duration // of the action; 0 for one that ends with its moment
}

// searchMoments are those of a run against a search node. What falls on a request, or on who waits for its answer, is counted by
// the proxies, and for bulk requests alone.
func (r *rig) searchMoments() []moment {
	bulks := func(faults ...faultproxy.Fault) func() int {
		return func() (n int) {
			for _, proxy := range r.search {
				counts := proxy.CountsOf(faultproxy.Bulk)
				for _, fault := range faults {
					n += counts[fault]
				}
			}
			return n
		}
	}
	moments := []moment{
		{what: "sinks killed with a bulk request open", count: r.off(killedInFlight), action: schedule.KillInBulk, kind: "es"},
		{what: "sinks killed whose bulk request was carried out", count: r.off(schedule.KillAfterBulk), action: schedule.KillAfterBulk, kind: "es"},
		{what: "sinks paused with a bulk request open", count: r.off(pausedInFlight), action: schedule.PauseInBulk, kind: "es"},
		{what: "bulk requests refused with 413", count: bulks(faultproxy.TooLarge), action: schedule.RefuseBulk},
		{what: "bulk requests of which documents were refused with 429", count: bulks(faultproxy.ItemsThrottled), action: schedule.RefuseDocuments},
		{what: "answers to bulk requests lost", count: bulks(faultproxy.ResetAfter, faultproxy.HeldAnswer), action: schedule.LoseAnswer},
		{what: "answers to bulk requests truncated", count: bulks(faultproxy.Truncated), action: schedule.TruncateAnswer},
	}
	for _, name := range []string{"es.before-failed-file", "es.before-complete", "es.uploaded", "es.failed-file"} {
		moments = append(moments, moment{what: "sinks killed at " + name, count: r.off(point + name), action: point + name, kind: "es"})
	}
	return moments
}

// off counts how often an action went off.
func (r *rig) off(action string) func() int { return func() int { return r.wentOff()[action] } }

// makeUp brings about, under load, what the schedule did not: an action that waits for its moment may not have had one. What
// concerns one process is done one after the other.
func (r *rig) makeUp(t *testing.T, moments []moment) {
	if *duration < longEnough {
		return
	}
	var making sync.WaitGroup
	defer making.Wait()
	for n, m := range moments {
		if m.count() > 0 {
			continue
		}
		event := schedule.Event{Action: m.action, Length: cmp.Or(m.length, momentTime), Targets: r.concerned(m, n)}
		making.Go(func() {
			began := time.Now()
			r.carryOut(t, event, 0)
			t.Logf("made up for in %s: %s", time.Since(began).Round(time.Millisecond), m.what)
		})
	}
}

// concerned are the processes that a moment concerns: all of its kind, or one.
func (r *rig) concerned(m moment, n int) (targets []schedule.Target) {
	for _, target := range r.targets {
		if slices.Contains(strings.Fields(m.kind), target.Kind) {
			targets = append(targets, target)
		}
	}
	if m.all || len(targets) == 0 {
		return targets
	}
	return targets[n%len(targets):][:1]
}

// checkMoments fails a run, if it was long enough, that was without one of its moments.
func (r *rig) checkMoments(t *testing.T, moments []moment) {
	t.Helper()
	var lines strings.Builder
	for _, m := range moments {
		n := m.count()
		fmt.Fprintf(&lines, "%4d %s\n", n, m.what)
		if n == 0 && *duration >= longEnough {
			t.Errorf("%s: none, so that was not tested", m.what)
		}
	}
	t.Log("moments\n" + lines.String())
}
