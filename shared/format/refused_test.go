package format_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"hydrant/shared/format"
)

func TestRefused(t *testing.T) {
	var r format.Refused
	newer := format.Check(2, 1)
	r.Note("b", fmt.Errorf("descriptor: %w", newer))
	r.Note("a", newer)
	r.Note("c", errors.New("something else"))
	want := []string{"a: " + newer.Error(), "b: descriptor: " + newer.Error()}
	if got := r.List(); !slices.Equal(got, want) {
		t.Errorf("listed are %q", got)
	}
	r.Note("b", nil)
	r.Note("a", errors.New("it cannot be read at all"))
	if got := r.List(); len(got) > 0 {
		t.Errorf("still listed are %q", got)
	}
}

func TestNobodyIsTold(t *testing.T) {
	var r *format.Refused
	r.Note("a", format.Check(2, 1))
	if got := r.List(); len(got) > 0 {
		t.Errorf("listed are %q", got)
	}
}

// TestOneOfSeveral has things of one name, of which some are read while another waits, until that can be read as well.
func TestOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rest = time.Minute
		var r format.Refused
		for range 5 {
			r.Note("a", format.Check(2, 1))
			<-time.After(rest)
			r.Read("a", rest)
			if len(r.List()) != 1 {
				t.Fatal("it is forgotten while something of it waits")
			}
		}
		<-time.After(rest + 1)
		r.Read("a", rest)
		if got := r.List(); len(got) > 0 {
			t.Errorf("still listed are %q", got)
		}
		r.Read("b", rest) // of which nothing was refused
	})
}
