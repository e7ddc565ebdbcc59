package es

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/delivery"
	"hydrant/shared/redrive"
)

// stop lets a request wait, as if its sender had been stopped before it left, and then carries it out.
func stop(reached chan<- struct{}, released <-chan struct{}) func(http.Handler, http.ResponseWriter, *http.Request) {
	return func(carryOut http.Handler, w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		reached <- struct{}{}
		<-released
		carryOut.ServeHTTP(w, r)
	}
}

// A redrive that is stopped anywhere, while another does all that there is to do, and then wakes, indexes nothing twice and loses
// nothing.
func TestRedriveWakesLate(t *testing.T) {
	for name, where := range map[string]func(r *rig, reached, released chan struct{}){
		"before its documents are sent": func(r *rig, reached, released chan struct{}) { r.es.Fail(1, stop(reached, released)) },
		"before it writes what is left": func(r *rig, reached, released chan struct{}) {
			r.s3.FailAt("PutObject", restMark, 1, stop(reached, released))
		},
		"before it moves the file": func(r *rig, reached, released chan struct{}) {
			r.s3.FailAt("PutObject", "/redriven/", 1, stop(reached, released))
		},
		"in the middle of the move": func(r *rig, reached, released chan struct{}) {
			r.s3.FailAt("DeleteObject", "", 1, stop(reached, released))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			s.aside("bad", `{"n":"bad 1"}`, `{"n":"bad 2"}`, `{"n":"bad for ever"}`)
			r.es.FailItems(rejects("ever"))
			reached, released := make(chan struct{}), make(chan struct{})
			where(r, reached, released)
			var late redrive.Report
			var sleeper sync.WaitGroup
			sleeper.Go(func() {
				var err error
				if late, _, err = s.redrive(); err != nil {
					t.Errorf("the late one ended with %v", err)
				}
			})
			<-reached
			report, _, err := s.redrive()
			check(t, err)
			close(released)
			sleeper.Wait()
			wantEqual(t, "what both delivered", report.Delivered+late.Delivered, 2)
			wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
			wantEqual(t, "how often one was written", r.es.Writes(), 1)
			r.wantFiles(1, 1)
			there, _ := r.keys()
			lines := s.lines(there[0])
			if len(lines) != 1 || string(lines[0].RawData) != `{"n":"bad for ever"}` {
				t.Errorf("%d lines are left: %+v", len(lines), lines)
			}
		})
	}
}

// A redrive that is stopped before it writes what is left, and wakes when others have delivered that too, writes nothing.
func TestRedriveWakesAfterAll(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":"bad 1"}`, `{"n":"bad for ever"}`)
	heal := r.es.FailItems(rejects("ever"))
	reached, released := make(chan struct{}), make(chan struct{})
	looks := 0
	over := r.s3.FailAt("HeadObject", "demo-", -1, func(carryOut http.Handler, w http.ResponseWriter, req *http.Request) {
		if looks++; looks == 2 { // the first is the walk's
			stop(reached, released)(carryOut, w, req)
			return
		}
		carryOut.ServeHTTP(w, req)
	})
	var sleeper sync.WaitGroup
	sleeper.Go(func() {
		if report, _, err := s.redrive(); err != nil || report.Delivered != 1 || report.Left != 0 {
			t.Errorf("the late one ended with %v, and %+v", err, report)
		}
	})
	<-reached
	over()
	for range 2 {
		_, _, err := s.redrive()
		check(t, err)
		heal()
	}
	close(released)
	sleeper.Wait()
	r.wantFiles(0, 2)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
	wantEqual(t, "how often one was written", r.es.Writes(), 1)
}

// Two redrives at once share the files, and index each document once.
func TestRedrivesAtOnce(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	const files, each = 3, 40
	for f := range files {
		var records []string
		for i := range each {
			records = append(records, fmt.Sprintf(`{"n":"bad %d %d"}`, f, i))
		}
		s.put(records...)
		heal := r.es.FailItems(rejects("bad"))
		d := s.batch()
		d.First, d.Messages, d.Records, d.Bytes = d.Last, 1, each, int64(len(join(records)))
		_, err := s.destination().Deliver(t.Context(), s.attempt(d))
		check(t, err)
		heal()
	}
	r.wantFiles(files, 0)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			report, _, err := s.redrive()
			if err != nil || report.Left > 0 {
				t.Errorf("%d documents are left, and the run ended with %v", report.Left, err)
			}
		})
	}
	both.Wait()
	wantEqual(t, "the documents", len(r.es.Documents("logs")), files*each)
	wantEqual(t, "how often one was written", r.es.Writes(), 1)
	r.wantFiles(0, files)
}

func join(records []string) (all string) {
	for _, record := range records {
		all += record
	}
	return all
}

// A worker that was killed before it acknowledged its batch is followed by another, which does not find the file that was redriven and
// moved: what is in the index is not indexed again, and what failed is set aside once more.
func TestRedriveBesideTheService(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.put(`{"n":1}`, `{"n":"bad"}`, `{"n":"bad for ever"}`)
	d := s.batch()
	heal := r.es.FailItems(rejects("bad"))
	_, err := s.destination().Deliver(t.Context(), s.attempt(d))
	check(t, err)
	heal()
	r.es.FailItems(rejects("ever"))
	report, _, err := s.redrive()
	check(t, err)
	wantReport(t, report, 1, 0, 1)

	a := s.attempt(d)
	a.Number = 2
	_, err = s.destination().Deliver(t.Context(), a)
	check(t, err)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
	wantEqual(t, "how often one was written", r.es.Writes(), 1)
	r.wantFiles(2, 1) // the same document is in both that are there

	report, _, err = s.redrive()
	check(t, err)
	wantReport(t, report, 0, 0, 2)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 2)
}

// Where the cluster is away the run ends soon, with an error that says so, and nothing is moved.
func TestRedriveWithoutCluster(t *testing.T) {
	for name, c := range map[string]struct {
		do   fakees.Action
		code string
	}{
		"no answer":     {fakees.Reset, codeConnection},
		"not permitted": {fakees.Answer(403, "security_exception", "no"), codeAccessDenied},
		"unavailable":   {fakees.Answer(503, "unavailable", "later"), codeUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			s.aside("bad", `{"n":"bad"}`)
			heal := r.es.Fail(-1, c.do)
			_, _, err := s.redrive()
			var known *delivery.Error
			if !errors.As(err, &known) || known.Code != c.code {
				t.Errorf("the run ended with %v, want %s", err, c.code)
			} else if strings.Contains(known.Message, "retry duration") {
				t.Errorf("it is told %q", known.Message)
			}
			r.wantFiles(1, 0)
			heal()
			report, _, err := s.redrive()
			check(t, err)
			wantReport(t, report, 1, 0, 0)
		})
	}
}

// A redrive that is to end does so in the middle of a file, which stays.
func TestRedriveEnds(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":"bad"}`)
	ctx, cancel := context.WithCancel(t.Context())
	r.es.Fail(1, func(http.Handler, http.ResponseWriter, *http.Request) {
		cancel()
		panic(http.ErrAbortHandler)
	})
	to := s.redriver()
	_, err := redrive.Walk{Store: to.Store()}.Run(ctx, to)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	r.wantFiles(1, 0)
}
