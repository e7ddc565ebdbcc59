package faults

import (
	"context"
	"sync"
	"testing"
	"time"

	"hydrant/e2e/internal/faultproxy"
	"hydrant/e2e/internal/schedule"
)

// longPause is long enough for another to have the batch of a sink that is paused.
const longPause = ackWait + 2*time.Second

// pauseInBulk stops a sink whose bulk request is on its way, if there is one within the event's length, for as long again or for
// a long pause.
func (r *rig) pauseInBulk(t *testing.T, event schedule.Event) {
	p, proxy := r.parts[event.Targets[0].Name], r.search[event.Targets[0].Name]
	paused := make(chan struct{})
	var once sync.Once
	proxy.OnRequest(func(at faultproxy.Phase, what faultproxy.Kind, _ string) {
		if at == faultproxy.BeforeForward && what == faultproxy.Bulk {
			once.Do(func() {
				if err := r.pause(p); err != nil {
					t.Errorf("%s: %v", event, err)
				}
				close(paused)
			})
		}
	})
	happened := within(t.Context(), event.Length, paused)
	proxy.OnRequest(nil)
	once.Do(func() {}) // a request that has the hook still finds it used
	select {
	case <-paused:
	default:
		return
	}
	r.went(event.Action)
	t.Logf("%s: went off", event.Action)
	if happened {
		wait(t.Context(), min(event.Length, longPause))
	}
	if err := p.Resume(); err != nil {
		t.Errorf("%s: %v", event, err)
	}
}

func (r *rig) searches() (proxies []forcing) {
	for _, proxy := range r.search {
		proxies = append(proxies, proxy)
	}
	return proxies
}

// within tells whether something happened in time.
func within(ctx context.Context, d time.Duration, happened <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-happened:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
