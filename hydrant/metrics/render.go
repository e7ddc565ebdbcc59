package metrics

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hydrant/hydrant/internal/text"
	"hydrant/shared/datapoints"
	"hydrant/shared/names"
)

// encode writes the report as JSON.
func (r Report) encode(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// render writes the report for people: the delivery stream's part, and the account's.
func (r Report) render(ascii bool) string {
	var b strings.Builder
	var of []names.Stream
	if r.Stream != "" {
		of = append(of, r.Stream)
	}
	if r.Stream == "" || len(r.Metrics) > 0 && r.Metrics[len(r.Metrics)-1].Stream == "" {
		of = append(of, "")
	}
	for i, stream := range of {
		if i > 0 {
			b.WriteByte('\n')
		}
		r.section(&b, stream, ascii)
	}
	if r.Unreadable > 0 {
		fmt.Fprintf(&b, "\n%d datapoints are left out: this version of Hydrant cannot read them\n", r.Unreadable)
	}
	return b.String()
}

func (r Report) section(b *strings.Builder, stream names.Stream, ascii bool) {
	name := string(stream)
	if name == "" {
		name = "the account"
	}
	var metrics []Metric
	for _, m := range r.Metrics {
		if m.Stream == stream {
			metrics = append(metrics, m)
		}
	}
	span := r.From.Format("2006-01-02 15:04") + " to " + r.To.Format("2006-01-02 15:04") + " UTC"
	if len(metrics) == 0 {
		fmt.Fprintf(b, "no datapoints of %s, %s\nA minute is written when it is over, if it had anything to count.\n", name, span)
		return
	}
	fmt.Fprintf(b, "%s, %s\n\n", name, span)
	table(b, metrics)
	for _, m := range metrics {
		b.WriteByte('\n')
		r.chart(b, m, ascii)
	}
}

func table(b *strings.Builder, metrics []Metric) {
	rows := [][]string{{"METRIC", "SAMPLES", "SUM", "AVERAGE", "MIN", "MAX"}}
	for _, m := range metrics {
		rows = append(rows, []string{
			m.Metric, text.Count(int64(m.Samples)), sum(m), value(m.Unit, m.Average), value(m.Unit, m.Min), value(m.Unit, m.Max),
		})
	}
	widths := make([]int, len(rows[0]))
	for _, cells := range rows {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, cells := range rows {
		fmt.Fprintf(b, "%-*s", widths[0], cells[0])
		for i, cell := range cells[1:] {
			fmt.Fprintf(b, "  %*s", widths[i+1], cell)
		}
		b.WriteByte('\n')
	}
}

// sum is a dash where adding up means nothing: of times. That of a ratio is a number.
func sum(m Metric) string {
	switch m.Unit {
	case datapoints.Milliseconds, datapoints.Seconds:
		return "-"
	case datapoints.None:
		return text.Count(int64(math.Round(m.Sum)))
	default:
		return value(m.Unit, m.Sum)
	}
}

// value writes a value in its unit.
func value(unit datapoints.Unit, v float64) string {
	switch unit {
	case datapoints.Bytes:
		return text.Size(int64(math.Round(v)))
	case datapoints.Milliseconds:
		if v >= 1000 {
			return digits(v/1000) + " s"
		}
		return digits(v) + " ms"
	case datapoints.Seconds:
		return text.Duration(time.Duration(v * float64(time.Second)))
	case datapoints.None:
		return digits(100*v) + " %"
	default:
		if v == math.Trunc(v) || v >= 100 {
			return text.Count(int64(math.Round(v)))
		}
		return digits(v)
	}
}

// digits writes three of them, without zeros behind the point.
func digits(v float64) string {
	decimals := 2
	switch {
	case v >= 99.95:
		decimals = 0
	case v >= 9.995:
		decimals = 1
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
