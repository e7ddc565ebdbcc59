package es

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

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

// An index that is blocked since a disk is nearly full has the status of a server that is busy, and is neither told nor treated as
// one. Once the retry duration is over its words are in the file.
func TestFull(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	batch := s.documents(50, 20)
	heal := r.es.FailItems(func(fakees.Item) *fakees.Failure {
		return &fakees.Failure{Status: 429, Kind: "cluster_block_exception", Reason: floodStage}
	})
	d := r.destination(func(c *Config) { c.BulkRecords = 10 })
	_, err := d.Deliver(t.Context(), s.attempt(batch))
	wantCode(t, err, codeBlocked)
	if err == nil || !strings.Contains(err.Error(), "flood-stage") {
		t.Errorf("the error is %v", err)
	}
	server, err := d.servers.of(s.doc)
	check(t, err)
	wantEqual(t, "the requests that may fly", server.pace.limit, float64(r.cfg.BulkInFlight))

	late := s.attempt(batch)
	late.Number, late.FailedSince = 2, time.Now().Add(-time.Hour)
	got, err := d.Deliver(t.Context(), late)
	check(t, err)
	wantEqual(t, "the documents set aside", got.FailedRecords, 50)
	for _, line := range r.failed() {
		wantEqual(t, "the code", line.ErrorCode, "429")
		wantEqual(t, "the message", line.ErrorMessage, "cluster_block_exception: "+floodStage)
	}
	heal()
}

const floodStage = "index [logs] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];"

// A busy server's words differ each time. They take the room of one reason, and leave the others theirs.
func TestBusyInManyWords(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	batch := s.documents(2*mostReasons, 20)
	seen := 0
	r.es.FailItems(func(i fakees.Item) *fakees.Failure {
		if seen++; seen == 2*mostReasons {
			return &fakees.Failure{Status: 400, Kind: "document_parsing_exception", Reason: "failed to parse field [n] of type [date]"}
		}
		return &fakees.Failure{Status: 429, Kind: "es_rejected_execution_exception", Reason: fmt.Sprintf(rejection, seen, seen*7919, seen*104729)}
	})
	_, err := r.destination().Deliver(t.Context(), s.attempt(batch))
	wantCode(t, err, codeThrottled)
	var e *delivery.Error
	if !errors.As(err, &e) {
		t.Fatalf("the error is %v", err)
	}
	if want := fmt.Sprintf("%d of %d documents: ", 2*mostReasons-1, 2*mostReasons); !strings.Contains(e.Err.Error(), want) {
		t.Errorf("the error is %v, want %q in it", e.Err, want)
	}
	l, err := readProgress(e.Progress, batch)
	check(t, err)
	wantEqual(t, "the reasons", len(l.reasons), 2)
	for _, r := range l.reasons {
		if r.Final {
			wantEqual(t, "the lasting one", r.Text, "document_parsing_exception: failed to parse field [n] of type [date]")
		}
	}
}

const rejection = "rejected execution of TimedRunnable{original=org.elasticsearch.action.support.replication.TransportReplicationAction$AsyncPrimaryAction/" +
	"ChannelActionListener{TaskTransportChannel{task=%d}{DirectResponseChannel{req=17}{indices:data/write/bulk[s][p]}}}/" +
	"TransportReplicationAction$$Lambda/0x00000000919bd8f8@%x, creationTimeNanos=%d, startTimeNanos=0, finishTimeNanos=-1, failedOrRejected=false} " +
	"on TaskExecutionTimeTrackingEsThreadPoolExecutor[name = node-1/write, queue capacity = 1, task execution EWMA = 6.1ms]"

// A shard that is not there is told of with the document of the request, if it had one alone. That stays out of logs.
func TestUnavailableShardTellsNoDocument(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put(`{"card":"4111"}`)
	r.es.FailItems(func(i fakees.Item) *fakees.Failure {
		return &fakees.Failure{Status: 503, Kind: "unavailable_shards_exception", Reason: fmt.Sprintf(
			"[logs][0] primary shard is not active Timeout: [1m], request: [BulkShardRequest [[logs][0]] containing [index {[logs][%s], source[%s]}]]", i.ID, i.Document)}
	})
	_, err := r.destination().Deliver(t.Context(), s.attempt(s.batch()))
	wantCode(t, err, codeUnavailable)
	if err == nil || strings.Contains(err.Error(), "4111") || !strings.Contains(err.Error(), "primary shard is not active") {
		t.Errorf("the error is %v", err)
	}
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

// A server that first waits half a minute for the shard of an index that it makes still answers before it is given up.
func TestServerAnswersInTime(t *testing.T) {
	const making = 30 * time.Second
	s := &sending{timeout: 60 * time.Second} // the default of --es-timeout
	if wait := making + s.bulk(nil).Timeout; wait >= s.timeout {
		t.Errorf("the server answers after %s, and is given up after %s", wait, s.timeout)
	}
}
