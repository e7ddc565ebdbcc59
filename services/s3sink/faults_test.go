package s3sink

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/shared/batch"
	"hydrant/shared/delivery"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
)

// TestFaults has S3 fail in each way at each operation. The batch is delivered as one object, written once, and no upload
// stays unfinished.
func TestFaults(t *testing.T) {
	const longer = sdkAttempts + 1 // than one attempt at the batch
	faults := []struct {
		name  string
		times int
		do    action
	}{
		{"500", 1, answer(http.StatusInternalServerError, "InternalError")},
		{"500 for longer", longer, answer(http.StatusInternalServerError, "InternalError")},
		{"503", 1, answer(http.StatusServiceUnavailable, "SlowDown")},
		{"403", 1, answer(http.StatusForbidden, "AccessDenied")},
		{"reset", 1, reset},
		{"lost answer", 1, lose},
		{"lost answers for longer", longer, lose},
		{"slow answer", 1, hold(true, nil, nil)},
		{"black hole", 1, hold(false, nil, nil)},
	}
	steps := append(ways(),
		way{"begin", "CreateMultipartUpload", several, inParts},
		way{"part", "UploadPart", several, inParts})
	for _, op := range steps {
		for _, fault := range faults {
			t.Run(op.name+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				r.s3.Fail(op.operation, fault.times, fault.do)
				r.start(op.change, func(c *Config) { c.S3Timeout = time.Second })
				s := r.stream("demo")
				want := s.fill(op.size)
				got := s.delivered(s.hand(s.batch()))
				wantEqual(t, "the outcome", got.Outcome, batch.Delivered)
				data, _ := r.content(got.Location)
				wantEqual(t, "whether the object is what was published", bytes.Equal(data, want), true)
				r.wantOne("data")
			})
		}
	}
}

// TestLostAnswers makes sure that a lost answer is settled by the object itself, in the same attempt.
func TestLostAnswers(t *testing.T) {
	for _, w := range ways() {
		for name, cause := range map[string]action{
			"answers lost":         lose,
			"500 after the effect": after(answer(http.StatusInternalServerError, "InternalError")),
			"404 after the effect": after(answer(http.StatusNotFound, "NoSuchUpload")),
			"409 after the effect": after(answer(http.StatusConflict, "ConditionalRequestConflict")),
		} {
			t.Run(w.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				s := r.stream("demo")
				s.fill(w.size)
				d := s.batch()
				r.s3.Fail(w.operation, sdkAttempts, cause)
				result, err := r.destination(w.change).Deliver(t.Context(), s.attempt(d))
				check(t, err)
				wantEqual(t, "the outcome", result.Outcome, batch.Delivered)
				wantEqual(t, "the records", result.Records, d.Records)
				r.wantOne("data")
			})
		}
	}
}

// TestRedelivery delivers a batch again, and by two workers at the same time.
func TestRedelivery(t *testing.T) {
	for _, w := range ways() {
		for how, number := range map[string]int{"as a second attempt": 2, "as if JetStream had forgotten": 1} {
			t.Run(w.name+" "+how, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				s := r.stream("demo", w.options()...)
				s.fill(w.size)
				d := s.batch()
				destination := r.destination(w.change)
				first, err := destination.Deliver(t.Context(), s.attempt(d))
				check(t, err)
				again := s.attempt(d)
				again.Number = number
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						second, err := destination.Deliver(t.Context(), again)
						if err != nil {
							t.Errorf("delivered again: %v", err)
						}
						wantEqual(t, "the second result", second, first)
					})
				}
				wg.Wait()
				r.wantOne("data")
			})
		}
	}
}

// TestNotHeld has workers lose their batch at each step: they complete nothing, and leave nothing.
func TestNotHeld(t *testing.T) {
	t.Parallel()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo")
			s.fill(w.size)
			a := s.attempt(s.batch())
			a.Held = func() error { return delivery.ErrNotHeld }
			destination := r.destination(w.change)
			_, err := destination.Deliver(t.Context(), a)
			if !errors.Is(err, delivery.ErrNotHeld) {
				t.Errorf("Deliver returned %v, want ErrNotHeld", err)
			}
			wantEqual(t, "the objects", len(r.keys("data")), 0)
			r.wantNoUploads("data")

			a.Number = 2
			if _, err := destination.Deliver(t.Context(), a); !errors.Is(err, delivery.ErrNotHeld) {
				t.Errorf("a second attempt returned %v, want ErrNotHeld", err)
			}
		})
	}
}

// TestNotHeldBetweenRepeats loses the batch while the SDK waits to repeat the request that completes the object.
func TestNotHeldBetweenRepeats(t *testing.T) {
	t.Parallel()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo")
			s.fill(w.size)
			a := s.attempt(s.batch())
			var stalled bool
			var mu sync.Mutex
			a.Held = func() error {
				mu.Lock()
				defer mu.Unlock()
				if stalled {
					return delivery.ErrNotHeld
				}
				return nil
			}
			r.s3.Fail(w.operation, 1, func(store httpHandler, w httpWriter, q *httpRequest) {
				mu.Lock()
				stalled = true
				mu.Unlock()
				answer(http.StatusServiceUnavailable, "SlowDown")(store, w, q)
			})
			_, err := r.destination(w.change).Deliver(t.Context(), a)
			if !errors.Is(err, delivery.ErrNotHeld) {
				t.Errorf("Deliver returned %v, want ErrNotHeld", err)
			}
			wantEqual(t, "the requests", r.s3.Count(w.operation), 1)
			wantEqual(t, "the objects", len(r.keys("data")), 0)
			r.wantNoUploads("data")
		})
	}
}

// TestStalledUpload has the next worker look before a stalled one completes: the upload is fenced off.
func TestStalledUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	s.fill(several)
	d := s.batch()
	reached, wake := make(chan struct{}, 1), make(chan struct{})
	r.s3.Fail("CompleteMultipartUpload", 1, func(store httpHandler, w httpWriter, q *httpRequest) {
		reached <- struct{}{}
		<-wake
		store.ServeHTTP(w, q)
	})
	destination := r.destination()
	stalled := make(chan error, 1)
	slow := s.attempt(d)
	go func() {
		_, err := destination.Deliver(context.WithoutCancel(t.Context()), slow)
		stalled <- err
	}()
	<-reached
	// The configuration changes, so the next worker writes another name.
	s.update(toBucket("data"))
	next := s.attempt(d)
	next.Number = 2
	result, err := destination.Deliver(t.Context(), next)
	check(t, err)
	wantEqual(t, "the version", result.Version, 2)
	close(wake)
	if err := <-stalled; err == nil {
		t.Error("the stalled worker completed its upload")
	}
	r.wantOne("data")
}

// TestForeignObject finds another object under the name of the batch's.
func TestForeignObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		metadata func(id batch.ID) map[string]string
	}{
		{"of somebody else", func(batch.ID) map[string]string { return nil }},
		{"of another batch", func(batch.ID) map[string]string {
			return map[string]string{objectstore.MetadataBatch: "x.s3.0.1-1", objectstore.MetadataRecords: "1", objectstore.MetadataBytes: "4"}
		}},
		{"of the batch, with other records", func(id batch.ID) map[string]string {
			return map[string]string{objectstore.MetadataBatch: string(id), objectstore.MetadataRecords: "2", objectstore.MetadataBytes: "4"}
		}},
		{"of the batch, and truncated", func(id batch.ID) map[string]string {
			return map[string]string{objectstore.MetadataBatch: string(id), objectstore.MetadataRecords: "1", objectstore.MetadataBytes: "8"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			s := r.stream("demo")
			s.put([]byte("a record"))
			d := s.batch()
			destination := r.destination()
			name, err := newTarget(destination.installation, d, 1, s.doc.Destination.S3, wholeBatch)
			check(t, err)
			_, err = r.s3.Client.PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: &name.Bucket, Key: &name.Key, Body: bytes.NewReader([]byte("keep")), Metadata: tt.metadata(d.ID()),
			})
			check(t, err)
			for number := range 2 {
				a := s.attempt(d)
				a.Number = number + 1
				_, err = destination.Deliver(t.Context(), a)
				var e *delivery.Error
				if !errors.As(err, &e) || e.Class != delivery.Permanent {
					t.Errorf("attempt %d: Deliver returned %v, want a permanent error", a.Number, err)
				}
			}
			data, _ := r.content(name.String())
			wantEqual(t, "what is there", string(data), "keep")
		})
	}
}

// TestTakenNameNotReadable is told that the name is taken, and not allowed to look: that is what the owner has to know.
func TestTakenNameNotReadable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	s.put([]byte("a record"))
	a := s.attempt(s.batch())
	destination := r.destination()
	_, err := destination.Deliver(t.Context(), a)
	check(t, err)
	r.s3.Fail("HeadObject", -1, answer(http.StatusForbidden, "AccessDenied"))
	for number := range 2 {
		a.Number = number + 1
		_, err = destination.Deliver(t.Context(), a)
		var e *delivery.Error
		if !errors.As(err, &e) || e.Code != objectstore.CodeAccessDenied || e.Class != delivery.Permanent {
			t.Errorf("attempt %d: Deliver returned %v, want a permanent %s", a.Number, err, objectstore.CodeAccessDenied)
		}
	}
	r.wantOne("data")
}

// TestKilledWorker finds the unfinished upload of a worker that is no more, and one whose id nobody ever learned.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	s.fill(several)
	d := s.batch()
	destination := r.destination()
	name, err := newTarget(destination.installation, d, 1, s.doc.Destination.S3, wholeBatch)
	check(t, err)
	for _, key := range []string{name.Key, name.Key + ".other"} {
		_, err = r.s3.Client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &name.Bucket, Key: &key})
		check(t, err)
	}
	a := s.attempt(d)
	a.Number = 2
	_, err = destination.Deliver(t.Context(), a)
	check(t, err)
	wantEqual(t, "the unfinished uploads", r.uploads("data"), 1) // the one of another key
}

// TestNoConditions is a store that does not know If-None-Match on writes.
func TestNoConditions(t *testing.T) {
	t.Parallel()
	refusals := map[string]action{
		"501":             answer(http.StatusNotImplemented, "NotImplemented"),
		"InvalidArgument": answerWith(http.StatusBadRequest, "InvalidArgument", "The header If-None-Match is not supported."),
		"InvalidRequest":  answerWith(http.StatusBadRequest, "InvalidRequest", "Invalid value of ifNoneMatch"),
		"501 by name":     answerWith(http.StatusNotImplemented, "NotImplemented", "Header 'If-None-Match' with value '*' not implemented"),
	}
	for name, refusal := range refusals {
		for _, way := range ways() {
			t.Run(way.name+" "+name, func(t *testing.T) {
				r := newRig(t)
				s := r.stream("demo")
				s.fill(way.size)
				d := s.batch()
				r.s3.Fail(way.operation, -1, func(store httpHandler, w httpWriter, q *httpRequest) {
					if q.Header.Get("If-None-Match") != "" {
						refusal(store, w, q)
						return
					}
					store.ServeHTTP(w, q)
				})
				destination := r.destination(way.change)
				for range 3 {
					result, err := destination.Deliver(t.Context(), s.attempt(d))
					check(t, err)
					wantEqual(t, "the outcome", result.Outcome, batch.Delivered)
				}
				wantEqual(t, "the requests", r.s3.Count(way.operation), 2) // with the condition, and without: it is remembered
				r.wantOne("data")
			})
		}
	}
}

// TestCreateBuckets makes a missing bucket where that is wanted, for both kinds of write.
func TestCreateBuckets(t *testing.T) {
	t.Parallel()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			r := newRig(t)
			r.s3.Fail("PUTBucket", 1, lose)
			r.start(w.change, func(c *Config) { c.S3CreateBuckets = true })
			s := r.stream("demo", toBucket("new"))
			s.fill(w.size)
			wantEqual(t, "the outcome", s.delivered(s.hand(s.batch())).Outcome, batch.Delivered)
			r.wantOne("new")
		})
	}
}

// TestAborts makes sure that an upload which is given up is aborted, also when the attempt's own time is over.
func TestAborts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.stream("demo")
	s.fill(17 * part / 5)
	reached := make(chan struct{}, 1)
	r.s3.Fail("UploadPart", -1, hold(false, reached, nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	destination := r.destination()
	if _, err := destination.Deliver(ctx, s.attempt(s.batch())); err == nil {
		t.Error("Deliver succeeded")
	}
	wantEqual(t, "the uploads made", r.s3.Count("CreateMultipartUpload"), 1)
	r.wantNoUploads("data")
	wantEqual(t, "the buffers in use", destination.buffers.Lent(), 0)
	if destination.buffers.Made() > partsInMemory {
		t.Errorf("one worker made %d buffers", destination.buffers.Made())
	}
}

// TestErrorLog finds a failure in the delivery stream's error log, in the guide's form.
func TestErrorLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.start()
	s := r.stream("demo", toBucket("absent"))
	s.put([]byte("one\n"))
	d := s.hand(s.batch())
	var entry delivery.LogEntry
	natstest.WaitFor(t, "an error log entry", func() bool {
		all := r.messages("ERRORS")
		if len(all) > 0 {
			entry = decodeEntry(t, all[0])
		}
		return len(all) > 0
	})
	wantEqual(t, "the code", entry.ErrorCode, objectstore.CodeNoSuchBucket)
	wantEqual(t, "the message", entry.Message, objectstore.Message(objectstore.CodeNoSuchBucket, called))
	wantEqual(t, "the destination", entry.Destination, "arn:aws:s3:::absent")
	wantEqual(t, "the stream", entry.DeliveryStreamARN, s.doc.ARN)
	wantEqual(t, "the batch", entry.Batch, d.ID())
	r.s3.Bucket("absent")
	wantEqual(t, "the outcome", s.delivered(d).Outcome, batch.Delivered)
	wantEqual(t, "the version", aws.ToString(s.doc.Destination.S3.BucketARN), "arn:aws:s3:::absent")
}
