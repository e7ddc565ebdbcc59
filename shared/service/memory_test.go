package service

import (
	"runtime/debug"
	"testing"
)

// TestBoundMemory makes sure that what the operator sets is left alone.
func TestBoundMemory(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetMemoryLimit(limit); debug.SetGCPercent(percent) })
	for _, c := range []struct {
		name, memory, collector string
		set                     bool
	}{
		{"nothing is set", "", "", true},
		{"a limit is set", "1GiB", "", false},
		{"the collector is set", "", "50", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("GOMEMLIMIT", c.memory)
			t.Setenv("GOGC", c.collector)
			debug.SetMemoryLimit(1 << 40)
			BoundMemory(1 << 30)
			if set := debug.SetMemoryLimit(-1) == 1<<30; set != c.set {
				t.Errorf("the limit is set: %t, want %t", set, c.set)
			}
		})
	}
}
