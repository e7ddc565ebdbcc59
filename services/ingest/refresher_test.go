package ingest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestRefreshIsShared has many ask while a confirmation is under way: it began before they asked, so it is not theirs, and
// one more serves all of them. That is what bounds the cost of puts to names that do not exist.
func TestRefreshIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := 0
		results := make(chan error)
		r := newRefresher(func(context.Context) error {
			began++
			return <-results
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.run(ctx)
		}()
		answers := make(chan error, 1001)
		ask := func() { answers <- r.refresh(ctx) }
		go ask()
		synctest.Wait()
		for range 1000 {
			go ask()
		}
		synctest.Wait()
		if began != 1 {
			t.Fatalf("%d confirmations began", began)
		}
		failed := errors.New("failed")
		results <- failed
		if err := <-answers; !errors.Is(err, failed) {
			t.Errorf("the first was answered %v", err)
		}
		results <- nil
		for range 1000 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if began != 2 {
			t.Errorf("%d confirmations began", began)
		}
		cancel()
		<-ended
		if err := r.refresh(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
}
