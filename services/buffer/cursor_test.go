package buffer

import (
	"testing"
	"time"

	"hydrant/shared/batch"
	"hydrant/shared/names"
)

func TestAbsentCursor(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		age     time.Duration
		first   uint64
		missing uint64
	}{
		{"of a young stream: nothing was ever cut", time.Hour, 1, 4},
		{"of an old stream: it expired, and what it covered before it", 30 * time.Hour, 5, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			d := document("absent", 5, 1)
			d.Created = time.Now().Add(-test.age)
			r.create(d)
			r.put(d, 7, 100)
			r.purge(d, 4)
			r.serve()
			b := r.awaitCut(d, 7)[0]
			if b.First != test.first || b.Missing != test.missing || b.Messages != 3 {
				t.Errorf("the first batch is %+v, want first %d, missing %d", b, test.first, test.missing)
			}
		})
	}
}

func TestBegin(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	young, old := now.Add(-time.Hour), now.Add(-48*time.Hour)
	for _, test := range []struct {
		name   string
		cursor cursor
		hints  hints
		kept   time.Duration
		want   start
	}{
		{"behind the cursor", cursor{found: true, last: 8}, hints{created: old, since: old}, 25 * time.Hour, start{sequence: 9}},
		{"no cursor, young", cursor{}, hints{created: young, since: young}, 25 * time.Hour, start{sequence: 1}},
		{"no cursor, old", cursor{}, hints{created: old, since: old}, 25 * time.Hour, start{sequence: 4}},
		{"no cursor, old, and descriptors never expire", cursor{}, hints{created: old, since: old}, 0, start{sequence: 1}},
		{"another's cursor", cursor{sequence: 77}, hints{created: young, since: young}, 25 * time.Hour, start{sequence: 1}},
		{"no cursor, a leg that began later", cursor{}, hints{created: old, since: young}, 25 * time.Hour, start{since: young}},
		{"a leg that began later, behind its cursor", cursor{found: true, last: 8}, hints{created: old, since: young}, 25 * time.Hour, start{sequence: 9}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := begin(test.cursor, test.hints, 4, test.kept, now); got != test.want {
				t.Errorf("begins at %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestLegThatBeganLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("later", 5, 600))
	r.put(d, 3, 100)
	c := r.cutter(d)
	h := *c.hints.Load()
	h.created, h.since = h.created.Add(-time.Hour), r.log(d).LastTime.Add(time.Nanosecond)
	c.configure(h)
	r.put(d, 2, 100)
	r.fill(c, 2)
	r.must(c.publish(t.Context(), batch.ReasonInterval))
	if b := r.awaitCut(d, 5)[0]; b.First != 4 || b.Missing != 0 {
		t.Errorf("the first batch is %+v", b)
	}
}

func TestForeignCursor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("foreign", 5, 1))
	r.publish(d, names.NewStreamID(), 1, 900)
	r.put(d, 3, 100)
	r.serve()
	found := r.awaitCut(d, 3)
	if len(found) != 2 || found[1].First != 1 {
		t.Errorf("batches are %+v", found)
	}
}

func TestCursorIsKeptOverARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("kept", 5, 1))
	first := r.serve()
	r.put(d, 3, 100)
	r.awaitCut(d, 3)
	first.stop()
	r.put(d, 3, 100)
	r.serve()
	r.awaitCut(d, 6)
}

func TestExpiredBeginningIsCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("beginnings", 5, 1))
	r.put(d, 10, 100)
	r.publish(d, d.ID, 1, 3)
	r.purge(d, 6)
	s := r.serve()
	r.eventually("the rest is cut", func() bool { return len(r.cut(d, 0)) == 2 })
	b := r.cut(d, 0)[1]
	if b.First != 4 || b.Last != 10 || b.Missing != 3 || b.Messages != 4 {
		t.Errorf("batch is %+v", b)
	}
	r.eventually("the loss is told", func() bool {
		n, _ := s.value("hydrant_buffer_expired_messages_total", "stream=beginnings")
		return n == 3 && s.logged.has("level=ERROR") && s.logged.has("messages=3")
	})
}

func TestEverythingExpired(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := document("gone", 5, 1)
	d.RetentionSeconds = 1
	r.create(d)
	r.put(d, 3, 100)
	r.eventually("the records expire", func() bool { return r.log(d).Msgs == 0 })
	r.serve()
	r.eventually("the gap is cut", func() bool { return len(r.cut(d, 0)) == 1 })
	b := r.cut(d, 0)[0]
	if b.First != 1 || b.Last != 3 || b.Missing != 3 || b.Messages != 0 || b.Reason != batch.ReasonGap || !b.Oldest.IsZero() {
		t.Errorf("the gap is %+v", b)
	}
	r.put(d, 1, 100)
	r.eventually("the next batch is cut", func() bool { return len(r.cut(d, 0)) == 2 })
	if b := r.cut(d, 0)[1]; b.First != 4 || b.Missing != 0 {
		t.Errorf("the next batch is %+v", b)
	}
}

func TestShortLogIsAnErrorAndWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("short", 5, 1))
	r.put(d, 2, 100)
	r.publish(d, d.ID, 1, 100)
	s := r.serve()
	r.eventually("the error is logged", func() bool { return s.logged.has(errShortLog.Error()) })
	if found := r.cut(d, 0); len(found) != 1 {
		t.Errorf("cut behind a log's end: %+v", found)
	}
}
