package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

const (
	// stagedObjects is how many objects of 5 MB each round has: COPY by the stand-in takes seconds.
	stagedObjects = 12

	warehouseTime = 4 * time.Second // about what starting PostgreSQL takes, and ending it
	redshiftTime  = 8 * time.Second // and a round

	tableHydrant, tableByHand = "by_hydrant", "by_hand"

	redshiftHydrant, redshiftByHand = "hydrant-redshift, staged to rows", "one COPY by hand"
)

func redshiftEstimate(o options) time.Duration {
	return startingTime + warehouseTime + time.Duration(o.rounds+1)*redshiftTime
}

// redshiftRow is the row while it is measured.
type redshiftRow struct {
	*bench
	*installation
	row   *report.Row
	house *warehouse
	noted int // objects that the ledger has
}

// measureRedshift has hydrant-redshift load what is staged, in turn with a COPY by hand of the same objects. A load of each goes before,
// which is not counted: the stand-in makes tables of its own then, and hydrant-redshift its ledger.
func measureRedshift(ctx context.Context, b *bench, row *report.Row) (err error) {
	if err := machine.RefuseMemory(os.TempDir()); err != nil {
		return fmt.Errorf("PostgreSQL's data: %w: name a directory on a disk with TMPDIR", err)
	}
	house, err := startWarehouse(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, house.close()) }()
	i, err := startProcesses(ctx, b.place("redshift"), b.programs, partS3, partIngest, partBuffer, partSink)
	if err != nil {
		return err
	}
	defer ended(i, &err)
	r := &redshiftRow{bench: b, installation: i, row: row, house: house}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for round := range b.rounds + 1 {
		if err := r.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
	}
	return nil
}

func (r *redshiftRow) prepare(ctx context.Context) error {
	r.addr.postgres = r.house.node.Addr
	if err := r.start(ctx, partStandIn); err != nil {
		return fmt.Errorf("start %s: %w", partStandIn, err)
	}
	err := errors.Join(r.house.make(ctx, tableHydrant), r.house.make(ctx, tableByHand))
	return errors.Join(err, r.createRedshift(ctx, oneStream, tableHydrant))
}

// round compares on many objects, and on one, for which a COPY takes so little that what is around it shows.
func (r *redshiftRow) round(ctx context.Context, round int) error {
	ours, theirs, err := r.compare(ctx, round, stagedObjects)
	if err != nil {
		return err
	}
	ourOne, theirOne, err := r.compare(ctx, round, 1)
	if err != nil {
		return fmt.Errorf("one object: %w", err)
	}
	r.report(round, ours, theirs, ourOne.took-theirOne.took)
	return nil
}

// compare compares both on the same objects. They take turns in who is first.
func (r *redshiftRow) compare(ctx context.Context, round, objects int) (_, _ filled, err error) {
	staged, err := r.stage(ctx, r.installation, oneStream, objects)
	if err != nil {
		return filled{}, filled{}, err
	}
	ours, theirs := &filling{table: tableHydrant, load: r.hydrant}, &filling{table: tableByHand, load: r.byHand}
	order := []*filling{theirs, ours}
	if round%2 == 1 {
		slices.Reverse(order)
	}
	for _, f := range order {
		if f.did, err = r.fillTable(ctx, *f, staged); err != nil {
			return filled{}, filled{}, fmt.Errorf("%s: %w", f.table, err)
		}
	}
	return ours.did, theirs.did, r.clean(ctx)
}

// clean removes what a round has left.
func (r *redshiftRow) clean(ctx context.Context) error {
	client := r.s3Client()
	found, err := listObjects(ctx, client)
	if err != nil {
		return err
	}
	if err := deleteObjects(ctx, client, found); err != nil {
		return err
	}
	return r.empty(ctx)
}

// report adds what a round came to. Round 0 warms up.
func (r *redshiftRow) report(round int, ours, theirs filled, longer time.Duration) {
	if round == 0 {
		r.progress.say("warmed up: hydrant-redshift %.0f, by hand %.0f MB/s", ours.rate(), theirs.rate())
		return
	}
	row := r.row
	row.Ratio("ratio", "", report.AtLeast(0.7)).Add(ours.rate() / theirs.rate())
	row.Figure(redshiftHydrant, "MB/s").Add(ours.rate())
	row.Figure(redshiftByHand, "MB/s").Add(theirs.rate())
	row.Figure("COPYs of hydrant-redshift", "").Add(float64(ours.copies))
	row.Figure("staged objects", "").Add(float64(ours.objects))
	row.Figure("one object: longer than by hand", "ms").Add(milliseconds(longer))
	row.Figure("CPU a GB: hydrant-redshift", "s/GB").Add(ours.perGB(ours.cpu))
	row.Beside("CPU a GB: stand-in, for hydrant-redshift", "s/GB").Add(ours.perGB(ours.standIn))
	row.Beside("CPU a GB: stand-in, by hand", "s/GB").Add(theirs.perGB(theirs.standIn))
	row.Beside("CPU a GB: PostgreSQL, for hydrant-redshift", "s/GB").Add(ours.perGB(ours.postgres))
	row.Beside("CPU a GB: PostgreSQL, by hand", "s/GB").Add(theirs.perGB(theirs.postgres))
	row.Beside("start of hydrant-redshift, not counted", "s").Add(ours.start.start.Seconds())
	r.progress.say("round %d of %d: %s", round, r.rounds, row.Last("ratio", redshiftHydrant, redshiftByHand))
}
