package faults

import (
	"context"
	"sync"
	"testing"

	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

// forcing is a proxy that can be made to put a fault in.
type forcing interface {
	Force(fault faultproxy.Fault, kind faultproxy.Kind) (had <-chan struct{}, withdraw func())
}

// force has the next request of a kind that a fault fits get it, at whichever proxy, if there is one within the event's length.
func (r *rig) force(t *testing.T, event schedule.Event, fault faultproxy.Fault, kind faultproxy.Kind, proxies ...forcing) {
	ctx, cancel := context.WithTimeout(t.Context(), event.Length)
	defer cancel()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, proxy := range proxies {
		had, withdraw := proxy.Force(fault, kind)
		waiting.Go(func() {
			defer withdraw()
			select {
			case <-had:
				r.went(event.Action)
				t.Logf("%s: went off", event.Action)
				cancel() // the others need not
			case <-ctx.Done():
			}
		})
	}
}
