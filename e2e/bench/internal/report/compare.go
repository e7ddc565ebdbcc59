package report

// Change is how the median of a ratio differs from the one of the run before.
type Change struct {
	Before  float64 // its median
	Percent float64
}

// ChangeOf compares a row's figure with the same figure of a row measured before, which may be nil. ok is false where
// there is nothing to compare.
func ChangeOf(f *Figure, before *Row) (c Change, ok bool) {
	if before == nil || !f.Ratio || len(f.Rounds) == 0 {
		return Change{}, false
	}
	old := before.findIn(f.Line, f.Name)
	if old == nil || old.Unit != f.Unit || old.Median == 0 {
		return Change{}, false
	}
	return Change{Before: old.Median, Percent: 100 * (f.Median/old.Median - 1)}, true
}

// Elsewhere says on which other machine a row was measured before, or nothing if it was one like this.
func Elsewhere(row, before *Row) string {
	if before == nil || row.Machine.Same(before.Machine) {
		return ""
	}
	return "measured before on another machine: " + before.Machine.Short() + "; this one: " + row.Machine.Short()
}
