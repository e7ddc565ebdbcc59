package s3sink

import (
	"net/http"
	"strings"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/natstest"
)

// TestCorrectedBucketHeals changes the configuration while batches wait because of a wrong one.
func TestCorrectedBucketHeals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	s := r.stream("demo", toBucket("wrong"))
	var batches []batch.Descriptor
	for range 5 {
		seq := s.put([]byte("a record\n"))
		batches = append(batches, s.hand(s.describe(seq, seq)))
	}
	natstest.WaitFor(t, "a failure is logged", func() bool { return len(r.messages("ERRORS")) > 0 })
	s.update(toBucket("data"))
	for _, d := range batches {
		got := s.delivered(d)
		wantEqual(t, "the version", got.Version, 2)
		if !strings.HasPrefix(got.Location, "s3://data/") || !strings.Contains(got.Location, "demo-2-") {
			t.Errorf("delivered to %s", got.Location)
		}
	}
	wantEqual(t, "the objects", len(r.keys("data")), len(batches))
}

// TestEarlierSuccess changes the configuration after an attempt that took effect and was not acknowledged.
func TestEarlierSuccess(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		first  []option
		change option
	}{
		{"another bucket", nil, toBucket("other")},
		{"another prefix", nil, prefixed("new/")},
		{"from a prefix with expressions", []option{prefixed("!{firehose:random-string}/!{timestamp:yyyy/MM/dd}/")}, prefixed("new/")},
		{"compression", nil, compressed},
		{"from compression", []option{compressed}, toBucket("data")},
		{"nothing but the version", nil, prefixed("")},
	}
	for _, tt := range tests {
		for attempt, number := range map[string]int{"second attempt": 2, "as if JetStream had forgotten": 1} {
			t.Run(tt.name+", "+attempt, func(t *testing.T) {
				r := newRig(t)
				r.s3.Bucket("other")
				s := r.stream("demo", tt.first...)
				s.put([]byte("a record\n"))
				d := s.batch()
				destination := r.destination()
				first, err := destination.Deliver(t.Context(), s.attempt(d))
				check(t, err)
				s.update(tt.change)
				s.update(prefixed("and again/"))
				again := s.attempt(d)
				again.Number = number
				second, err := destination.Deliver(t.Context(), again)
				check(t, err)
				wantEqual(t, "the second result", second, first)
				wantEqual(t, "the objects elsewhere", len(r.keys("other")), 0)
				r.wantOne("data")
			})
		}
	}
}

// TestOldDestinationCannotBeAsked delivers all the same when the answer will not change, and waits when it may.
func TestOldDestinationCannotBeAsked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   action
		want bool // delivered
	}{
		{"403", answer(http.StatusForbidden, "AccessDenied"), true},
		{"no such bucket", answer(http.StatusNotFound, "NoSuchBucket"), true},
		{"500", answer(http.StatusInternalServerError, "InternalError"), false},
		{"reset", reset, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.s3.Bucket("other")
			s := r.stream("demo")
			s.put([]byte("a record\n"))
			d := s.batch()
			s.update(toBucket("other"))
			r.s3.FailAt("HeadObject", "/data/", -1, tt.do)
			_, err := r.destination().Deliver(t.Context(), s.attempt(d))
			wantEqual(t, "whether it was delivered", err == nil, tt.want)
		})
	}

	t.Run("500 for half of the retention", func(t *testing.T) {
		r := newRig(t)
		r.s3.Bucket("other")
		s := r.stream("demo", retained(600))
		s.put([]byte("a record\n"))
		d := s.batch()
		s.update(toBucket("other"))
		r.s3.FailAt("HeadObject", "/data/", -1, answer(http.StatusInternalServerError, "InternalError"))
		d.Oldest = d.Oldest.Add(-s.doc.Retention()) // as if it had waited
		_, err := r.destination().Deliver(t.Context(), s.attempt(d))
		check(t, err)
		r.wantOne("other")
	})
}
