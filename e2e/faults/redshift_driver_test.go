package faults

import (
	"context"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

// betweenCopyAndCommit is where a stand-in has loaded rows into a transaction that is still open.
const betweenCopyAndCommit = "redshift-standin.copied"

// loaderPause is long enough for another to have the objects of a loader that is paused.
const loaderPause = loaderWait + time.Second

// hiddenTables are those that have another name for a while: of delivery streams with a short retry duration.
func hiddenTables() []string { return []string{"faults_short", "faults_fleeting"} }

// carryOutLoad does an event that is about a database, and tells whether it was one.
func (r *rig) carryOutLoad(t *testing.T, event schedule.Event, over func()) bool {
	switch event.Action {
	case schedule.WireStorm:
		r.setWires(t, wireStorm())
		over()
		r.setWires(t, wireOrdinary())
	case schedule.KillInCopy:
		r.killInCopy(t, event, faultproxy.BeforeForward)
	case schedule.KillAfterCopy:
		r.killInCopy(t, event, faultproxy.BeforeAnswer)
	case schedule.PauseInCopy:
		r.pauseInCopy(t, event)
	case schedule.RepeatInCopy:
		r.repeatInCopy(t, event)
	case schedule.LoseCopy:
		r.force(t, event, faultproxy.ResetAfter, faultproxy.Copy, r.wires()...)
	case schedule.TruncateCopy:
		r.force(t, event, faultproxy.Truncated, faultproxy.Copy, r.wires()...)
	case schedule.CutCopy:
		r.force(t, event, faultproxy.CutInside, faultproxy.Copy, r.wires()...)
	case schedule.LoseManifest:
		r.force(t, event, faultproxy.ResetAfter, faultproxy.PutObject, r.loaderStores()...)
	case schedule.KillDatabaseInside:
		r.killDatabaseInside(t, event)
	case schedule.PauseStandInInside:
		r.pauseStandInInside(t, event)
	case schedule.KillSetAside:
		r.hideTables(t, func() { r.killAt(t, event, "redshift.error-manifest") })
	case schedule.KillGivingUp:
		r.hideTables(t, func() { r.killAt(t, event, "redshift.before-error-manifest") })
	case schedule.HideTable:
		r.hideTables(t, over)
		r.went(schedule.HideTable)
	default:
		return false
	}
	return true
}

func (r *rig) wires() (proxies []forcing) {
	for _, wire := range r.warehouse.wires {
		proxies = append(proxies, wire)
	}
	return proxies
}

// loaderStores are S3 as the loaders see it. They put manifests there, and nothing else.
func (r *rig) loaderStores() (proxies []forcing) {
	for _, p := range r.ofKind("redshift") {
		proxies = append(proxies, r.s3[p.Name()])
	}
	return proxies
}

func (r *rig) ofKind(kind string) (parts []*part) {
	for _, target := range r.targets {
		if target.Kind == kind {
			parts = append(parts, r.parts[target.Name])
		}
	}
	return parts
}

// catch does something to the loader whose COPY is the next to be in a phase, and returns it; nil if there was none within the
// event's length.
func (r *rig) catch(t *testing.T, event schedule.Event, phase faultproxy.Phase, do func(*part)) *part {
	turn, caught := make(chan struct{}, 1), make(chan *part, 1)
	turn <- struct{}{}
	r.onCopy(func(at faultproxy.Phase, what faultproxy.Kind, client string) {
		if at != phase || what != faultproxy.Copy {
			return
		}
		select {
		case <-turn:
		default:
			return // another has it
		}
		if p := r.loaderAt(client); p != nil {
			do(p)
			caught <- p
			return
		}
		turn <- struct{}{}
	})
	defer r.onCopy(nil)
	timer := time.NewTimer(event.Length)
	defer timer.Stop()
	select {
	case p := <-caught:
		return p
	case <-timer.C:
	case <-t.Context().Done():
	}
	select {
	case <-turn: // nobody gets it any more
		return nil
	case p := <-caught:
		return p
	}
}

func (r *rig) onCopy(hook faultproxy.Hook) {
	for _, wire := range r.warehouse.wires {
		wire.OnRequest(hook)
	}
}

// loaderAt is the loader that a connection to the database is of, nil if it has ended.
func (r *rig) loaderAt(client string) *part {
	for _, p := range r.ofKind("redshift") {
		if has, err := p.Connected(client); has && err == nil {
			return p
		}
	}
	return nil
}

func (r *rig) killInCopy(t *testing.T, event schedule.Event, phase faultproxy.Phase) {
	p := r.catch(t, event, phase, r.kill)
	if p == nil {
		return
	}
	r.went(event.Action)
	t.Logf("%s: went off at %s", event.Action, p.Name())
	if err := p.Restart(); err != nil {
		t.Errorf("%s: %v", event, err)
	}
}

// pauseInCopy stops a loader for long enough for another to have its objects.
func (r *rig) pauseInCopy(t *testing.T, event schedule.Event) {
	p := r.catch(t, event, faultproxy.BeforeForward, func(p *part) {
		if err := r.pause(p); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	})
	if p == nil {
		return
	}
	r.went(event.Action)
	t.Logf("%s: went off at %s", event.Action, p.Name())
	wait(t.Context(), min(event.Length, loaderPause))
	if err := p.Resume(); err != nil {
		t.Errorf("%s: %v", event, err)
	}
}

// repeatInCopy has the stand-in that does not miss its clients wait for S3 in the middle of a COPY, cuts the loader off, and waits
// until the loader has asked for a COPY again. One that did not wait for the first would be done before that goes on.
func (r *rig) repeatInCopy(t *testing.T, event schedule.Event) {
	wire, fetching := r.warehouse.wires[inattentive], r.warehouse.fetching[inattentive]
	var settled atomic.Bool // one is held, or none is any more
	held, release, again := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	defer close(release)
	fetching.OnRequest(func(phase faultproxy.Phase, _ faultproxy.Kind, _ string) {
		if phase == faultproxy.BeforeForward && settled.CompareAndSwap(false, true) {
			close(held)
			<-release
		}
	})
	defer fetching.OnRequest(nil)
	if !within(t.Context(), event.Length, held) && settled.CompareAndSwap(false, true) {
		return
	}
	wire.Cut()
	wire.OnRequest(func(phase faultproxy.Phase, what faultproxy.Kind, _ string) {
		if phase == faultproxy.BeforeForward && what == faultproxy.Copy {
			select {
			case again <- struct{}{}:
			default:
			}
		}
	})
	defer wire.OnRequest(nil)
	if within(t.Context(), loaderPause, again) {
		wait(t.Context(), 1500*time.Millisecond)
		r.went(event.Action)
		t.Logf("%s: went off", event.Action)
	}
}

// killDatabaseInside kills the database while a stand-in has a COPY done and its COMMIT not asked for.
func (r *rig) killDatabaseInside(t *testing.T, event schedule.Event) {
	sleeping := r.stopAt(t, event.Length, betweenCopyAndCommit, r.ofKind("standin")...)
	if len(sleeping) == 0 {
		return
	}
	r.went(event.Action)
	t.Logf("%s: went off", event.Action)
	node := r.parts["database"]
	r.kill(node)
	r.resume(t, event, sleeping)
	if err := node.Restart(); err != nil {
		t.Errorf("%s: %v", event, err)
	}
}

func (r *rig) pauseStandInInside(t *testing.T, event schedule.Event) {
	sleeping := r.stopAt(t, event.Length, betweenCopyAndCommit, r.ofKind("standin")...)
	if len(sleeping) == 0 {
		return
	}
	r.went(event.Action)
	t.Logf("%s: went off", event.Action)
	wait(t.Context(), min(event.Length, loaderPause))
	r.resume(t, event, sleeping)
}

func (r *rig) resume(t *testing.T, event schedule.Event, sleeping []*part) {
	for _, p := range sleeping {
		if err := p.Resume(); err != nil {
			t.Errorf("%s: %v", event, err)
		}
	}
}

// stopAt arms a point of the processes and returns those that have stopped themselves there: the first that came past, rarely more,
// none if none did within the time.
func (r *rig) stopAt(t *testing.T, within time.Duration, point string, armed ...*part) []*part {
	t.Helper()
	for _, p := range armed {
		p.arm(t, point, "stop")
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && !slices.ContainsFunc(armed, (*part).taken) {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	// Who can still be disarmed has not come past.
	sleeping := slices.DeleteFunc(slices.Clone(armed), func(p *part) bool { return os.Remove(p.armed) == nil })
	for _, p := range sleeping {
		deploy.Eventually(t, p.Name()+" has stopped", p.asleep)
	}
	return sleeping
}

// taken tells that the process has come past the point that was armed.
func (p *part) taken() bool { _, err := os.Stat(p.armed); return os.IsNotExist(err) }

// hideTables gives tables another name until it is over. The database may be down.
func (r *rig) hideTables(t *testing.T, over func()) {
	r.warehouse.hiding.Lock()
	defer r.warehouse.hiding.Unlock()
	for _, table := range hiddenTables() {
		deploy.Eventually(t, table+" is hidden", func() bool { return r.rename(t, table, "away_"+table) })
	}
	over()
	for _, table := range hiddenTables() {
		deploy.Eventually(t, table+" is back", func() bool { return r.rename(t, "away_"+table, table) })
	}
}

// rename tells whether a table has the new name, though the answer that said so may be lost.
func (r *rig) rename(t *testing.T, from, to string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := r.warehouse.db.ExecContext(ctx, "ALTER TABLE "+from+" RENAME TO "+to); err == nil {
		return true
	}
	var there bool
	err := r.warehouse.db.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", to).Scan(&there)
	return err == nil && there
}
