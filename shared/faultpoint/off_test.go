//go:build !faults

package faultpoint_test

import (
	"os"
	"path/filepath"
	"testing"

	"hydrant/shared/faultpoint"
)

// What is shipped passes every mark, armed or not, and costs nothing.
func TestNothingHappens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fault")
	if err := os.WriteFile(path, []byte("a kill"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HYDRANT_FAULTPOINT", path)
	if n := testing.AllocsPerRun(10, func() { faultpoint.Hit("a") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}
