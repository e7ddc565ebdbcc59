package es

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/delivery"
)

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *delivery.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("the error is %v, want %s", err, code)
	}
}

// A cluster that refuses every other document for a while gets all of them in the end, more slowly.
func TestBusy(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	batch := s.documents(300, 20)
	seen := 0
	r.es.FailItems(func(fakees.Item) *fakees.Failure {
		if seen++; seen%2 == 0 && seen < 2000 {
			return &fakees.Failure{Status: 429, Kind: "es_rejected_execution_exception", Reason: "rejected"}
		}
		return nil
	})
	d := r.destination(func(c *Config) { c.BulkRecords = 20 })
	s.wantDelivered(batch, s.persist(d, s.attempt(batch)))
}

// A cluster or proxy that takes smaller requests gets them, without a wait.
func TestTooLarge(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	batch := s.documents(300, 10_000)
	r.es.LimitBody(100_000)
	d := r.destination(func(c *Config) { c.RetryMin, c.RetryMax = 60e9, 60e9 })
	got, err := d.Deliver(t.Context(), s.attempt(batch))
	check(t, err)
	s.wantDelivered(batch, got)
}

// A document that is too large alone is set aside, and the others are delivered.
func TestOneTooLarge(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put(`{"n":1}`, fmt.Sprintf(`{"n":%q}`, strings.Repeat("x", 200_000)), `{"n":3}`)
	r.es.LimitBody(100_000)
	got, err := r.destination().Deliver(t.Context(), s.attempt(s.batch()))
	check(t, err)
	wantEqual(t, "the delivered", got.Records, 2)
	lines := r.failed()
	wantEqual(t, "the lines", len(lines), 1)
	wantEqual(t, "the code", lines[0].ErrorCode, "413")
	if !strings.Contains(lines[0].ErrorMessage, "as large as this document alone") {
		t.Errorf("the message is %q", lines[0].ErrorMessage)
	}
}

// A read-only index is waited for, and its words are told.
func TestReadOnly(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	batch := s.documents(50, 20)
	heal := r.es.FailItems(func(fakees.Item) *fakees.Failure {
		return &fakees.Failure{Status: 403, Kind: "cluster_block_exception", Reason: "index [logs] blocked by: [FORBIDDEN/8/index write (api)];"}
	})
	d := r.destination()
	_, err := d.Deliver(t.Context(), s.attempt(batch))
	wantCode(t, err, codeBlocked)
	if err == nil || !strings.Contains(err.Error(), "index write (api)") {
		t.Errorf("the error is %v", err)
	}
	heal()
	s.wantDelivered(batch, s.persist(d, s.attempt(batch)))
}

// rest.action.multi.allow_explicit_index: false is named, and no more than one request is spent on it.
func TestExplicitIndex(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	batch := s.documents(50, 20)
	heal := r.es.Fail(-1, fakees.Answer(400, "illegal_argument_exception", "explicit index in bulk is not allowed"))
	d := r.destination()
	_, err := d.Deliver(t.Context(), s.attempt(batch))
	wantCode(t, err, codeExplicitIndex)
	var e *delivery.Error
	if !errors.As(err, &e) || e.Class != delivery.Permanent || !strings.Contains(e.Message, "rest.action.multi.allow_explicit_index") {
		t.Errorf("the error is %+v", e)
	}
	heal()
	s.wantDelivered(batch, s.persist(d, s.attempt(batch)))
}

// Without document ids the promise is weaker: what is known to be delivered is not sent again, a lost answer is.
func TestWithoutIDs(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo", withoutIDs)
	batch := s.documents(40, 20)
	d := r.destination(func(c *Config) { c.BulkRecords, c.BulkInFlight = 10, 1 })
	r.es.Fail(1, fakees.Lose)
	got := s.persist(d, s.attempt(batch))
	wantEqual(t, "the records", got.Records, 40)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 50)
	for id := range r.es.Documents("logs") {
		if !strings.HasPrefix(id, "made-") {
			t.Errorf("the id %s is not the server's", id)
		}
	}
}
