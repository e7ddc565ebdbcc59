package faults

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

// TestRedshiftFaults does to delivery streams to a database what TestFaults does to those to S3, and to the database and what stands in
// for Redshift before it as well. In the end each acknowledged record is one row, or in an object that one error manifest names.
func TestRedshiftFaults(t *testing.T) {
	t.Logf("seed %d: repeat with make faults DURATION=%s SEED=%d", *seed, *duration, *seed)
	rng := rand.New(rand.NewPCG(*seed, 7))
	r := newRedshiftRig(t, replicas)
	streams := r.createLoads()
	r.must(r.api.SetSwallow(0.05))
	r.setS3(t, ordinary())
	r.setWires(t, wireOrdinary())

	patient := map[string]float64{"plain": 150, "packed": 150, "fields": 50}
	stopPatient := r.produce(t, rng, patient)
	r.repeatUndisturbed(t, len(patient))
	stopHasty := r.produce(t, rng, map[string]float64{"short": 60, "fleeting": 40})
	r.play(t, r.schedule(t, *seed, *duration-leftOver(), r.targets, redshiftActions()), rng)
	moments := r.redshiftMoments()
	r.makeUp(t, moments)
	stopPatient()
	stopHasty()

	r.calm()
	r.drain(drainTime)
	r.checkRows(t, streams)
	r.checkMoments(t, moments)
	r.conclude(t)
}

// leftOver is what is left of the duration for moments that have to be made up for, and for what comes before the schedule.
func leftOver() time.Duration {
	if *duration < longEnough {
		return 0
	}
	return 13 * time.Second
}

// repeatUndisturbed has a COPY asked for again while it runs, when so many delivery streams have loaded before and none has objects to
// set aside: whoever is new to the ledger, or asks it, locks it, and who waits behind that is safe for another reason.
func (r *rig) repeatUndisturbed(t *testing.T, streams int) {
	deploy.Eventually(t, "each delivery stream is loaded", func() bool {
		var n int
		row := r.warehouse.db.QueryRowContext(t.Context(), "SELECT count(DISTINCT stream_id) FROM public.hydrant_ledger")
		return row.Scan(&n) == nil && n == streams
	})
	wait(t.Context(), time.Second)
	r.carryOut(t, schedule.Event{Action: schedule.RepeatInCopy, Length: momentTime, Targets: r.concerned(moment{kind: "redshift", all: true}, 0)}, 0)
}

// createLoads makes delivery streams in each form, before either stand-in; those with a short retry duration may set objects aside.
func (r *rig) createLoads() map[string]checker.Warehouse {
	plain, document := checker.Warehouse{Form: checker.Plain}, checker.Warehouse{Form: checker.Document}
	hasty := checker.Warehouse{Form: checker.Document, MayGiveUp: true}
	streams := map[string]checker.Warehouse{}
	for name, l := range map[string]loading{
		"plain":    {Warehouse: plain, standIn: attentive, columns: "stream, producer, n, padding", options: "DELIMITER '|'", interval: 1, retries: hour},
		"packed":   {Warehouse: document, standIn: inattentive, options: "JSON 'auto' GZIP", packed: true, interval: 1, retries: hour},
		"fields":   {Warehouse: plain, standIn: inattentive, columns: "stream, producer, n, padding", options: "CSV DELIMITER '|'", interval: 1, retries: hour},
		"short":    {Warehouse: hasty, standIn: attentive, options: "JSON 'auto'", skipped: skippedPrefix, bad: badRows, interval: 1, retries: 2},
		"fleeting": {Warehouse: hasty, standIn: inattentive, options: "GZIP JSON 'auto'", packed: true, bad: 10 * badRows, interval: 1, retries: 1},
	} {
		streams[name] = r.createRedshift(name, l)
	}
	return streams
}

// redshiftActions have what every fault run does less often than what is about a database.
func redshiftActions() []schedule.Action {
	standard := slices.DeleteFunc(schedule.Standard("redshift", "s3sink"), func(a schedule.Action) bool {
		return a.Name == schedule.Reconfigure || a.Name == schedule.KillInComplete // manifests have one part
	})
	for i := range standard {
		standard[i].Weight = 1
	}
	return slices.Concat(
		standard, schedule.Warehouse([]string{"redshift"}, []string{"standin"}, []string{"database"}), points("redshift", "standin"),
		[]schedule.Action{killedAt("s3sink", "sink.announced")},
	)
}

// redshiftMoments are those of a run against a database.
func (r *rig) redshiftMoments() []moment {
	moments := []moment{
		{what: "loaders killed with a COPY open", action: schedule.KillInCopy, kind: "redshift", all: true},
		{what: "loaders killed whose COPY was carried out", action: schedule.KillAfterCopy, kind: "redshift", all: true},
		{what: "loaders stopped with a COPY open", action: schedule.PauseInCopy, kind: "redshift", all: true},
		{what: "a COPY asked for again while it runs", action: schedule.RepeatInCopy, kind: "redshift", all: true},
		{what: "loaders killed about to set objects aside", action: schedule.KillGivingUp, kind: "redshift", all: true},
		{what: "loaders killed with objects set aside", action: schedule.KillSetAside, kind: "redshift", all: true},
		{what: "databases killed between COPY and COMMIT", action: schedule.KillDatabaseInside, kind: "database standin", all: true},
		{what: "stand-ins stopped between COPY and COMMIT", action: schedule.PauseStandInInside, kind: "standin", all: true},
		{what: "tables with another name for a while", action: schedule.HideTable, length: 2 * time.Second},
		{what: "s3sinks killed at sink.announced", action: point + "sink.announced", kind: "s3sink"},
		{what: "stand-ins killed between COPY and COMMIT", action: point + betweenCopyAndCommit, kind: "standin", all: true},
		{what: "answers to a COPY lost", count: r.copies(faultproxy.ResetAfter, faultproxy.HeldAnswer), action: schedule.LoseCopy},
		{what: "answers to a COPY truncated", count: r.copies(faultproxy.Truncated), action: schedule.TruncateCopy},
		{what: "connections cut inside a COPY", count: r.copies(faultproxy.CutInside), action: schedule.CutCopy},
		{what: "answers to a manifest lost", count: r.off(schedule.LoseManifest), action: schedule.LoseManifest},
	}
	for _, action := range points("redshift") {
		moments = append(moments, moment{what: "loaders: " + action.Name, action: action.Name, kind: "redshift", all: true})
	}
	for _, kind := range []string{"database", "standin", "redshift"} {
		moments = append(moments,
			moment{what: killed + kind, count: r.off(killed + kind), action: schedule.Kill, kind: kind, length: time.Second},
			moment{what: paused + kind, count: r.off(paused + kind), action: schedule.Pause, kind: kind, length: 2 * time.Second})
	}
	for i, m := range moments {
		if m.count == nil {
			moments[i].count = r.off(m.action)
		}
	}
	return moments
}

// copies counts what became of COPYs.
func (r *rig) copies(faults ...faultproxy.Fault) func() int {
	return func() (n int) {
		for _, wire := range r.warehouse.wires {
			counts := wire.CountsOf(faultproxy.Copy)
			for _, fault := range faults {
				n += counts[fault]
			}
		}
		return n
	}
}
