package objectstore

import (
	"context"
	"errors"
	"testing"
)

func TestBuffers(t *testing.T) {
	b := NewBuffers(Settings{PartSize: 10, PartMemory: 25})
	first, err := b.get(t.Context())
	check(t, err)
	_, err = b.get(t.Context())
	check(t, err)
	wantEqual(t, "how many are lent", b.Lent(), 2)
	gone := errors.New("nobody waits any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := b.get(ctx); !errors.Is(err, gone) {
		t.Errorf("a third was lent, or %v", err)
	}
	b.put(append(first, 1, 2, 3))
	again, err := b.get(t.Context())
	check(t, err)
	wantEqual(t, "what is in one that came back", len(again), 0)
	wantEqual(t, "its size", cap(again), 10)
	wantEqual(t, "how many were made", b.made, 2)
}
