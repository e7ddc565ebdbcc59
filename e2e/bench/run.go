package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"hydrant/e2e/bench/internal/load"
	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
	"hydrant/e2e/internal/deploy"
)

const (
	seed = 20161123

	// buildTime is about what building takes when most of it is in Go's cache.
	buildTime = 15 * time.Second

	// leastFree is the space that a run may need: the log and the objects of the longest load, and what it is compared with.
	leastFree = 12 << 30
)

// errNotMeasured is returned when a row could not be measured; the table says why.
var errNotMeasured = errors.New("not every row was measured")

// bench is one run.
type bench struct {
	options
	root     string // of the run's files
	programs deploy.Programs
	data     *load.Data
	machine  machine.Info
	version  string
	progress *progress

	delivered128 *deliveredRun // measured once, for all rows that look at it
}

func run(ctx context.Context, o options, out, errs io.Writer) error {
	rows, err := chosen(o.rows)
	if err != nil {
		return err
	}
	if o.list {
		return listRows(out, rows, o)
	}
	before, err := report.Load(o.results)
	if err != nil {
		return fmt.Errorf("-results: %w; remove it, or name another file", err)
	}
	b, err := newBench(o, rows, errs)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.root) }()
	if err := b.build(ctx); err != nil {
		return err
	}
	measured := b.measure(ctx, rows)
	return b.finish(measured, before, out)
}

func newBench(o options, rows []spec, errs io.Writer) (*bench, error) {
	if err := os.MkdirAll(o.dir, 0o750); err != nil {
		return nil, err
	}
	if err := machine.RefuseMemory(o.dir); err != nil {
		return nil, fmt.Errorf("%w: name a directory on a disk with -dir", err)
	}
	free, err := machine.FreeBytes(o.dir)
	if err != nil {
		return nil, err
	}
	if free < leastFree {
		return nil, fmt.Errorf("%s has %d GB free, and a run may need %d: name a directory on another disk with -dir",
			o.dir, free>>30, leastFree>>30)
	}
	root, err := os.MkdirTemp(o.dir, "hydrant-bench-")
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	p := &progress{out: errs, began: time.Now(), estimate: buildTime}
	for _, r := range rows {
		p.estimate += r.estimate(o)
	}
	return &bench{options: o, root: root, data: load.NewData(seed), machine: machine.Describe(), progress: p}, nil
}

// build builds the programs, and finds out of which version.
func (b *bench) build(ctx context.Context) (err error) {
	b.progress.say("building the programs")
	describe := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty")
	if version, err := describe.Output(); err == nil {
		b.version = strings.TrimSpace(string(version))
	}
	b.programs, err = deploy.Build(ctx, filepath.Join(b.root, "bin"), "")
	return err
}

// measure measures one row after the other. A row that fails says so, and the others go on.
func (b *bench) measure(ctx context.Context, rows []spec) []*report.Row {
	var measured []*report.Row
	for _, s := range rows {
		began := time.Now()
		row := &report.Row{Name: s.name, Title: s.title, Measured: began.UTC(), Version: b.version, Machine: b.machine}
		b.progress.row = s.name
		if err := s.measure(ctx, b, row); err != nil {
			row.Error = err.Error()
			b.progress.say("NOT MEASURED: %v", err)
		}
		row.Seconds = time.Since(began).Seconds()
		row.Finish()
		measured = append(measured, row)
		if ctx.Err() != nil {
			break
		}
	}
	b.progress.row = ""
	b.progress.say("done")
	return measured
}

// finish prints and saves what was measured.
func (b *bench) finish(rows []*report.Row, before report.Results, out io.Writer) error {
	err := errors.Join(before.With(rows).Save(b.results), b.print(rows, before, out))
	for _, row := range rows {
		if row.Error != "" {
			return errors.Join(err, errNotMeasured)
		}
	}
	return err
}

func (b *bench) print(rows []*report.Row, before report.Results, out io.Writer) error {
	switch {
	case b.jsonForm:
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(report.Results{Rows: rows})
	case b.markdown:
		return report.Markdown(out, rows)
	}
	return report.Table(out, rows, before)
}

// place is a directory for an installation of a row.
func (b *bench) place(name string) string { return filepath.Join(b.root, name) }

// ended closes an installation and adds what went wrong with it to the row's error.
func ended(i *installation, err *error) { *err = errors.Join(*err, i.close()) }

// deliverLength is the length of a load while everything is delivered: a minute in five rounds.
func (o options) deliverLength() time.Duration { return 4 * o.length }

// startingTime is about what starting an installation takes, and ending it.
const startingTime = 3 * time.Second

// everyRound is the time that rounds of so much take, with the disk measured in each, and a start before them.
func (o options) everyRound(round time.Duration) time.Duration {
	return startingTime + time.Duration(o.rounds)*(round+o.diskLength())
}
