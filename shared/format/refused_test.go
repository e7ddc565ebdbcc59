package format_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

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
