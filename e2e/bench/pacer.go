package main

import (
	"context"
	"sync"
	"time"

	"hydrant/shared/pause"
)

// pacer admits calls at a rate of bytes, from many goroutines.
type pacer struct {
	rate float64 // bytes a second

	mu   sync.Mutex
	next time.Time // when the next call is due
}

func (p *pacer) admit(ctx context.Context, bytes int64) bool {
	return pause.For(ctx, time.Until(p.slot(bytes, time.Now())))
}

// slot is when a call of so many bytes is due. Time in which nobody called is not made up for.
func (p *pacer) slot(bytes int64, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = due.Add(time.Duration(float64(bytes) / p.rate * float64(time.Second)))
	return due
}
