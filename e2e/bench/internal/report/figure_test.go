package report_test

import (
	"math"
	"testing"
	"time"

	"hydrant/e2e/bench/internal/report"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"none", nil, 0},
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 3, 2}, 2.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := report.Median(c.values); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestMedianLeavesTheOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	report.Median(values)
	if values[0] != 3 || values[1] != 1 {
		t.Errorf("the rounds are now %v", values)
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for n := range hundred {
		hundred[n] = time.Duration(n + 1)
	}
	for _, c := range []struct {
		name    string
		sorted  []time.Duration
		percent float64
		want    time.Duration
	}{
		{"none", nil, 99, 0},
		{"one", hundred[:1], 99, 1},
		{"p50 of a hundred", hundred, 50, 50},
		{"p99 of a hundred", hundred, 99, 99},
		{"p99 of ten is the last", hundred[:10], 99, 10},
		{"p0 is the first", hundred, 0, 1},
		{"p100 is the last", hundred, 100, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := report.Percentile(c.sorted, c.percent); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestSlope(t *testing.T) {
	for _, c := range []struct {
		name string
		x, y []float64
		want float64
	}{
		{"too few", []float64{1}, []float64{2}, 0},
		{"all at one time", []float64{1, 1, 1}, []float64{1, 2, 3}, 0},
		{"a line", []float64{0, 1, 2, 3}, []float64{5, 7, 9, 11}, 2},
		{"falling", []float64{0, 2, 4}, []float64{6, 3, 0}, -1.5},
		{"steps of a line", []float64{1, 1.1, 2, 2.1, 3, 3.1}, []float64{10, 20, 30, 40, 50, 60}, 20.3},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := report.Slope(c.x, c.y); math.Abs(got-c.want) > 0.01 {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestFinish(t *testing.T) {
	row := &report.Row{Name: "demo"}
	row.Beside("disk", "MB/s").Add(300)
	good, bad := row.Ratio("good", "", report.AtLeast(0.8)), row.Goal("bad", "ms", report.AtMost(100))
	for _, v := range []float64{0.7, 0.8, 0.9} {
		good.Add(v)
		bad.Add(1000 * v)
	}
	empty := row.Ratio("empty", "", report.AtLeast(1))
	row.Finish()
	if good.Median != 0.8 || good.Least != 0.7 || good.Most != 0.9 || good.Reached == nil || !*good.Reached {
		t.Errorf("good is %+v", good)
	}
	if bad.Reached == nil || *bad.Reached {
		t.Errorf("bad is %+v", bad)
	}
	if empty.Reached != nil {
		t.Errorf("empty is %+v", empty)
	}
	if last := row.Figures[len(row.Figures)-1]; last.Name != "disk" {
		t.Errorf("the last figure is %s, want the disk's", last.Name)
	}
}
