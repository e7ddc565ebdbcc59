package faults

import (
	"fmt"
	"maps"
	"slices"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/tries"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// refusal has a destination take nothing for a while, so that batches of a sink wait for their next try.
type refusal struct {
	stream     names.Stream
	leg        names.Leg
	begin, end func()
	thing      string // how a sink calls what it leaves alone then
}

// refusals are those of the sinks that write down what failed.
func (u *upgrade) refusals() map[string]refusal {
	block := func(blocked bool) func() {
		return func() {
			deploy.Eventually(u.t, "the index is asked", func() bool { return u.setBlocked(u.t, blocked) })
		}
	}
	rename := func(from, to string) func() {
		return func() { deploy.Eventually(u.t, to+" is there", func() bool { return u.rename(u.t, from, to) }) }
	}
	table := u.rows["rows"].Table
	return map[string]refusal{
		"es":       {"documents", names.LegES, block(true), block(false), "batches of delivery stream documents, leg es: "},
		"redshift": {"rows", names.LegRedshift, rename(table, "away_"+table), rename("away_"+table, table), "failures of staged objects of delivery stream rows: "},
	}
}

// replaceRefused upgrades a sink while its destination refuses everything, goes back, and forward again. The newer version goes on with
// what the older tried in vain, and writes that down in its own format. The older leaves such a batch alone then, delivers the others when
// the destination takes them, and starts no retry duration anew.
func (u *upgrade) replaceRefused(kind string, r refusal) {
	u.t.Helper()
	r.begin()
	deploy.Eventually(u.t, "a batch of "+string(r.stream)+" is tried in vain", func() bool { return len(u.kept(r)) > 0 })
	older := u.kept(r)
	u.replaceBoth(kind)
	u.awaitTakenUp(older, r)

	u.takeBack(kind)
	newer := u.kept(r) // the newer version is gone, and has written its last
	maps.DeleteFunc(newer, func(_ batch.ID, t tries.Try) bool { return t.Format != 2 })
	u.awaitRefusal(kind, r.thing, "format 2, known up to 1")
	r.end()
	u.awaitOthers(newer, r)
	for id, now := range u.kept(r) {
		if was, known := newer[id]; known && now != was {
			u.t.Errorf("%s of the older version changed the tries of batch %s from %+v to %+v", kind, id, was, now)
		}
	}

	u.replaceBoth(kind)
	deploy.Eventually(u.t, "what the older version left alone is delivered", func() bool {
		delivered := u.delivered(r)
		return !slices.ContainsFunc(slices.Collect(maps.Keys(newer)), func(id batch.ID) bool { return delivered[id].Attempts <= newer[id].Attempts })
	})
	u.t.Logf("%d batches of %s were tried by both versions, and delivered", len(newer), r.stream)
}

// takeBack has a sink that was upgraded run as the older version again.
func (u *upgrade) takeBack(kind string) {
	u.t.Helper()
	start := map[string]func(name string, programs deploy.Programs, n int, settings []string){"es": u.startSearchSink, "redshift": u.startLoader}[kind]
	for n := range replicas {
		name := fmt.Sprintf("%s-%d", kind, n+1)
		start(name, programs, n, []string{hurried})
		u.awaitReadiness(name)
		u.end(name + "-next")
	}
}

// awaitTakenUp waits until the newer version has tried again in vain what the older did, and returns what it wrote down of that.
func (u *upgrade) awaitTakenUp(older map[batch.ID]tries.Try, r refusal) (newer map[batch.ID]tries.Try) {
	u.t.Helper()
	deploy.Eventually(u.t, "the newer version tries again what the older tried", func() bool {
		newer = u.kept(r)
		maps.DeleteFunc(newer, func(id batch.ID, t tries.Try) bool {
			return t.Format != 2 || t.Attempts <= older[id].Attempts || older[id].Attempts == 0
		})
		return len(newer) == len(older)
	})
	for id, t := range newer {
		if !t.Since.Equal(older[id].Since) {
			u.t.Errorf("batch %s failed since %s, and by the newer version since %s", id, older[id].Since, t.Since)
		}
	}
	return newer
}

// awaitOthers waits until a batch is delivered that was not tried by a newer version, and makes sure that none is that was.
func (u *upgrade) awaitOthers(newer map[batch.ID]tries.Try, r refusal) {
	u.t.Helper()
	before := len(u.delivered(r))
	deploy.Eventually(u.t, "other batches of "+string(r.stream)+" are delivered", func() bool { return len(u.delivered(r)) > before })
	for id := range u.delivered(r) {
		if _, known := newer[id]; known {
			u.t.Errorf("batch %s was delivered by a version that cannot read what is known of its tries", id)
		}
	}
}

func (u *upgrade) kept(r refusal) map[batch.ID]tries.Try {
	u.t.Helper()
	kept, err := tries.Kept(u.t.Context(), u.js, r.stream)
	u.must(err)
	return kept
}

func (u *upgrade) delivered(r refusal) map[batch.ID]tries.Try {
	u.t.Helper()
	delivered, err := tries.Delivered(u.t.Context(), u.js, r.stream, r.leg)
	u.must(err)
	return delivered
}
