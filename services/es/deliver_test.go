package es

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
)

func TestDeliver(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"in one request":   func(*Config) {},
		"in many requests": func(c *Config) { c.BulkRecords = 7 },
		"one by one":       func(c *Config) { c.BulkRecords, c.BulkInFlight = 1, 1 },
		"compressed":       func(c *Config) { c.BulkGzip = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo")
			d := s.documents(105, 50)
			got, err := r.destination(change).Deliver(t.Context(), s.attempt(d))
			check(t, err)
			s.wantDelivered(d, got)
		})
	}
}

// Large batches are cut by size, and several requests are there at once.
func TestRequestSize(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := s.documents(200, 90_000)
	got, err := r.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	s.wantDelivered(d, got)
	requests, largest, _ := r.es.Load()
	if largest > leastBulkSize || requests < 9 || requests > 11 {
		t.Errorf("%d requests, the largest of %d bytes", requests, largest)
	}
}

// TestFaults has the cluster fail in each way. Each document is indexed once, by this attempt or the next.
func TestFaults(t *testing.T) {
	swapped := fakees.Rewrite(func(items []any) []any { items[0], items[1] = items[1], items[0]; return items })
	for _, c := range []struct {
		name  string
		times int
		do    fakees.Action
	}{
		{"500", 1, fakees.Answer(500, "exception", "broken")},
		{"500 for longer", 9, fakees.Answer(500, "exception", "broken")},
		{"429", 3, fakees.Answer(429, "es_rejected_execution_exception", "too much")},
		{"401", 1, fakees.Answer(401, "security_exception", "who are you")},
		{"403", 1, fakees.Answer(403, "security_exception", "not you")},
		{"a redirect", 1, fakees.Answer(302, "", "")},
		{"reset", 1, fakees.Reset},
		{"lost answer", 1, fakees.Lose},
		{"lost answers for longer", 9, fakees.Lose},
		{"half an answer", 2, fakees.Truncate},
		{"an answer short of an item", 1, fakees.Rewrite(func(items []any) []any { return items[1:] })},
		{"an answer with one more item", 1, fakees.Rewrite(func(items []any) []any { return append(items, items[0]) })},
		{"an answer in another order", 1, swapped},
		{"an answer without items", 1, fakees.Rewrite(func([]any) []any { return nil })},
		{"503 after the effect", 2, fakees.After(fakees.Answer(503, "", ""))},
		{"a black hole", 1, fakees.Hold(false, nil, nil)},
		{"an answer that never comes", 1, fakees.Hold(true, nil, nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			batch := s.documents(100, 50)
			r.es.Fail(c.times, c.do)
			d := r.destination(func(c *Config) { c.BulkRecords, c.ESTimeout = 20, time.Second })
			s.wantDelivered(batch, s.persist(d, s.attempt(batch)))
		})
	}
}

// persist delivers as the runner does: again, with what the last attempt left, until there is an outcome.
func (s *deliveryStream) persist(d *destination, a delivery.Attempt) delivery.Result {
	s.t.Helper()
	for range 20 {
		result, err := d.Deliver(s.t.Context(), a)
		if err == nil {
			return result
		}
		var e *delivery.Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Code, "ES.") {
			s.t.Fatalf("Deliver returned %v", err)
		}
		if a.FailedSince.IsZero() {
			a.FailedSince = time.Now()
		}
		a.Number++
		a.Progress = e.Progress
	}
	s.t.Fatal("no outcome")
	return delivery.Result{}
}

// A batch that is delivered again, by whomever and knowing nothing of the first time, changes nothing.
func TestRepeat(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := s.documents(100, 50)
	destination := r.destination()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			got, err := destination.Deliver(t.Context(), s.attempt(d))
			if err != nil || got.Records != 100 {
				t.Errorf("delivered again: %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	got, err := destination.Deliver(t.Context(), s.attempt(d))
	check(t, err)
	s.wantDelivered(d, got)
}

// Only what is pending is sent again.
func TestOnlyPending(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := s.documents(100, 50)
	refused := 0
	r.es.FailItems(func(i fakees.Item) *fakees.Failure {
		if strings.Contains(string(i.Document), `"n":42,`) && refused < 12 {
			refused++
			return &fakees.Failure{Status: 429, Kind: "es_rejected_execution_exception", Reason: "too much"}
		}
		return nil
	})
	seen := 0
	r.es.FailItems(func(fakees.Item) *fakees.Failure { seen++; return nil })
	got := s.persist(r.destination(), s.attempt(d))
	s.wantDelivered(d, got)
	wantEqual(t, "the documents that came through", seen, 100)
}

// A worker that woke late has its batch no more: it sends nothing.
func TestNotHeld(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	a := s.attempt(s.documents(10, 50))
	a.Held = func() error { return delivery.ErrNotHeld }
	d := r.destination()
	if _, err := d.Deliver(t.Context(), a); !errors.Is(err, delivery.ErrNotHeld) {
		t.Errorf("Deliver returned %v", err)
	}
	a.Number = 2
	if _, err := d.Deliver(t.Context(), a); !errors.Is(err, delivery.ErrNotHeld) {
		t.Errorf("a second attempt returned %v", err)
	}
	requests, _, _ := r.es.Load()
	wantEqual(t, "the requests", requests, 0)
}

// A worker that was stopped between asking and sending sends what another has delivered meanwhile, and changes nothing.
func TestWakesLate(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := s.documents(10, 50)
	reached, released := make(chan struct{}, 1), make(chan struct{})
	r.es.Fail(1, func(carryOut http.Handler, w http.ResponseWriter, q *http.Request) {
		reached <- struct{}{}
		<-released
		carryOut.ServeHTTP(w, q)
	})
	late := make(chan delivery.Result, 1)
	destination := r.destination()
	go func() {
		got, err := destination.Deliver(t.Context(), s.attempt(d))
		if err != nil {
			t.Errorf("the late one: %v", err)
		}
		late <- got
	}()
	<-reached
	again := s.attempt(d)
	again.Number = 2
	got, err := r.destination().Deliver(t.Context(), again)
	check(t, err)
	s.wantDelivered(d, got)
	close(released)
	s.wantDelivered(d, <-late)
}

// A service that stops gives up what is in flight.
func TestStops(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := s.documents(10, 50)
	reached := make(chan struct{}, 1)
	r.es.Fail(-1, fakees.Hold(false, reached, nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	destination := r.destination()
	go func() {
		_, err := destination.Deliver(ctx, s.attempt(d))
		ended <- err
	}()
	<-reached
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it says that it delivered")
		}
	case <-time.After(patience):
		t.Fatal("it did not end")
	}
}

func TestNothingInIt(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := batch.Descriptor{Stream: s.doc.Name, StreamID: s.doc.ID, Leg: "es", First: 1, Last: 3, Reason: batch.ReasonGap, Missing: 3}
	got, err := r.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	wantEqual(t, "the outcome", got.Outcome, batch.Expired)
}
