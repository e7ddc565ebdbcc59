package faults

import (
	"fmt"
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
	kind   string // of the process that it concerns; "" if none
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
	off := func(action string) func() int { return func() int { return r.wentOff()[action] } }
	moments := []moment{
		{"sinks killed with a bulk request open", off(killedInFlight), schedule.KillInBulk, "es"},
		{"sinks killed whose bulk request was carried out", off(schedule.KillAfterBulk), schedule.KillAfterBulk, "es"},
		{"sinks paused with a bulk request open", off(pausedInFlight), schedule.PauseInBulk, "es"},
		{"bulk requests refused with 413", bulks(faultproxy.TooLarge), schedule.RefuseBulk, ""},
		{"bulk requests of which documents were refused with 429", bulks(faultproxy.ItemsThrottled), schedule.RefuseDocuments, ""},
		{"answers to bulk requests lost", bulks(faultproxy.ResetAfter, faultproxy.HeldAnswer), schedule.LoseAnswer, ""},
		{"answers to bulk requests truncated", bulks(faultproxy.Truncated), schedule.TruncateAnswer, ""},
	}
	for _, name := range []string{"es.before-failed-file", "es.before-complete", "es.uploaded", "es.failed-file"} {
		moments = append(moments, moment{"sinks killed at " + name, off(point + name), point + name, "es"})
	}
	return moments
}

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
		event := schedule.Event{Action: m.action, Length: momentTime}
		if m.kind != "" {
			event.Targets = []schedule.Target{{Kind: m.kind, Name: fmt.Sprintf("%s-%d", m.kind, 1+n%replicas)}}
		}
		making.Go(func() {
			began := time.Now()
			r.carryOut(t, event, 0)
			t.Logf("made up for in %s: %s", time.Since(began).Round(time.Millisecond), m.what)
		})
	}
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
