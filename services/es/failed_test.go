package es

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/recordlog"
	"hydrant/shared/s3test"
)

// rejects refuses the documents with a text in them.
func rejects(text string) func(fakees.Item) *fakees.Failure {
	return func(i fakees.Item) *fakees.Failure {
		if !strings.Contains(string(i.Document), text) {
			return nil
		}
		return &fakees.Failure{Status: 400, Kind: "document_parsing_exception", Reason: "failed to parse field [n] of type [long] in document with id '" + i.ID + "'. Preview of field's value: 'secret'"}
	}
}

// Bad documents are set aside at once, and the good ones delivered.
func TestSetAside(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put(`{"n":1}`, `{"n":"bad"}`, "no JSON\n")
	s.put(`{"n":"bad","twice":1}`, "", "{\n\"n\":4}\n")
	d := s.batch()
	r.es.FailItems(rejects("bad"))
	got, err := r.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	wantEqual(t, "the outcome", got.Outcome, batch.Delivered)
	wantEqual(t, "the delivered", got.Records, 2)
	wantEqual(t, "the set aside", got.FailedRecords, 4)
	wantEqual(t, "the bytes", got.Bytes+got.FailedBytes, d.Bytes)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
	lines := r.failed()
	wantEqual(t, "the lines", len(lines), 4)
	first := lines[0]
	id := "h1-" + string(s.doc.ID) + "-0-1-1"
	wantEqual(t, "esDocumentId", first.ESDocumentID, id)
	wantEqual(t, "esIndexName", first.ESIndexName, "logs")
	wantEqual(t, "errorCode", first.ErrorCode, "400")
	wantEqual(t, "attemptsMade", first.AttemptsMade, 1)
	wantEqual(t, "rawData", string(first.RawData), `{"n":"bad"}`)
	wantEqual(t, "errorMessage", first.ErrorMessage, "document_parsing_exception: failed to parse field [n] of type [long] in document with id '"+id+"'. Preview of field's value: 'secret'")
	wantEqual(t, "arrivalTimestamp", first.ArrivalTimestamp, d.Oldest.UnixMilli())
	if first.AttemptEndingTimestamp < first.ArrivalTimestamp {
		t.Errorf("it ended at %d", first.AttemptEndingTimestamp)
	}
	wantEqual(t, "the word for what is no JSON", lines[1].ErrorMessage, "not sent: the record is not a JSON object")
	wantEqual(t, "its attempts", lines[1].AttemptsMade, 0)
	wantEqual(t, "what is empty", lines[3].ErrorMessage, "not sent: the record is empty")
	if got.Warning == nil || strings.Contains(got.Warning.Error(), "secret") || !strings.Contains(got.Warning.Error(), "2 of them: document_parsing_exception") {
		t.Errorf("the warning is %v", got.Warning)
	}
	key := r.s3.Keys("data")[0]
	if !strings.HasPrefix(key, "es/elasticsearch-failed/"+d.Oldest.UTC().Format("2006/01/02/15/")+"demo-1-") {
		t.Errorf("the file is %s", key)
	}
	wantEqual(t, "the location", got.FailedLocation, "s3://data/"+key)
}

// A crash between the file and the acknowledgement sets nothing aside twice, and sends nothing again.
func TestFileIsFound(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put(`{"n":1}`, `{"n":"bad"}`)
	d := s.batch()
	heal := r.es.FailItems(rejects("bad"))
	first, err := r.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	heal()
	before, _, _ := r.es.Load()
	for number := 1; number <= 2; number++ {
		a := s.attempt(d)
		a.Number = number
		again, err := r.destination().Deliver(t.Context(), a)
		check(t, err)
		if number == 1 {
			// JetStream forgot the first attempt: what failed is delivered after all, which is in both places then.
			wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
			continue
		}
		wantEqual(t, "the records", again.Records, first.Records)
		wantEqual(t, "the failed", again.FailedRecords, first.FailedRecords)
		wantEqual(t, "the location", again.FailedLocation, first.FailedLocation)
	}
	after, _, _ := r.es.Load()
	wantEqual(t, "the requests", after-before, 1)
	wantEqual(t, "the lines", len(r.failed()), 1)
}

// The retry duration is counted from the batch's first failure, whoever saw it.
func TestRetryDuration(t *testing.T) {
	for _, c := range []struct {
		name     string
		duration int32
		since    time.Duration // of the first failure; 0: none
		aside    bool
	}{
		{"none, at once", 0, 0, true},
		{"not over", 300, 200 * time.Second, false},
		{"not begun", 300, 0, false},
		{"over", 300, 301 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo", retryFor(c.duration))
			d := s.documents(25, 20)
			r.es.Fail(-1, fakees.Answer(http.StatusServiceUnavailable, "cluster_is_down", "no master"))
			a := s.attempt(d)
			if c.since > 0 {
				a.FailedSince, a.Number = time.Now().Add(-c.since), 3
			}
			got, err := r.destination().Deliver(t.Context(), a)
			if !c.aside {
				var e *delivery.Error
				if !errors.As(err, &e) || e.Class != delivery.Retryable || e.Code != codeUnavailable || len(e.Progress) == 0 {
					t.Errorf("Deliver returned %+v, %v", got, err)
				}
				return
			}
			check(t, err)
			wantEqual(t, "the outcome", got.Outcome, batch.SetAside)
			wantEqual(t, "the failed", got.FailedRecords, 25)
			lines := r.failed()
			wantEqual(t, "the lines", len(lines), 25)
			wantEqual(t, "the code", lines[0].ErrorCode, "503")
			wantEqual(t, "the attempts", lines[0].AttemptsMade, 1)
		})
	}
}

// A cluster that is gone for longer than the retry duration: everything is set aside, nothing is lost.
func TestClusterGone(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo", retryFor(0))
	d := s.documents(2500, 20)
	r.es.Close()
	got, err := r.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	wantEqual(t, "the outcome", got.Outcome, batch.SetAside)
	wantEqual(t, "the failed", got.FailedRecords, d.Records)
	wantEqual(t, "their bytes", got.FailedBytes, d.Bytes)
	if got.Warning == nil || !strings.Contains(got.Warning.Error(), "2500 of them: not sent: no answer") {
		t.Errorf("the warning is %v", got.Warning)
	}
	lines := r.failed()
	wantEqual(t, "the lines", len(lines), d.Records)
	for _, l := range lines {
		if !strings.Contains(l.ErrorMessage, "connection refused") || l.ErrorCode != codeConnection || l.AttemptsMade != 1 {
			t.Fatalf("a line is %+v", l)
		}
	}
}

// The file's own writes: a lost answer, a store that is away, and a batch that is another's by then.
func TestFileFaults(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put(`{"n":"bad"}`)
	d := s.batch()
	r.es.FailItems(rejects("bad"))
	destination := r.destination()
	heal := r.s3.Fail("PutObject", -1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
	_, err := destination.Deliver(t.Context(), s.attempt(d))
	var e *delivery.Error
	if !errors.As(err, &e) || e.Code != "S3.AccessDenied" || e.Class != delivery.Permanent {
		t.Errorf("without S3: %v", err)
	}
	heal()
	held := s.attempt(d)
	calls := 0
	held.Held = func() error {
		if calls++; calls > 1 { // the first is for the bulk request
			return delivery.ErrNotHeld
		}
		return nil
	}
	if _, err := destination.Deliver(t.Context(), held); !errors.Is(err, delivery.ErrNotHeld) {
		t.Errorf("not held: %v", err)
	}
	wantEqual(t, "the files", len(r.s3.Keys("data")), 0)
	r.s3.Fail("PutObject", 1, s3test.Lose)
	got, err := destination.Deliver(t.Context(), s.attempt(d))
	check(t, err)
	wantEqual(t, "the failed", got.FailedRecords, 1)
	wantEqual(t, "the lines", len(r.failed()), 1)
}

// What expires before it is delivered is counted, and the rest is delivered.
func TestExpired(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := s.documents(50, 20)
	s.purge(d.First + 2)
	got, err := r.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	wantEqual(t, "the delivered", got.Records, 30)
	wantEqual(t, "the expired", got.ExpiredRecords, 20)

	// Between two attempts.
	other := r.stream("other")
	d = other.documents(50, 20)
	r.es.Fail(-1, fakees.Answer(503, "", ""))
	destination := r.destination()
	_, err = destination.Deliver(t.Context(), other.attempt(d))
	var e *delivery.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	other.purge(d.First + 1)
	a := other.attempt(d)
	a.Progress, a.Number, a.FailedSince = e.Progress, 2, time.Now().Add(-time.Hour)
	got, err = destination.Deliver(t.Context(), a)
	check(t, err)
	wantEqual(t, "the set aside", got.FailedRecords, 40)
	wantEqual(t, "the expired", got.ExpiredRecords, 10)

	other.purge(d.Last + 1)
	got, err = destination.Deliver(t.Context(), other.attempt(d))
	check(t, err)
	wantEqual(t, "the outcome of what is gone", got.Outcome, batch.Expired)
	wantEqual(t, "its records", got.ExpiredRecords, 50)
}

// The form of a line is the guide's.
func TestFailedLines(t *testing.T) {
	l := newLedger(7)
	_, err := l.place(7, 3)
	check(t, err)
	l.tries = 4
	l.fail(0, reasonOf(itemAnswer{400, "mapper_parsing_exception", "failed to parse document with id 'h1-abc-0-7-0' \"<é>\""}, "h1-abc-0-7-0", true, 2))
	l.fail(1, reason{Status: 429, Text: "es_rejected_execution_exception: too much"})
	var out bytes.Buffer
	lines := failedLines{
		w: bufio.NewWriter(&out), ledger: l, ended: time.UnixMilli(1456405300000),
		named: naming{index: "logs", rotation: day, typeName: "event", ids: true, stream: "abc"},
		rest:  reason{Status: 503, Text: "not sent: status 503"},
	}
	m := recordlog.Message{Sequence: 7, Arrived: time.Date(2016, 2, 25, 13, 0, 0, 5e6, time.UTC)}
	for i, record := range []string{`{"n":"x"}`, "{\"n\":\n2}\n", "\x00\xff"} {
		check(t, lines.write(m, i, i, []byte(record)))
	}
	check(t, lines.w.Flush())
	path := filepath.Join("testdata", "failed.jsonl")
	want, err := os.ReadFile(path)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		check(t, os.WriteFile(path, out.Bytes(), 0o644))
		want, err = out.Bytes(), nil
	}
	check(t, err)
	wantEqual(t, "the file", out.String(), string(want))
}

func TestFailedKey(t *testing.T) {
	d := batch.Descriptor{Stream: "demo", StreamID: "abcd", Leg: names.LegES, First: 5, Last: 9, Oldest: time.Date(2016, 2, 25, 13, 4, 5, 6, time.UTC)}
	for _, c := range []struct{ prefix, errors, want string }{
		{"", "", "elasticsearch-failed/2016/02/25/13/demo-3-2016-02-25-13-04-05-"},
		{"app/", "", "app/elasticsearch-failed/2016/02/25/13/demo-3-2016-02-25-13-04-05-"},
		{"app/", "bad/!{firehose:error-output-type}/!{timestamp:yyyy}/", "bad/elasticsearch-failed/2016/demo-3-2016-02-25-13-04-05-"},
	} {
		got, err := failedKey("installation", d, 3, &types.ExtendedS3DestinationDescription{Prefix: aws.String(c.prefix), ErrorOutputPrefix: aws.String(c.errors)})
		check(t, err)
		wantEqual(t, "the key", got, c.want+"8418d178-3efa-88d8-9c55-ffdad86c30f3")
	}
}
