package report_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hydrant/e2e/bench/internal/machine"
	"hydrant/e2e/bench/internal/report"
)

func demo(ratio float64, cpus int) *report.Row {
	row := &report.Row{Name: "demo", Title: "a row", Machine: machine.Info{CPUs: cpus, Model: "Model"}}
	row.Ratio("ratio", "", report.AtLeast(0.8)).Add(ratio)
	row.Figure("Hydrant", "MB/s").Add(200 * ratio)
	row.Finish()
	return row
}

func TestTable(t *testing.T) {
	failed := &report.Row{Name: "broken", Title: "another", Error: "NATS has ended"}
	for _, c := range []struct {
		name   string
		row    *report.Row
		before report.Results
		want   []string
		not    []string
	}{
		{"first run", demo(0.9, 2), report.Results{}, []string{"demo: a row", "0.90", "≥ 0.80 yes", "Hydrant, MB/s", "180"}, []string{"was", "NO"}},
		{"worse than before", demo(0.6, 2), report.Results{Rows: []*report.Row{demo(0.8, 2)}}, []string{"≥ 0.80 NO", "-25 % (was 0.80)"}, []string{"machine"}},
		{"on another machine", demo(0.8, 2), report.Results{Rows: []*report.Row{demo(0.8, 4)}}, []string{"+0 %", "another machine: 4 × Model"}, nil},
		{"failed", failed, report.Results{}, []string{"broken: another", "NOT MEASURED: NATS has ended"}, []string{"median"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			if err := report.Table(&out, []*report.Row{c.row}, c.before); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the table lacks %q:\n%s", want, &out)
				}
			}
			for _, not := range c.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("the table has %q:\n%s", not, &out)
				}
			}
		})
	}
}

func TestChangeOf(t *testing.T) {
	now := demo(0.9, 2)
	for _, c := range []struct {
		name   string
		figure *report.Figure
		before *report.Row
		want   float64
		ok     bool
	}{
		{"never measured", now.Figures[0], nil, 0, false},
		{"not a ratio", now.Figures[1], demo(0.6, 2), 0, false},
		{"a new figure", now.Figures[0], &report.Row{Name: "demo"}, 0, false},
		{"better", now.Figures[0], demo(0.6, 2), 50, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := report.ChangeOf(c.figure, c.before)
			if ok != c.ok || got.Percent < c.want-1e-6 || got.Percent > c.want+1e-6 {
				t.Errorf("got %+v, %t; want %v %%, %t", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestResultsKeepTheNewestOfEachRow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "bench.json")
	none, err := report.Load(path)
	if err != nil || len(none.Rows) != 0 {
		t.Fatalf("a file that does not exist gives %+v, %v", none, err)
	}
	other := demo(0.5, 2)
	other.Name = "other"
	if err := none.With([]*report.Row{demo(0.7, 2), other}).Save(path); err != nil {
		t.Fatal(err)
	}
	first, err := report.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	broken := &report.Row{Name: "other", Error: "broken"}
	if err := first.With([]*report.Row{demo(0.9, 2), broken}).Save(path); err != nil {
		t.Fatal(err)
	}
	second, err := report.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Row("demo").Figures[0].Median; len(second.Rows) != 2 || got != 0.9 {
		t.Errorf("%d rows, demo is %v; want 2, and 0.9", len(second.Rows), got)
	}
	if got := second.Row("other").Figures[0].Median; got != 0.5 {
		t.Errorf("a row that failed replaced what was measured: %v", got)
	}
	if second.Row("third") != nil {
		t.Error("there is a third row")
	}
}

func TestLoadRefusesWhatIsNoResult(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := report.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %v, want one that names the file", err)
	}
}
