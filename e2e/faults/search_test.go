package faults

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

const hour = 3600

// TestSearchFaults does to delivery streams to a search node what TestFaults does to those to S3, and to the node as well. In
// the end each acknowledged record is in its index once, and those that no index takes are in one file of failed documents.
func TestSearchFaults(t *testing.T) {
	t.Logf("seed %d: repeat with make faults DURATION=%s SEED=%d", *seed, *duration, *seed)
	rng := rand.New(rand.NewPCG(*seed, 3))
	r := newSearchRig(t, replicas)
	streams := map[string]checker.Search{
		"single":  r.createSearch("single", searching{Search: checker.Search{Rotation: checker.NoRotation}, interval: 1, retries: hour}),
		"hourly":  r.createSearch("hourly", searching{Search: checker.Search{Rotation: checker.OneHour}, interval: 2, retries: hour, backup: true}),
		"daily":   r.createSearch("daily", searching{Search: checker.Search{Rotation: checker.OneDay}, interval: 2, retries: hour}),
		"weekly":  r.createSearch("weekly", searching{Search: checker.Search{Rotation: checker.OneWeek}, interval: 0, retries: hour}),
		"monthly": r.createSearch("monthly", searching{Search: checker.Search{Rotation: checker.OneMonth}, interval: 3, retries: hour}),
	}
	r.must(r.api.SetSwallow(0.05))
	r.setS3(t, ordinary())
	r.setSearch(t, searchOrdinary())

	stop := r.produce(t, rng, map[string]float64{"single": 300, "hourly": 300, "daily": 50, "weekly": 100, "monthly": 50})
	r.play(t, r.schedule(t, *seed, *duration, r.targets, searchActions()), rng)
	moments := r.searchMoments()
	r.makeUp(t, moments)
	stop()

	r.calm()
	r.drain(drainTime)
	r.checkDocuments(t, streams)
	r.checkBackups(t)
	r.checkMoments(t, moments)
	r.conclude(t)
}

func searchActions() []schedule.Action {
	standard := slices.DeleteFunc(schedule.Standard("es", "s3sink"), func(a schedule.Action) bool {
		return a.Name == schedule.Reconfigure || a.Name == schedule.KillInComplete // files of failed documents have one part
	})
	return slices.Concat(standard, schedule.Search([]string{"es"}, []string{"search"}), points("ingest", "buffer", "es"))
}

// TestSearchNodeGone loses answers and then takes the node away for longer than the retry duration: what was not indexed by
// then is set aside, and what was and is not known to be may be in both. Without document ids no more is promised than that
// nothing is lost.
func TestSearchNodeGone(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 4))
	r := newSearchRig(t, replicas)
	short := checker.Search{Rotation: checker.NoRotation, MayGiveUp: true, MayBeInBoth: true}
	nameless := short
	nameless.NoIDs = true
	streams := map[string]checker.Search{
		"short":    r.createSearch("short", searching{Search: short, interval: 1, retries: 3}),
		"nameless": r.createSearch("nameless", searching{Search: nameless, interval: 1, retries: 3}),
	}
	stop := r.produce(t, rng, map[string]float64{"short": 200, "nameless": 100})
	wait(t.Context(), 2*time.Second)
	r.setSearch(t, faultproxy.SearchSettings{ResetAfter: 0.5, Truncated: 0.2})
	wait(t.Context(), 2*time.Second)
	r.node.Kill()
	r.setSearch(t, faultproxy.SearchSettings{})
	wait(t.Context(), 8*time.Second)
	r.node.Restart()
	wait(t.Context(), time.Second)
	stop()

	r.calm()
	r.drain(time.Minute)
	report := r.checkDocuments(t, streams)
	if least := report.Ledger.Offered / 10; report.SetAside < least {
		t.Errorf("%d records were set aside: the node was not away for long enough to set aside %d", report.SetAside, least)
	}
	r.conclude(t)
}
