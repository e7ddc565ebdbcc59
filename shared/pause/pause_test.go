package pause

import (
	"context"
	"testing"
	"time"
)

func TestFor(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	if !For(t.Context(), 10*time.Millisecond) || time.Since(begun) < 10*time.Millisecond {
		t.Errorf("it ended after %v", time.Since(begun))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if For(ctx, time.Hour) {
		t.Error("it does not say that the context is over")
	}
}
