package faultproxy

import "slices"

// forced is a fault that requests of a kind get until one has had it.
type forced struct {
	fault Fault
	kind  Kind
	had   chan struct{}
}

// Force has requests of a kind get a fault, until one that it fits has had it, when the channel is closed, or until it is
// withdrawn. While faults are off it waits.
func (g *gate) Force(fault Fault, kind Kind) (had <-chan struct{}, withdraw func()) {
	f := &forced{fault, kind, make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forced = append(g.forced, f)
	return f.had, func() { g.withdraw(f) }
}

func (g *gate) withdraw(f *forced) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forced = slices.DeleteFunc(g.forced, func(other *forced) bool { return other == f })
}

// nextForced is the fault that a request of the kind is to get, or nil. It goes to the end of the line, so that one which fits no
// request keeps no other from its own. It is called with the gate locked.
func (g *gate) nextForced(kind Kind) *forced {
	i := slices.IndexFunc(g.forced, func(f *forced) bool { return f.kind == kind })
	if i < 0 {
		return nil
	}
	f := g.forced[i]
	g.forced = append(slices.Delete(g.forced, i, i+1), f)
	return f
}

// fell notes that a request had a fault, which may be what it was forced for. It is called with the gate locked.
func (g *gate) fell(d decision) {
	g.forced = slices.DeleteFunc(g.forced, func(f *forced) bool {
		it := f.fault == d.fault && f.kind == d.kind
		if it {
			close(f.had)
		}
		return it
	})
}
