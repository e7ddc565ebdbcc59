package delivery

import (
	"testing"

	"hydrant/shared/batch"
)

// TestFailuresApart keeps failures for a destination that no Runner feeds: since when is that of the first, whoever writes on.
func TestFailuresApart(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	retries, err := OpenRetries(t.Context(), install(t).js)
	check(t, err)
	const id = batch.ID("redshift.x.s3.0.1-2")
	none, err := retries.Read(t.Context(), id)
	check(t, err)
	if none.Any() || none.Attempts != 0 {
		t.Errorf("before any failure there is %+v", none)
	}
	write := func(f Failures, progress []byte, want bool) {
		t.Helper()
		stored, err := retries.Write(t.Context(), "a", id, f, progress)
		check(t, err)
		if stored != want {
			t.Errorf("stored is %v", stored)
		}
	}
	write(none, []byte("alone"), true)
	write(none, []byte("overtaken"), false)
	first, err := retries.Read(t.Context(), id)
	check(t, err)
	write(first, nil, true)
	second, err := retries.Read(t.Context(), id)
	check(t, err)
	if !second.Since.Equal(first.Since) || second.Attempts != 2 || string(second.Progress) != "alone" || second.Damaged != nil || second.before.Stream != "a" {
		t.Errorf("after two failures there is %+v, and first was %+v", second, first)
	}
	check(t, retries.Remove(t.Context(), id))
	gone, err := retries.Read(t.Context(), id)
	check(t, err)
	if gone.Any() {
		t.Errorf("after the outcome there is %+v", gone)
	}
}
