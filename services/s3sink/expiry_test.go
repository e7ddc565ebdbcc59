package s3sink

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
)

// lines puts n messages of three records, and returns the batch of all and what each message holds.
func (s *deliveryStream) lines(n int) (batch.Descriptor, []string) {
	var all []string
	for i := range n {
		line := "line " + itoa(i) + "\n"
		s.put([]byte(line), []byte(line), []byte(line))
		all = append(all, strings.Repeat(line, 3))
	}
	return s.batch(), all
}

// TestExpired has the log lose the beginning, the middle or all of a batch before it is delivered.
func TestExpired(t *testing.T) {
	for name, change := range map[string]func(*Config){"assembled": inParts, "straight from the log": straight} {
		t.Run(name, func(t *testing.T) { testExpired(t, change) })
	}
}

func testExpired(t *testing.T, change func(*Config)) {
	t.Helper()
	r := newRig(t)
	r.start(change)
	t.Run("the beginning", func(t *testing.T) {
		s := r.stream("beginning")
		d, lines := s.lines(10)
		s.purge(d.First + 4)
		got := s.delivered(s.hand(d))
		wantEqual(t, "the outcome", got.Outcome, batch.Delivered)
		wantEqual(t, "the records", got.Records, 18)
		wantEqual(t, "the lost records", got.ExpiredRecords, 12)
		data, object := r.content(got.Location)
		wantEqual(t, "the object", string(data), strings.Join(lines[4:], ""))
		wantEqual(t, "hydrant-batch", object.Metadata[objectstore.MetadataBatch], string(d.ID()))
		wantEqual(t, "hydrant-records", object.Metadata[objectstore.MetadataRecords], "18")
		wantEqual(t, "hydrant-bytes", object.Metadata[objectstore.MetadataBytes], itoa(len(data)))
		wantEqual(t, "hydrant-expired", object.Metadata[metadataExpired], "12")
		r.wantLogged(s, "RecordsExpired")
	})
	t.Run("everything", func(t *testing.T) {
		s := r.stream("everything")
		d, _ := s.lines(10)
		s.put([]byte("of the next batch"))
		s.purge(d.Last + 1)
		got := s.delivered(s.hand(d))
		wantEqual(t, "the outcome", got.Outcome, batch.Expired)
		wantEqual(t, "the lost records", got.ExpiredRecords, 30)
		wantEqual(t, "the location", got.Location, "")
		r.wantLogged(s, "RecordsExpired")
	})
	t.Run("everything, and the bucket was never there", func(t *testing.T) {
		s := r.stream("no-bucket", toBucket("absent"))
		d, _ := s.lines(2)
		s.purge(d.Last + 1)
		wantEqual(t, "the outcome", s.delivered(s.hand(d)).Outcome, batch.Expired)
	})
}

func (r *rig) wantLogged(s *deliveryStream, code string) {
	r.t.Helper()
	natstest.WaitFor(r.t, "an error log entry "+code, func() bool {
		for _, data := range r.messages(names.ErrorsStream) {
			if e := decodeEntry(r.t, data); e.ErrorCode == code && e.DeliveryStreamARN == s.doc.ARN {
				return true
			}
		}
		return false
	})
}

// TestHole is a log that lost something in the middle, which no expiry does: the batch waits rather than be cut short.
func TestHole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	d, _ := s.lines(5)
	log, err := r.js.Stream(t.Context(), s.log().JetStream())
	check(t, err)
	check(t, log.DeleteMsg(t.Context(), d.First+2))
	for _, w := range ways() {
		_, err = r.destination(w.change).Deliver(t.Context(), s.attempt(d))
		var e *delivery.Error
		if !errors.As(err, &e) || e.Class != delivery.Retryable || !strings.Contains(err.Error(), "read fewer records than the batch has") {
			t.Errorf("%s: Deliver returned %v, want a retryable error", w.name, err)
		}
	}
	wantEqual(t, "the objects", len(r.keys("data")), 0)
}

// TestWrongCounts is a descriptor that tells of more than its messages hold: nothing is delivered under its name.
func TestWrongCounts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	d, _ := s.lines(5)
	for name, change := range map[string]func(*batch.Descriptor){
		"more records":   func(d *batch.Descriptor) { d.Records++ },
		"fewer records":  func(d *batch.Descriptor) { d.Records-- },
		"more bytes":     func(d *batch.Descriptor) { d.Bytes++ },
		"fewer bytes":    func(d *batch.Descriptor) { d.Bytes-- },
		"far less bytes": func(d *batch.Descriptor) { d.Bytes /= 2 },
	} {
		wrong := d
		change(&wrong)
		for _, w := range ways() {
			if _, err := r.destination(w.change).Deliver(t.Context(), s.attempt(wrong)); err == nil {
				t.Errorf("delivered %s, with %s", w.name, name)
			}
		}
	}
	wantEqual(t, "the objects", len(r.keys("data")), 0)
}

// TestExpiresDuringUpload has more expire after what survived was counted, while the first part of it goes out.
func TestExpiresDuringUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo", compressed)
	s.fill(17 << 20) // more than is read ahead of what is sent
	d := s.batch()
	s.purge(d.First + 3)
	var mu sync.Mutex
	uploads := 0
	r.s3.Fail("CreateMultipartUpload", -1, func(store httpHandler, w httpWriter, q *httpRequest) {
		mu.Lock()
		defer mu.Unlock()
		if uploads++; uploads == 2 { // the first is of the whole batch
			s.purge(d.Last - 1)
		}
		store.ServeHTTP(w, q)
	})
	result, err := r.destination(ownParts).Deliver(t.Context(), s.attempt(d))
	check(t, err)
	wantEqual(t, "the outcome", result.Outcome, batch.Delivered)
	wantEqual(t, "the records", result.Records, 4)
	wantEqual(t, "the lost records", result.ExpiredRecords, d.Records-4)
	r.wantOne("data")
}

// TestExpiredAfterDelivery delivers whole or in part, loses the answer and then more of the log: what is there counts.
func TestExpiredAfterDelivery(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		before func(s *deliveryStream, d batch.Descriptor) // the first attempt
		after  func(s *deliveryStream, d batch.Descriptor) // the second
		change option
	}{
		{"whole, then a part is left", nothing, purgeTo(4), nil},
		{"whole, then nothing is left", nothing, purgeTo(10), nil},
		{"a part, then less is left", purgeTo(2), purgeTo(7), nil},
		{"a part, then nothing is left", purgeTo(2), purgeTo(10), nil},
		{"whole, then a part is left, under a new configuration", nothing, purgeTo(4), toBucket("other")},
		{"whole, then nothing is left, under a new configuration", nothing, purgeTo(10), toBucket("other")},
		{"a part, then less is left, under a new configuration", purgeTo(2), purgeTo(7), toBucket("other")},
		{"a part, then nothing is left, under a new configuration", purgeTo(2), purgeTo(10), prefixed("p")},
	}
	for _, tt := range tests {
		for attempt, number := range map[string]int{"second attempt": 2, "as if JetStream had forgotten": 1} {
			t.Run(tt.name+", "+attempt, func(t *testing.T) {
				r := newRig(t)
				r.s3.Bucket("other")
				s := r.stream("demo")
				d, _ := s.lines(10)
				destination := r.destination()
				tt.before(s, d)
				first, err := destination.Deliver(t.Context(), s.attempt(d))
				check(t, err)
				tt.after(s, d)
				if tt.change != nil {
					s.update(tt.change)
				}
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

func nothing(*deliveryStream, batch.Descriptor) {}

func purgeTo(n uint64) func(*deliveryStream, batch.Descriptor) {
	return func(s *deliveryStream, d batch.Descriptor) { s.purge(d.First + n) }
}

// TestExpiredAndS3Away is a batch of which nothing is left, and an S3 that cannot tell whether it was delivered.
func TestExpiredAndS3Away(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   action
		age  int // in retentions
		want bool
	}{
		{"a failure that may pass, right after the expiry", answer(http.StatusInternalServerError, "InternalError"), 0, false},
		{"a failure that may pass, long after", answer(http.StatusInternalServerError, "InternalError"), 3, true},
		{"a refusal", answer(http.StatusForbidden, "AccessDenied"), 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo", retained(60))
			d, _ := s.lines(3)
			d.Newest = d.Newest.Add(-s.doc.Retention() - s.doc.Retention()*timeDuration(tt.age))
			d.Oldest = d.Newest
			s.purge(d.Last + 1)
			r.s3.Fail("HeadObject", -1, tt.do)
			for number := 1; number <= 2; number++ {
				a := s.attempt(d)
				a.Number = number
				result, err := r.destination().Deliver(t.Context(), a)
				wantEqual(t, "whether there is an outcome", err == nil, tt.want)
				if err == nil {
					wantEqual(t, "the outcome", result.Outcome, batch.Expired)
				}
			}
		})
	}
}
