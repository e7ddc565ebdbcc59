package es

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"

	"hydrant/services/es/internal/fakees"
	"hydrant/shared/batch"
	"hydrant/shared/delivery"
)

// change gives the delivery stream another configuration, as UpdateDestination does.
func (s *deliveryStream) change(options ...option) {
	to := s.doc.Destination
	search := *to.Search
	to.Search = &search
	for _, o := range options {
		o(&to.Search.Description)
	}
	s.doc.Replace(to, time.Now())
}

func toIndex(name string) option {
	return func(d *types.AmazonopensearchserviceDestinationDescription) { d.IndexName = &name }
}

func rotated(d *types.AmazonopensearchserviceDestinationDescription) {
	d.IndexRotationPeriod = types.AmazonopensearchserviceIndexRotationPeriodOneDay
}

func toCluster(to *fakees.Server) option {
	return func(d *types.AmazonopensearchserviceDestinationDescription) { d.ClusterEndpoint = aws.String(to.URL()) }
}

// loseAnswers tries a batch whose first requests are carried out, which nobody learns, while the others are not.
func (s *deliveryStream) loseAnswers(d *destination, b batch.Descriptor, carriedOut int) delivery.Attempt {
	s.t.Helper()
	s.es.Fail(carriedOut, fakees.Lose)
	heal := s.es.Fail(-1, fakees.Reset)
	defer heal()
	a := s.attempt(b)
	_, err := d.Deliver(s.t.Context(), a)
	var failed *delivery.Error
	if !errors.As(err, &failed) {
		s.t.Fatalf("the first attempt returned %v", err)
	}
	a.Number, a.FailedSince, a.Progress = 2, time.Now(), failed.Progress
	return a
}

// TestFormer changes where documents go after answers were lost. What is in the former place is not delivered again.
func TestFormer(t *testing.T) {
	for name, changes := range map[string]func(other *fakees.Server) []option{
		"index":    func(*fakees.Server) []option { return []option{toIndex("other")} },
		"rotation": func(*fakees.Server) []option { return []option{rotated} },
		"cluster":  func(other *fakees.Server) []option { return []option{toCluster(other)} },
		"ids":      func(*fakees.Server) []option { return []option{withoutIDs} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			d := r.destination(func(c *Config) { c.BulkRecords, c.BulkInFlight = 20, 1 })
			b := s.documents(100, 50)
			a := s.loseAnswers(d, b, 2)
			other := fakees.Start(t)
			s.change(changes(other)...)
			got, err := d.Deliver(t.Context(), a)
			check(t, err)
			wantEqual(t, "the records", got.Records, b.Records)
			wantEqual(t, "the bytes", got.Bytes, b.Bytes)
			if got.Warning != nil {
				t.Errorf("it warns of %v", got.Warning)
			}
			total := 0
			for _, n := range []map[string]int{r.es.Indices(), other.Indices()} {
				for count := range maps.Values(n) {
					total += count
				}
			}
			wantEqual(t, "the documents everywhere", total, 100)
			if name != "ids" {
				wantEqual(t, "the documents in the former index", len(r.es.Documents("logs")), 40)
			}
		})
	}
}

// Changed back and forth, a batch has several former places.
func TestFormers(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo")
	d := r.destination(func(c *Config) { c.BulkRecords, c.BulkInFlight = 20, 1 })
	b := s.documents(100, 50)
	a := s.loseAnswers(d, b, 1)
	s.change(toIndex("second"))
	r.es.Fail(1, fakees.Lose)
	heal := r.es.Fail(-1, fakees.Reset)
	if _, err := d.Deliver(t.Context(), a); err == nil {
		t.Fatal("it delivered through a cluster that breaks each connection")
	}
	heal()
	s.change(toIndex("third"))
	got, err := d.Deliver(t.Context(), a)
	check(t, err)
	wantEqual(t, "the records", got.Records, 100)
	for index, want := range map[string]int{"logs": 20, "second": 20, "third": 60} {
		wantEqual(t, "the documents in "+index, len(r.es.Documents(index)), want)
	}
}

// TestFormerSilent has a former cluster that cannot be asked.
func TestFormerSilent(t *testing.T) {
	gone := func(s *fakees.Server) { s.Close() }
	answer := func(status int, kind string) func(*fakees.Server) {
		return func(s *fakees.Server) { s.RefuseQuestions(fakees.Answer(status, kind, "no")) }
	}
	long := time.Now().Add(-200 * time.Second) // more than half of 300
	for name, c := range map[string]struct {
		do      func(*fakees.Server)
		since   time.Time
		goes    bool
		warning bool
	}{
		"gone":                  {do: gone, since: time.Now()},
		"gone for long":         {do: gone, since: long, goes: true, warning: true},
		"busy":                  {do: answer(429, "es_rejected_execution_exception"), since: time.Now()},
		"broken for long":       {do: answer(500, "exception"), since: long, goes: true, warning: true},
		"not allowed":           {do: answer(http.StatusForbidden, "security_exception"), since: time.Now(), goes: true, warning: true},
		"without the index":     {do: answer(404, "index_not_found_exception"), since: time.Now(), goes: true},
		"gone and never tried":  {do: gone, goes: true},
		"breaks the connection": {do: func(s *fakees.Server) { s.RefuseQuestions(fakees.Reset) }, since: time.Now()},
		"answers in part":       {do: func(s *fakees.Server) { s.RefuseQuestions(inPart) }, since: time.Now()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.stream("demo")
			b := s.documents(20, 50)
			other := fakees.Start(t)
			s.change(toCluster(other))
			c.do(r.es)
			a := s.attempt(b)
			if a.FailedSince = c.since; !c.since.IsZero() {
				a.Number = 2
			}
			got, err := r.destination().Deliver(t.Context(), a)
			var failed *delivery.Error
			switch {
			case !c.goes && (!errors.As(err, &failed) || failed.Code != codeFormerIndex || failed.Class != delivery.Retryable):
				t.Fatalf("Deliver returned %+v, %v", got, err)
			case !c.goes:
				wantEqual(t, "the documents", len(other.Documents("logs")), 0)
				return
			}
			check(t, err)
			wantEqual(t, "the documents", len(other.Documents("logs")), 20)
			if warned := got.Warning != nil && got.Warning.Code == codeFormerIndex; warned != c.warning {
				t.Errorf("the warning is %v", got.Warning)
			}
		})
	}
}

func inPart(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"_shards":{"failed":1},"hits":{"hits":[]}}`))
}

// A domain without an address any more cannot be asked, ever.
func TestFormerUnknownDomain(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo", func(d *types.AmazonopensearchserviceDestinationDescription) {
		d.ClusterEndpoint, d.DomainARN = nil, aws.String(domain)
	})
	b := s.documents(20, 50)
	s.change(toCluster(r.es))
	a := s.attempt(b)
	a.Number, a.FailedSince = 2, time.Now()
	got, err := r.destination().Deliver(t.Context(), a)
	check(t, err)
	wantEqual(t, "the documents", len(r.es.Documents("logs")), 20)
	if got.Warning == nil || !strings.Contains(got.Warning.Error(), domain) {
		t.Errorf("the warning is %v", got.Warning)
	}
}

// What earlier attempts delivered to a place that documents got no ids in cannot be asked for.
func TestFormerWithoutIDs(t *testing.T) {
	r := newRig(t)
	s := r.stream("demo", withoutIDs)
	d := r.destination()
	b := s.documents(20, 50)
	s.change(toIndex("other"))
	a := s.attempt(b)
	a.Number, a.FailedSince = 2, time.Now()
	got, err := d.Deliver(t.Context(), a)
	check(t, err)
	wantEqual(t, "the records", got.Records, 20)
	for _, q := range r.es.Requests() {
		if strings.HasSuffix(q.URL.Path, "_search") {
			t.Errorf("it asked %s", q.URL)
		}
	}
}
