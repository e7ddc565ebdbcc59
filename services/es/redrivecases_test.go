package es

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/s3test"
)

// What cannot be delivered for a reason that somebody may remove stays in its file, all of it, and the other files are dealt with.
func TestRedriveLeavesAFile(t *testing.T) {
	for name, c := range map[string]struct{ f fakees.Failure }{
		"index may not be made": {fakees.Failure{Status: 404, Kind: "index_not_found_exception", Reason: "no such index and [action.auto_create_index] is [false]"}},
		"index is read-only":    {fakees.Failure{Status: 403, Kind: "cluster_block_exception", Reason: "blocked by: [FORBIDDEN/8/index write (api)]"}},
		"cluster is busy":       {fakees.Failure{Status: 429, Kind: "es_rejected_execution_exception", Reason: "busy"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			s.aside("bad", `{"n":"bad 1"}`, `{"n":"bad 2"}`)
			heal := r.es.FailItems(func(i fakees.Item) *fakees.Failure {
				if strings.Contains(string(i.Document), "bad 2") {
					return &c.f
				}
				return nil
			})
			report, steps, err := s.redrive()
			check(t, err)
			wantReport(t, report, 1, 0, 1)
			if why := steps[0].Outcome.Why; why == nil || !strings.Contains(why.Error(), c.f.Kind) {
				t.Errorf("why is %v", why)
			}
			r.wantFiles(1, 0)
			heal()
			report, _, err = s.redrive()
			check(t, err)
			wantReport(t, report, 1, 1, 0)
			wantEqual(t, "how often one was written", r.es.Writes(), 1)
			r.wantFiles(0, 1)
		})
	}
}

// A file that is not one of failed documents, whole, is left, and nothing of it is sent.
func TestRedriveLeavesWhatItCannotRead(t *testing.T) {
	const good = aFailedLine
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":"bad"}`)
	key := r.s3.Keys("data")[0]
	_, was := r.s3.Content("data", key)
	for name, c := range map[string]struct{ content, why string }{
		"cut off":        {good + "\n" + good[:100], "line 2"},
		"of other form":  {`{"n":"bad"}` + "\n", "line 1"},
		"too few lines":  {"", "another number of lines"},
		"too many lines": {good + "\n" + good + "\n", "another number of lines"},
		"not an index":   {strings.Replace(good, `"logs-2026"`, `"logs/_delete_by_query?q=*"`, 1), "esIndexName"},
		"all indices":    {strings.Replace(good, `"logs-2026"`, `"_all"`, 1), "esIndexName"},
		"not an id":      {strings.Replace(good, `h1-a-0-1-0`, `h1\"}}\n`, 1), "esDocumentId"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.s3.Client.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: aws.String("data"), Key: &key, Body: strings.NewReader(c.content), Metadata: was.Metadata,
			})
			check(t, err)
			report, steps, err := s.redrive()
			check(t, err)
			wantEqual(t, "the files that stay", report.Kept, 1)
			why := steps[0].Outcome.Why
			if why == nil || why.Code != codeFileUnreadable || !strings.Contains(why.Error(), c.why) {
				t.Errorf("why is %v, want it to have %q", why, c.why)
			}
			wantEqual(t, "the documents", len(r.es.Documents("logs")), 0)
			r.wantFiles(1, 0)
		})
	}
}

// Behind an alias or a data stream that has rolled over, a document is found by asking and not sent again.
func TestRedriveFindsWhatIsThere(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":"bad"}`)
	there := "h1-" + string(s.doc.ID) + "-0-1-0"
	r.es.RefuseQuestions(fakees.JSON(`{"timed_out":false,"_shards":{"failed":0},"hits":{"hits":[{"_id":"` + there + `"}]}}`))
	r.es.FailItems(func(i fakees.Item) *fakees.Failure {
		t.Errorf("%s was sent", i.ID)
		return nil
	})
	report, _, err := s.redrive()
	check(t, err)
	wantReport(t, report, 0, 1, 0)
	r.wantFiles(0, 1)
}

// Where searching is not permitted the ids say what is there.
func TestRedriveWithoutSearch(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	s.aside("bad", `{"n":1}`, `{"n":"bad"}`)
	r.es.RefuseQuestions(fakees.Answer(403, "security_exception", "no search"))
	report, _, err := s.redrive()
	check(t, err)
	wantReport(t, report, 1, 0, 0)
	r.wantFiles(0, 1)
}

// Documents without ids get one from where they stand, so that they are indexed once by all redrives together.
func TestRedriveWithoutIDs(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo", withoutIDs)
	s.aside("bad", `{"n":"bad"}`, `{"n":"bad"}`, `{"n":"bad for ever"}`)
	r.s3.FailAt("PutObject", "/redriven/", 1, s3test.Answer(403, "AccessDenied"))
	heal := r.es.FailItems(rejects("ever"))
	if _, _, err := s.redrive(); err == nil {
		t.Fatal("the file was moved")
	}
	report, _, err := s.redrive()
	check(t, err)
	wantReport(t, report, 0, 2, 2) // what is left is in the file that the first run wrote, too
	heal()
	_, _, err = s.redrive()
	check(t, err)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 3)
	wantEqual(t, "how often one was written", r.es.Writes(), 1)
}

// A type goes with a document to servers that have types, and to no others.
func TestRedriveTypes(t *testing.T) {
	for _, c := range []struct{ was, is, want string }{{"7.17.0", "7.17.0", "event"}, {"9.1.0", "7.17.0", "event"}, {"7.17.0", "9.1.0", ""}} {
		t.Run(c.was+" "+c.is, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo", func(d *types.AmazonopensearchserviceDestinationDescription) { d.TypeName = aws.String("event") })
			r.es.Be("", c.was)
			s.aside("bad", `{"n":"bad"}`)
			r.es.Be("", c.is)
			report, _, err := s.redrive()
			check(t, err)
			wantReport(t, report, 1, 0, 0)
			wantEqual(t, "the type", r.es.Types()["h1-"+string(s.doc.ID)+"-0-1-0"], c.want)
		})
	}
}

// A file of many requests is sent in several, each of what fits.
func TestRedriveMuch(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	heal := r.es.FailItems(rejects("x"))
	const n, each = 95, 10
	_, err := s.destination().Deliver(t.Context(), s.attempt(s.documents(n, 20)))
	check(t, err)
	heal()
	before, _, _ := r.es.Load()
	r.es.FailItems(rejects(`{"n":1`)) // 1, and 10 to 19
	s.cfg.BulkRecords = each
	report, _, err := s.redrive()
	check(t, err)
	wantReport(t, report, n-11, 0, 11)
	after, _, _ := r.es.Load()
	wantEqual(t, "the requests", after-before, (n+each-1)/each)
	there, _ := r.keys()
	data, head := r.s3.Content("data", there[0])
	wantEqual(t, "the lines", bytes.Count(data, []byte("\n")), 11)
	written := 0
	for _, l := range s.lines(there[0]) {
		written += len(l.RawData)
	}
	wantEqual(t, "the records, as the metadata have them", head.Metadata["hydrant-records"], "11")
	wantEqual(t, "their bytes", head.Metadata["hydrant-bytes"], strconv.Itoa(written))
}
