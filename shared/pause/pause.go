// Package pause is waiting that ends with a context.
package pause

import (
	"context"
	"time"
)

// For waits for so long, and tells whether the context still goes on.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
