package main

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hydrant/e2e/bench/internal/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a run without programs.
func fake(t *testing.T, json bool) (*bench, *strings.Builder) {
	var progressed strings.Builder
	o := options{rounds: 1, length: time.Second, results: filepath.Join(t.TempDir(), "bench.json"), jsonForm: json}
	return &bench{options: o, progress: &progress{out: &progressed, began: time.Now(), estimate: time.Minute}}, &progressed
}

func row(name string, fails error) spec {
	return spec{name: name, title: "the row " + name, measure: func(_ context.Context, _ *bench, row *report.Row) error {
		row.Ratio("ratio", "", report.AtLeast(1)).Add(0.5)
		return fails
	}}
}

func TestARowThatFailsSaysSoAndTheOthersGoOn(t *testing.T) {
	b, progressed := fake(t, false)
	rows := b.measure(t.Context(), []spec{row("one", errors.New("NATS has ended")), row("two", nil)})
	var out strings.Builder
	if err := b.finish(rows, report.Results{}, &out); !errors.Is(err, errNotMeasured) {
		t.Errorf("the error is %v", err)
	}
	for _, want := range []string{"one: the row one", "NOT MEASURED: NATS has ended", "two: the row two"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &out)
		}
	}
	if !strings.Contains(progressed.String(), "[0:00 of about 1:00] one: NOT MEASURED") {
		t.Errorf("progress is:\n%s", progressed)
	}
}

func TestSlownessIsNoFailure(t *testing.T) {
	b, _ := fake(t, false)
	var out strings.Builder
	if err := b.finish(b.measure(t.Context(), []spec{row("slow", nil)}), report.Results{}, &out); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "≥ 1.00 NO") {
		t.Errorf("the table is:\n%s", &out)
	}
}

func TestJSON(t *testing.T) {
	b, _ := fake(t, true)
	var out strings.Builder
	if err := b.finish(b.measure(t.Context(), []spec{row("one", nil)}), report.Results{}, &out); err != nil {
		t.Fatal(err)
	}
	var got report.Results
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	saved, err := report.Load(b.results)
	if err != nil || len(saved.Rows) != 1 || len(got.Rows) != 1 || got.Rows[0].Figures[0].Median != 0.5 {
		t.Errorf("printed %+v, saved %+v, %v", got, saved, err)
	}
}

func TestAnInterruptEndsTheRun(t *testing.T) {
	b, _ := fake(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if rows := b.measure(ctx, []spec{row("one", ctx.Err()), row("two", nil)}); len(rows) != 1 {
		t.Errorf("%d rows were begun", len(rows))
	}
}

func TestPoll(t *testing.T) {
	asked := 0
	yes := func() (bool, error) { asked++; return asked == 3, nil }
	if err := poll(t.Context(), time.Millisecond, yes); err != nil || asked != 3 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	broken := errors.New("broken")
	if err := poll(t.Context(), time.Hour, func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := poll(ctx, time.Hour, func() (bool, error) { return false, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}
