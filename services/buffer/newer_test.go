package buffer

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"hydrant/shared/batch"
	"hydrant/shared/catalog"
	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// A message of a format that the buffer does not know ends its batches: what came before it is cut, nothing is cut over it,
// and it is still there when the buffer is upgraded. Other delivery streams go on.
func TestStopsAtAMessageOfANewerFormat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	newer, ours := r.create(document("newer", 5, 900)), r.create(document("ours", 5, 0))
	r.put(newer, 3, 100)
	r.putNewer(newer)
	r.put(newer, 2, 100)
	r.put(ours, 2, 100)
	refused := new(format.Refused)
	s := r.serveTelling(refused)
	r.awaitCut(ours, 2)
	r.eventually("it is told what is left alone", func() bool { return len(refused.List()) == 1 })
	if line := refused.List()[0]; !strings.Contains(line, "delivery stream newer, leg s3, shard 0: ") || !strings.Contains(line, "message 4: written by a newer version") || !strings.Contains(line, "format 2, known up to 1") {
		t.Errorf("it is told that %q", line)
	}
	found := r.awaitCut(newer, 3)
	if len(found) != 1 || found[0].Reason != batch.ReasonFormat || found[0].Messages != 3 || found[0].RecordFormat != 0 {
		t.Errorf("cut are %+v", found)
	}
	if !s.logged.has("known up to 1") {
		t.Error("the log does not say why")
	}
	s.stop()
	if left := refused.List(); len(left) > 0 {
		t.Errorf("after the end %q is still left alone", left)
	}
	if state := r.log(newer); state.LastSeq != 6 || state.Msgs < 3 {
		t.Errorf("left in the log are %+v", state)
	}
}

// putNewer stores a message as a later version may write it.
func (r *rig) putNewer(d *catalog.DeliveryStream) {
	r.Helper()
	m := nats.NewMsg(names.RecordsSubject(d.Name, 0))
	m.Data = []byte("records in some other form")
	m.Header.Set(record.FormatHeader, "2")
	_, err := r.js.PublishMsg(r.Context(), m)
	r.must(err)
}
