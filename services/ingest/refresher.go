package ingest

import (
	"context"
	"time"
)

// refreshPause lies between two confirmations, so that calls for names that do not exist cost NATS a bounded number of
// requests, however many they are.
const refreshPause = 10 * time.Millisecond

// refresher brings the view up to date for those who ask, one confirmation for all who asked before it began.
type refresher struct {
	confirm func(context.Context) error // catalog.View.Freshen
	asked   chan chan<- error
}

func newRefresher(confirm func(context.Context) error) *refresher {
	return &refresher{confirm: confirm, asked: make(chan chan<- error)}
}

// refresh returns nil when the view holds everything that was in the catalog when refresh was called.
func (r *refresher) refresh(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.asked <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run serves those who ask until ctx ends.
func (r *refresher) run(ctx context.Context) {
	for {
		var asking []chan<- error
		select {
		case answer := <-r.asked:
			asking = r.others([]chan<- error{answer})
		case <-ctx.Done():
			return
		}
		err := r.confirm(ctx)
		for _, answer := range asking {
			answer <- err
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(refreshPause):
		}
	}
}

// others adds those who wait to ask.
func (r *refresher) others(asking []chan<- error) []chan<- error {
	for {
		select {
		case answer := <-r.asked:
			asking = append(asking, answer)
		default:
			return asking
		}
	}
}
