package report

import (
	"slices"
	"strings"
	"time"

	"hydrant/e2e/bench/internal/machine"
)

// Row is one line of the table of what is to be reached, with all that was measured for it.
type Row struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Figures []*Figure `json:"figures"`
	Notes   []string  `json:"notes,omitempty"`
	// Error is why the row could not be measured.
	Error string `json:"error,omitempty"`

	Measured time.Time    `json:"measured"`
	Seconds  float64      `json:"seconds"` // it took
	Version  string       `json:"version"`
	Machine  machine.Info `json:"machine"`
}

// Figure returns the row's figure of a name, making it behind the others if it is not there.
func (r *Row) Figure(name, unit string) *Figure {
	if f := r.find(name); f != nil {
		return f
	}
	f := &Figure{Name: name, Unit: unit}
	r.Figures = append(r.Figures, f)
	return f
}

// Ratio is Figure for what is compared side by side. target may be nil.
func (r *Row) Ratio(name, unit string, target *Target) *Figure {
	f := r.Figure(name, unit)
	f.Ratio, f.Target = true, target
	return f
}

// Goal is Figure with a target that is not a ratio.
func (r *Row) Goal(name, unit string, target *Target) *Figure {
	f := r.Figure(name, unit)
	f.Target = target
	return f
}

// Beside is Figure for what was measured beside the row's own figures; it comes behind them.
func (r *Row) Beside(name, unit string) *Figure {
	f := r.Figure(name, unit)
	f.Beside = true
	return f
}

// Cell is Figure for one of several lines that have the same figures.
func (r *Row) Cell(line, name, unit string) *Figure {
	if f := r.findIn(line, name); f != nil {
		return f
	}
	f := &Figure{Line: line, Name: name, Unit: unit}
	r.Figures = append(r.Figures, f)
	return f
}

func (r *Row) find(name string) *Figure { return r.findIn("", name) }

func (r *Row) findIn(line, name string) *Figure {
	for _, f := range r.Figures {
		if f.Line == line && f.Name == name {
			return f
		}
	}
	return nil
}

// Note adds a sentence. One that is there already is not repeated.
func (r *Row) Note(text string) {
	for _, n := range r.Notes {
		if n == text {
			return
		}
	}
	r.Notes = append(r.Notes, text)
}

// Finish computes what the figures' rounds come to.
func (r *Row) Finish() {
	slices.SortStableFunc(r.Figures, func(a, b *Figure) int {
		switch {
		case a.Beside == b.Beside:
			return 0
		case a.Beside:
			return 1
		}
		return -1
	})
	for _, f := range r.Figures {
		f.finish()
	}
}

// Last shows the newest value of some figures, for a line of progress.
func (r *Row) Last(figures ...string) string {
	var parts []string
	for _, name := range figures {
		if f := r.find(name); f != nil && len(f.Rounds) > 0 {
			parts = append(parts, strings.TrimSpace(name+" "+number(f.Rounds[len(f.Rounds)-1])+" "+f.Unit))
		}
	}
	return strings.Join(parts, "; ")
}

// LastIn is Last for the figures of a line.
func (r *Row) LastIn(line string, figures ...string) string {
	part := &Row{}
	for _, name := range figures {
		if f := r.findIn(line, name); f != nil {
			part.Figures = append(part.Figures, &Figure{Name: f.Name, Unit: f.Unit, Rounds: f.Rounds})
		}
	}
	return part.Last(figures...)
}
