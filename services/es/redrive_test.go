package es

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/redrive"
	"hydrant/shared/s3test"
)

// redriver is what a redrive of the delivery stream delivers with.
func (s *deliveryStream) redriver() *Redriver {
	s.t.Helper()
	r, err := OpenRedrive(s.t.Context(), s.cfg, s.doc, s.rig.log)
	check(s.t, err)
	s.t.Cleanup(r.Close)
	s.t.Cleanup(func() { wantEqual(s.t, "the buffers that were not given back", r.to.buffers.lent(), 0) })
	r.to.minPause, r.to.maxPause = time.Millisecond, 10*time.Millisecond
	return r
}

// redrive runs one over all that is set aside.
func (s *deliveryStream) redrive() (redrive.Report, []redrive.Step, error) {
	s.t.Helper()
	return s.walk(redrive.Walk{})
}

func (s *deliveryStream) walk(w redrive.Walk) (redrive.Report, []redrive.Step, error) {
	s.t.Helper()
	to := s.redriver()
	var steps []redrive.Step
	w.Store, w.Told = to.Store(), func(step redrive.Step) { steps = append(steps, step) }
	report, err := w.Run(s.t.Context(), to)
	return report, steps, err
}

// aside delivers a batch of the records while the cluster refuses what has a text in it.
func (s *deliveryStream) aside(text string, records ...string) {
	s.t.Helper()
	s.put(records...)
	heal := s.es.FailItems(rejects(text))
	_, err := s.destination().Deliver(s.t.Context(), s.attempt(s.batch()))
	check(s.t, err)
	heal()
}

// wantReport compares the numbers of documents.
func wantReport(t *testing.T, got redrive.Report, deliveredNow, already, left int) {
	t.Helper()
	wantEqual(t, "the delivered", got.Delivered, deliveredNow)
	wantEqual(t, "the already delivered", got.Already, already)
	wantEqual(t, "the left", got.Left, left)
}

// keys are the objects of the bucket that were moved, and those that were not.
func (r *rig) keys() (there, moved []string) {
	for _, key := range r.s3.Keys("data") {
		if strings.HasPrefix(key, "redriven/") {
			moved = append(moved, key)
		} else {
			there = append(there, key)
		}
	}
	return there, moved
}

// wantFiles compares the number of files that are there, and that were moved.
func (r *rig) wantFiles(there, moved int) {
	r.t.Helper()
	gotThere, gotMoved := r.keys()
	if len(gotThere) != there || len(gotMoved) != moved {
		r.t.Errorf("%d files are there and %d were moved, want %d and %d: %q", len(gotThere), len(gotMoved), there, moved, r.s3.Keys("data"))
	}
}

// Once the cluster takes them, documents that were set aside are indexed with the ids that they had, and their file is moved. A second
// run finds nothing.
func TestRedrive(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":1}`, `{"n":"bad"}`, `{"n":"bad, too"}`)
	dry, found, err := s.walk(redrive.Walk{DryRun: true})
	check(t, err)
	if why := found[0].Item.Object.Metadata[redrive.MetadataReason]; !strings.HasPrefix(why, "2 of them: document_parsing_exception: ") || strings.Contains(why, "secret") {
		t.Errorf("a dry run shows %q as the reason", why)
	}
	wantEqual(t, "the files that a dry run finds", dry.Items, 1)
	wantEqual(t, "the documents in them", dry.Records, 2)
	wantEqual(t, "the documents after it", len(r.es.Documents("logs")), 1)
	r.wantFiles(1, 0)

	report, steps, err := s.redrive()
	check(t, err)
	wantReport(t, report, 2, 0, 0)
	wantEqual(t, "the steps", len(steps), 1)
	documents := r.es.Documents("logs")
	wantEqual(t, "the documents", len(documents), 3)
	wantEqual(t, "the second", string(documents["h1-"+string(s.doc.ID)+"-0-1-1"]), `{"n":"bad"}`)
	wantEqual(t, "how often one was written", r.es.Writes(), 1)
	r.wantFiles(0, 1)

	again, _, err := s.redrive()
	check(t, err)
	wantEqual(t, "the files that a second run finds", again.Items+again.Others, 0)
}

// What still fails is in a new file, with its new reason; what was delivered is not in it, and the old file is moved.
func TestRedriveLeavesARest(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":"bad 1"}`, `{"n":"bad 2"}`, `no document`)
	heal := r.es.FailItems(func(i fakees.Item) *fakees.Failure {
		if strings.Contains(string(i.Document), "bad 2") {
			return &fakees.Failure{Status: 400, Kind: "strict_dynamic_mapping_exception", Reason: "[" + i.ID + "] another word"}
		}
		return nil
	})
	report, steps, err := s.redrive()
	check(t, err)
	wantReport(t, report, 1, 0, 2)
	r.wantFiles(1, 1)
	there, _ := r.keys()
	wantEqual(t, "the rest", steps[0].Outcome.Rest, "s3://data/"+there[0])
	if steps[0].Outcome.Why == nil || !strings.Contains(steps[0].Outcome.Why.Error(), "strict_dynamic_mapping_exception") {
		t.Errorf("why is %v", steps[0].Outcome.Why)
	}
	lines := s.lines(there[0])
	wantEqual(t, "the lines", len(lines), 2)
	id := "h1-" + string(s.doc.ID) + "-0-1-1"
	wantEqual(t, "the id", lines[0].ESDocumentID, id)
	wantEqual(t, "the attempts", lines[0].AttemptsMade, 2)
	wantEqual(t, "the reason", lines[0].ErrorMessage, "strict_dynamic_mapping_exception: ["+id+"] another word")
	wantEqual(t, "the record", string(lines[0].RawData), `{"n":"bad 2"}`)
	wantEqual(t, "the attempts of what is never sent", lines[1].AttemptsMade, 0)

	// A file of which nothing can be delivered stays as it is.
	report, _, err = s.redrive()
	check(t, err)
	wantReport(t, report, 0, 0, 2)
	r.wantFiles(1, 1)

	heal()
	report, _, err = s.redrive()
	check(t, err)
	wantReport(t, report, 1, 0, 1)
	r.wantFiles(1, 2)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
	wantEqual(t, "how often one was written", r.es.Writes(), 1)
}

// lines reads a file of failed documents.
func (s *deliveryStream) lines(key string) (lines []failedDocument) {
	s.t.Helper()
	data, _ := s.s3.Content("data", key)
	for text := range bytes.Lines(data) {
		var l failedDocument
		check(s.t, json.Unmarshal(text, &l))
		lines = append(lines, l)
	}
	return lines
}

// Each document is indexed once, and none is lost, whichever answer is lost, wherever a redrive is killed.
func TestRedriveIsSafeToRepeat(t *testing.T) {
	for name, c := range map[string]struct {
		fail    func(*rig) // once
		ends    bool       // the first run
		already int        // of three, all in all
	}{
		"lost answer":     {fail: func(r *rig) { r.es.Fail(1, fakees.Lose) }, already: 3},
		"half an answer":  {fail: func(r *rig) { r.es.Fail(1, fakees.Truncate) }, already: 3},
		"no answer":       {fail: func(r *rig) { r.es.Fail(1, fakees.Reset) }},
		"busy":            {fail: func(r *rig) { r.es.Fail(1, fakees.Answer(429, "es_rejected_execution_exception", "busy")) }},
		"too large":       {fail: func(r *rig) { r.es.Fail(1, fakees.Answer(413, "", "")) }},
		"a failed search": {fail: func(r *rig) { r.es.RefuseQuestions(once(fakees.Answer(503, "", "later"), r.es)) }},
		"killed before the move": {
			fail: func(r *rig) { r.s3.FailAt("PutObject", "redriven/", 1, s3test.Answer(403, "AccessDenied")) }, ends: true, already: 3,
		},
		"killed in the move": {
			fail: func(r *rig) { r.s3.Fail("DeleteObject", 1, s3test.Answer(403, "AccessDenied")) }, ends: true, already: 3,
		},
		"the move's answer lost": {fail: func(r *rig) { r.s3.FailAt("PutObject", "redriven/", 1, s3test.Lose) }},
		"a file that breaks off": {fail: func(r *rig) { r.s3.FailAt("GetObject", "", 1, s3test.Reset) }},
		"a file refused midways": {fail: func(r *rig) { r.s3.FailAt("GetObject", "", 1, s3test.Answer(503, "SlowDown")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			s.aside("bad", `{"n":"bad 1"}`, `{"n":"bad 2"}`, `{"n":"bad 3"}`)
			c.fail(r)
			report, _, err := s.redrive()
			if (err != nil) != c.ends {
				t.Fatalf("the run ended with %v", err)
			}
			now, already := report.Delivered, report.Already
			if c.ends {
				r.wantFiles(1, len(r.s3.Keys("data"))-1)
				report, _, err = s.redrive()
				check(t, err)
				wantEqual(t, "what the second run delivered", report.Delivered, 0)
				already = report.Already
			} else {
				wantEqual(t, "the documents told of", now+already, 3)
			}
			wantEqual(t, "the already delivered", already, c.already)
			wantEqual(t, "the documents", len(r.es.Documents("logs")), 3)
			wantEqual(t, "how often one was written", r.es.Writes(), 1)
			r.wantFiles(0, 1)
		})
	}
}

// once answers one question so, and then as always.
func once(do fakees.Action, es *fakees.Server) fakees.Action {
	return func(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
		do(carryOut, w, r)
		go es.RefuseQuestions(nil) // who asks holds its lock
	}
}
