package compose

import (
	"context"
	"maps"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/tries"
	"hydrant/shared/batch"
	"hydrant/shared/names"
)

// refusal has a destination take nothing for a while, so that batches of a sink wait for their next try.
type refusal struct {
	stream     names.Stream
	leg        names.Leg
	batches    int // that are tried in vain, at least, before the sink is replaced
	begin, end func()
}

// refusals are those of each sink that there is.
func (p *project) refusals() map[string]refusal {
	all := map[string]refusal{"s3sink": p.bucketGone("one"), "redshift": p.tableGone("rows")}
	if p.search != "" {
		all["es"] = p.indexBlocked("documents")
	}
	return all
}

// bucketGone has the bucket of a delivery stream to S3 away, with what is in it. Its sink takes few batches then, as that of a search cluster does.
func (p *project) bucketGone(stream names.Stream) refusal {
	move := func(from, to string) func() {
		return func() { p.compose(p.t.Context(), "exec", "-T", "s3", "mv", "/data/"+from, "/data/"+to) }
	}
	return refusal{stream, names.LegS3, 1, move(bucket, ".away"), move(".away", bucket)}
}

// tableGone has the table of a delivery stream, which is called as it is, renamed for a while.
func (p *project) tableGone(table names.Stream) refusal {
	rename := func(from, to names.Stream) func() {
		return func() {
			_, err := p.redshift().ExecContext(p.t.Context(), "ALTER TABLE "+string(from)+" RENAME TO "+string(to))
			p.must(err)
		}
	}
	return refusal{table, names.LegRedshift, 3, rename(table, table+"_away"), rename(table+"_away", table)}
}

// indexBlocked has the index of a delivery stream, which is called as it is, refuse every document.
func (p *project) indexBlocked(index names.Stream) refusal {
	block := func(blocked bool) func() {
		return func() { p.must(p.searchNode().BlockWrites(p.t.Context(), string(index), blocked)) }
	}
	return refusal{index, names.LegES, 1, block(true), block(false)}
}

// rollRefused replaces a sink while its destination refuses everything. What the one before tried in vain the new one has to try
// again, knowing since when it fails, and has to deliver when the destination takes it.
func (p *project) rollRefused(service, tag string, r refusal) {
	p.t.Helper()
	r.begin()
	p.eventually("batches of "+string(r.stream)+" are tried in vain", time.Minute, func() bool { return len(p.waits(r)) >= r.batches })
	failed := p.waits(r)
	p.roll(service, tag)
	left := p.waits(r) // the one before is gone, so that it has none more
	maps.DeleteFunc(left, func(id batch.ID, _ tries.Try) bool { _, both := failed[id]; return !both })
	if len(left) == 0 {
		p.t.Errorf("nothing of %s waits, though its destination refuses everything", r.stream)
	}
	p.eventually("the new "+service+" tries again what the one before tried", time.Minute, func() bool { return p.takenUp(left, r) })
	r.end()
	p.eventually("what both tried is delivered", time.Minute, func() bool { return p.delivered(left, r) })
	p.t.Logf("%d batches of %s were tried by both, and delivered", len(left), r.stream)
}

// waits are the batches that were tried in vain and are not delivered. Those to S3 are JetStream's alone to know, which does not tell
// of single batches; the error log does, of some of them.
func (p *project) waits(r refusal) map[batch.ID]tries.Try {
	p.t.Helper()
	if r.leg != names.LegS3 {
		return p.known(r, func(ctx context.Context, js jetstream.JetStream, stream names.Stream, _ names.Leg) (map[batch.ID]tries.Try, error) {
			return tries.Kept(ctx, js, stream)
		})
	}
	logged := p.known(r, tries.Logged)
	for id := range p.known(r, tries.Delivered) {
		delete(logged, id)
	}
	return logged
}

func (p *project) known(r refusal, read func(context.Context, jetstream.JetStream, names.Stream, names.Leg) (map[batch.ID]tries.Try, error)) (found map[batch.ID]tries.Try) {
	p.t.Helper()
	p.inspect(func(js jetstream.JetStream) {
		var err error
		found, err = read(p.t.Context(), js, r.stream, r.leg)
		p.must(err)
	})
	return found
}

// takenUp tells whether the batches have been tried again, each of them where each try is known.
func (p *project) takenUp(left map[batch.ID]tries.Try, r refusal) bool {
	p.t.Helper()
	now, again := p.waits(r), 0
	for id, before := range left {
		after, known := now[id]
		if known && !after.Since.Equal(before.Since) {
			p.t.Errorf("batch %s failed since %s, and now since %s", id, before.Since, after.Since)
		}
		if after.Attempts > before.Attempts {
			again++
		}
	}
	return again == len(left) || r.leg == names.LegS3 && again > 0
}

// delivered tells whether each of the batches has its outcome, and makes sure that its tries were counted on.
func (p *project) delivered(left map[batch.ID]tries.Try, r refusal) bool {
	p.t.Helper()
	outcomes := p.known(r, tries.Delivered)
	for id, before := range left {
		outcome, known := outcomes[id]
		if !known {
			return false
		}
		if outcome.Attempts <= before.Attempts {
			p.t.Errorf("batch %s was delivered by try %d, and had failed in %d before", id, outcome.Attempts, before.Attempts)
		}
	}
	return true
}
