package catalog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Thousands who ask at once share a mark, and those who come while it is on its way share the next.
func TestMarksAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMarks()
		answer := make(chan struct{})
		stored := uint64(0)
		store := func(context.Context) (uint64, error) {
			stored++
			mine := stored
			<-answer
			return mine, nil
		}
		var asking sync.WaitGroup
		revisions := [3]atomic.Int64{}
		ask := func(callers int) {
			for range callers {
				asking.Go(func() {
					revision, err := m.ask(t.Context(), store)
					if err != nil {
						t.Error(err)
						return
					}
					revisions[revision].Add(1)
				})
			}
			synctest.Wait()
		}
		ask(1)
		ask(5000)
		close(answer)
		asking.Wait()
		if first, second := revisions[1].Load(), revisions[2].Load(); first != 1 || second != 5000 || stored != 2 {
			t.Errorf("%d marks for 1 and then 5000: %d and %d", stored, first, second)
		}
	})
}

// However often proofs are asked for, there are ten marks a second.
func TestMarksAreApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMarks()
		var sent []time.Time
		for range 11 {
			asked := time.Now()
			_, err := m.ask(t.Context(), func(context.Context) (uint64, error) {
				sent = append(sent, time.Now())
				return 1, nil
			})
			if err != nil || len(sent) == 0 || sent[len(sent)-1].Before(asked) {
				t.Fatalf("asked at %s, and got the mark of %v, %v", asked, sent, err)
			}
		}
		if took := sent[10].Sub(sent[0]); took != time.Second {
			t.Errorf("eleven marks took %s", took)
		}
	})
}

// An error is of all who share the mark, but for the end of one of them: that is its own, and the others get another.
func TestMarkThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMarks()
		store := func(ctx context.Context) (uint64, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		first, end := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := m.ask(first, store); !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up has %v", err)
			}
		})
		synctest.Wait()
		var refused atomic.Int64
		no := errors.New("no")
		for range 3 {
			asking.Go(func() {
				if _, err := m.ask(t.Context(), func(context.Context) (uint64, error) { refused.Add(1); return 0, no }); !errors.Is(err, no) {
					t.Errorf("one of the others has %v", err)
				}
			})
		}
		impatient, over := context.WithTimeout(t.Context(), time.Second)
		defer over()
		asking.Go(func() {
			if _, err := m.ask(impatient, store); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who did not wait has %v", err)
			}
		})
		synctest.Wait()
		<-impatient.Done()
		synctest.Wait() // before there is a mark to share
		end()
		asking.Wait()
		if n := refused.Load(); n != 1 {
			t.Errorf("%d marks for the others", n)
		}
	})
}

// Who shares a mark of one that gives up while it is on its way begins anew.
func TestMarkThatIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMarks()
		if _, err := m.ask(t.Context(), func(context.Context) (uint64, error) { return 1, nil }); err != nil {
			t.Fatal(err)
		}
		ending, end := context.WithCancel(t.Context()) // while the next may not be sent yet, so that both wait for it
		var asking sync.WaitGroup
		asking.Go(func() {
			_, err := m.ask(ending, func(ctx context.Context) (uint64, error) { <-ctx.Done(); return 0, ctx.Err() })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up has %v", err)
			}
		})
		synctest.Wait()
		asking.Go(func() {
			if revision, err := m.ask(t.Context(), func(context.Context) (uint64, error) { return 3, nil }); revision != 3 || err != nil {
				t.Errorf("the other has %d, %v", revision, err)
			}
		})
		<-time.After(2 * marksApart) // by now it is on its way
		end()
		asking.Wait()
	})
}
