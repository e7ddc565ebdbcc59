// Package report keeps what a run measured: figures with a value a round, their median and spread, what they are to reach,
// and how they compare with those of the run before.
package report

import (
	"math"
	"slices"
	"time"
)

// Target is what the median of a figure is to reach.
type Target struct {
	Bound float64 `json:"bound"`
	// AtMost is set where less is better.
	AtMost bool `json:"at_most,omitempty"`
}

// AtLeast is a target from which on a figure is good.
func AtLeast(bound float64) *Target { return &Target{Bound: bound} }

// AtMost is a target up to which a figure is good.
func AtMost(bound float64) *Target { return &Target{Bound: bound, AtMost: true} }

func (t Target) reached(value float64) bool {
	if t.AtMost {
		return value <= t.Bound
	}
	return value >= t.Bound
}

// Figure is something measured, once or once a round.
type Figure struct {
	// Line is set where a row compares several of a kind, each with the same figures: which of them.
	Line   string    `json:"line,omitempty"`
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Rounds []float64 `json:"rounds"`
	// Ratio is set for what is taken side by side in one run. It is what can be compared with another run.
	Ratio  bool    `json:"ratio,omitempty"`
	Target *Target `json:"target,omitempty"`
	// Beside is set for what is not of the row but was measured with it, such as the disk.
	Beside bool `json:"beside,omitempty"`

	// What follows is made of the rounds by Finish.
	Median  float64 `json:"median"`
	Least   float64 `json:"least"`
	Most    float64 `json:"most"`
	Reached *bool   `json:"reached,omitempty"`
}

// Add adds a round's value.
func (f *Figure) Add(value float64) { f.Rounds = append(f.Rounds, value) }

func (f *Figure) finish() {
	if len(f.Rounds) == 0 {
		return
	}
	f.Median, f.Least, f.Most = Median(f.Rounds), slices.Min(f.Rounds), slices.Max(f.Rounds)
	if f.Target != nil {
		reached := f.Target.reached(f.Median)
		f.Reached = &reached
	}
}

// Median is the middle value, or the mean of the middle two; 0 of none.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Percentile is the value below or at which so many of a hundred are; 0 of none. The durations are ascending.
func Percentile(sorted []time.Duration, percent float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(float64(len(sorted)) * percent / 100))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Slope is that of the straight line with the least squares through points: what y grows by for each 1 of x. It is 0 of
// fewer than two points.
func Slope(x, y []float64) float64 {
	n := float64(len(x))
	if n < 2 {
		return 0
	}
	var sumX, sumY float64
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
	}
	meanX, meanY := sumX/n, sumY/n
	var both, square float64
	for i := range x {
		both += (x[i] - meanX) * (y[i] - meanY)
		square += (x[i] - meanX) * (x[i] - meanX)
	}
	if square == 0 {
		return 0
	}
	return both / square
}
