package metrics

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"hydrant/shared/datapoints"
)

// Levels of a chart's columns, from nothing to the most. A period without samples is blank.
const (
	blocks = "▁▂▃▄▅▆▇█"
	plain  = "_.:-=+*#"
)

// statistic is what of each period a chart shows, by what a metric is: what adds up is added up, of latencies and ratios
// it is the average, and of ages the largest.
func statistic(unit datapoints.Unit) (name string, of func(Statistics) float64) {
	switch unit {
	case datapoints.Milliseconds, datapoints.None:
		return "average", func(s Statistics) float64 { return s.Average }
	case datapoints.Seconds:
		return "most", func(s Statistics) float64 { return s.Max }
	default:
		return "sum", func(s Statistics) float64 { return s.Sum }
	}
}

// columns are the periods of a chart, several together where there are too many for a line.
type columns struct {
	of   []Statistics
	span time.Duration
}

func (r Report) columns(m Metric) columns {
	period := time.Duration(r.PeriodSeconds) * time.Second
	periods := int(r.To.Sub(r.From) / period)
	together := (periods + mostColumns) / (mostColumns + 1) // the last period goes on, and has a column too
	c := columns{of: make([]Statistics, (periods+together-1)/together), span: time.Duration(together) * period}
	for _, p := range m.Points {
		c.of[int(p.Time.Sub(r.From)/c.span)].add(datapoints.Datapoint{Samples: p.Samples, Sum: p.Sum, Min: p.Min, Max: p.Max})
	}
	return c
}

// chart draws a metric as one line, with what is lowest and highest in it, and its times.
func (r Report) chart(b *strings.Builder, m Metric, ascii bool) {
	c := r.columns(m)
	name, of := statistic(m.Unit)
	lowest, highest := math.Inf(1), 0.0
	for _, s := range c.of {
		if s.Samples > 0 {
			lowest, highest = min(lowest, of(s)), max(highest, of(s))
		}
	}
	fmt.Fprintf(b, "%s, %s of each %s: %s to %s\n", m.Metric, name, short(c.span), value(m.Unit, lowest), value(m.Unit, highest))
	levels := []rune(blocks)
	if ascii {
		levels = []rune(plain)
	}
	var line strings.Builder
	for _, s := range c.of {
		if s.Samples == 0 {
			line.WriteByte(' ')
		} else {
			line.WriteRune(levels[level(of(s), highest, len(levels))])
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	b.WriteString(axis(r.From, r.To, len(c.of), c.span) + "\n")
}

// level is the height of v: the least is for nothing alone, so that little can be told from nothing.
func level(v, highest float64, levels int) int {
	if v <= 0 || highest <= 0 {
		return 0
	}
	return min(1+int(v/highest*float64(levels-1)), levels-1)
}

// axis writes the times at which the first column begins, one in the middle, and the last, each under its column or beside
// it.
func axis(from, to time.Time, n int, span time.Duration) string {
	form := "15:04"
	if to.Sub(from) > 24*time.Hour {
		form = "01-02 15:04"
	}
	var line strings.Builder
	width := 0
	for _, column := range []int{0, n / 2, n - 1} {
		label := from.Add(time.Duration(column) * span).Format(form)
		if column == n-1 {
			column = max(n-len(label), 0) // it ends where the line ends
		}
		if width > 0 && column < width+2 {
			continue // no room
		}
		line.WriteString(strings.Repeat(" ", column-width) + label)
		width = utf8.RuneCountInString(line.String())
	}
	return line.String()
}

// short writes a period without the zeros that a duration's own form ends with.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
