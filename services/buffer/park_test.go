package buffer

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/natstest"
)

// parked waits until a cutter of the replica has stopped to read; false if it cut a batch before, as the interval was over.
func (r *rig) parked(s *running) bool {
	r.Helper()
	r.eventually("the cutter has stopped to read", func() bool { return s.logged.has("parked") || s.cuts() > 0 })
	return s.logged.has("parked")
}

// A large batch is read when it is complete, and is no other than if it had been read as it came.
func TestParkedUntilTheSizeIsThere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("parked", 16, 900))
	s := r.serve()
	r.put(d, 1, 100)
	r.eventually("the first message is read", func() bool {
		n, _ := s.value("hydrant_buffer_backlog_records")
		return n == 2
	})
	r.parked(s)
	r.put(d, 4, 1_000_000)
	r.eventually("the backlog is told, about", func() bool {
		bytes, _ := s.value("hydrant_buffer_backlog_bytes")
		records, _ := s.value("hydrant_buffer_backlog_records")
		return bytes > 3_000_000 && bytes < 5_000_000 && records == 10
	})
	r.put(d, 14, 1_000_000)
	b := r.awaitCut(d, 17)[0]
	if b.First != 1 || b.Last != 18 || b.Reason != batch.ReasonSize {
		t.Errorf("batch is %+v", b)
	}
}

func TestParkedUntilTheIntervalIsOver(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, func(t *testing.T, within time.Duration) bool {
		r := newRig(t)
		d := r.create(document("parked", 128, 3*int32(within/time.Second)))
		s := r.serve()
		r.put(d, 1, 100)
		if !r.parked(s) {
			return false
		}
		r.put(d, 4, 100)
		for _, b := range r.awaitCut(d, 5) {
			if b.Reason != batch.ReasonInterval {
				t.Errorf("batch is %+v", b)
			}
		}
		r.put(d, 1, 100)
		r.awaitCut(d, 6)
		return true
	})
}

// A log into which nothing comes is not asked again and again.
func TestParkedUntilItIsCalm(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("calm", 128, 900))
	s := r.serve()
	r.put(d, 1, 100)
	r.parked(s)
	r.eventually("the cutter reads again", func() bool { return r.log(d).Consumers == 1 })
	r.put(d, 1, 100)
	r.eventually("it reads what comes", func() bool {
		bytes, _ := s.value("hydrant_buffer_backlog_bytes")
		return bytes == 200
	})
}

// What the log says to have and cannot give, because it was deleted, holds up no batch.
func TestParkedBeforeAHole(t *testing.T) {
	t.Parallel()
	natstest.KeptUp(t, func(t *testing.T, within time.Duration) bool {
		r := newRig(t)
		d := r.create(document("parked", 128, 2*int32(within/time.Second)))
		s := r.serve()
		r.put(d, 1, 100)
		if !r.parked(s) {
			return false
		}
		r.put(d, 1, 100)
		log, err := r.js.Stream(t.Context(), logOf(d, 0).JetStream())
		r.must(err)
		r.must(log.DeleteMsg(t.Context(), 2))
		r.awaitCut(d, 1)
		return true
	})
}

func TestParkedWhileHintsChange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("parked", 128, 900))
	s := r.serve()
	r.put(d, 3, 500_000)
	r.parked(s)
	_, err := r.documents.Update(t.Context(), d.Name, func(d *catalog.DeliveryStream) error {
		d.Replace(catalog.Destination{ID: d.Destination.ID, S3: destination(1, 900)}, time.Now())
		return nil
	})
	r.must(err)
	r.put(d, 1, 500_000)
	if b := r.awaitCut(d, 3)[0]; b.Reason != batch.ReasonSize || b.Version != 2 {
		t.Errorf("batch is %+v", b)
	}
}

func TestWatchEstimates(t *testing.T) {
	type state = jetstream.StreamState
	for _, test := range []struct {
		name string
		seen []state
		last uint64
		want int64
	}{
		{"nothing has come", []state{{Bytes: 1000, Msgs: 10, LastSeq: 10}}, 10, 0},
		{"messages like those before", []state{{Bytes: 1500, Msgs: 15, LastSeq: 15}}, 10, 500},
		{"larger ones", []state{{Bytes: 1000, Msgs: 10, LastSeq: 10}, {Bytes: 9000, Msgs: 12, LastSeq: 12}}, 10, 8000},
		{"a trim hides some", []state{{Bytes: 1000, Msgs: 10, LastSeq: 10}, {Bytes: 800, Msgs: 8, LastSeq: 20}}, 10, 800},
		{"a trim in between", []state{{Bytes: 1000, Msgs: 10, LastSeq: 10}, {Bytes: 100, Msgs: 1, LastSeq: 10}, {Bytes: 900, Msgs: 2, LastSeq: 11}}, 10, 800},
		{"an empty log", []state{{LastSeq: 20}}, 10, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var w watch
			var come int64
			for _, s := range test.seen {
				come = w.see(s, test.last)
			}
			if come != test.want {
				t.Errorf("%d bytes have come, want %d", come, test.want)
			}
		})
	}
}

func TestNextLook(t *testing.T) {
	began := time.Now()
	w := watch{began: began, left: 100 << 20}
	for _, test := range []struct {
		after time.Duration
		come  int64
		want  time.Duration
	}{
		{time.Second, 0, minLook},
		{time.Second, 50 << 20, 500 * time.Millisecond},
		{time.Second, 99 << 20, minLook},
		{time.Minute, 1 << 20, maxLook},
	} {
		if got := w.next(began.Add(test.after), test.come); got != test.want {
			t.Errorf("with %d bytes after %s: %s, want %s", test.come, test.after, got, test.want)
		}
	}
}
