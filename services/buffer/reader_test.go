package buffer

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/jspull"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

// reader opens a reader of shard 0, from its beginning.
func (r *rig) reader(conn *nats.Conn, log names.Log) *reader {
	r.Helper()
	js, err := jetstream.New(conn)
	r.must(err)
	stream, err := js.Stream(r.Context(), log.JetStream())
	r.must(err)
	opened, err := openReader(r.Context(), stream, conn, names.LegS3, start{sequence: 1})
	r.must(err)
	return opened
}

// next waits for the next message that the reader reads.
func (r *rig) next(from *reader) arrival {
	r.Helper()
	for {
		a, found, err := from.read(r.answer(from))
		r.must(err)
		if found {
			return a
		}
	}
}

// failure reads until that fails.
func (r *rig) failure(from *reader) error {
	r.Helper()
	for {
		if _, _, err := from.read(r.answer(from)); err != nil {
			return err
		}
	}
}

func (r *rig) answer(to *reader) *nats.Msg {
	r.Helper()
	select {
	case m := <-to.answers:
		return m
	case <-time.After(patience):
		r.Fatal("no answer comes")
		return nil
	}
}

// Who publishes by NATS itself chooses the headers. What looks like a word of JetStream's own is a record like any other,
// and hides none of those around it.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("hostile", 5, 1))
	r.put(d, 1, 100)
	records, bytes := 2, 100
	for _, h := range []nats.Header{
		{"Status": {"100"}, "Description": {"Idle Heartbeat"}, "Nats-Last-Consumer": {"7"}},
		{"Status": {"100"}, "Description": {"FlowControl Request"}},
		{"Status": {"404"}, "Description": {"No Messages"}},
		{"Status": {"408"}, "Description": {"Request Timeout"}, "Nats-Pending-Messages": {"500"}, "Nats-Pending-Bytes": {"0"}},
		{"Status": {"408"}, "Nats-Pending-Messages": {"-1"}},
		{"Status": {"409"}, "Description": {"Consumer Deleted"}},
		{"Status": {"409"}, "Description": {"Leadership Change"}},
		{"Status": {"409"}, "Description": {"Message Size Exceeds MaxBytes"}},
		{"Status": {"503"}},
		{"Status": {"204"}, "Description": {"EOB"}},
		{"Status": {""}},
		{"Status": {"100", "503"}},
		{"Description": {"Consumer Deleted"}},
		{"Nats-Pending-Messages": {"x"}},
		{"Nats-Consumer-Stalled": {"_INBOX.x"}},
		{"Nats-Last-Consumer": {"1000000"}, "Nats-Last-Stream": {"1000000"}},
		{"Nats-Sequence": {"1"}, "Nats-Stream": {"X"}, "Nats-Time-Stamp": {"x"}},
		{"Nats-Num-Pending": {"0"}},
		{"Nats-Msg-Size": {"1000000000"}},
		{"Nats-Msg-Size": {"many", "-1"}},
		{record.LengthsHeader: {"500*100"}},
	} {
		for _, data := range []string{"", "a record"} {
			_, err := r.js.PublishMsg(t.Context(), &nats.Msg{Subject: names.RecordsSubject(d.Name, 0), Header: h, Data: []byte(data)})
			r.must(err)
			records, bytes = records+1, bytes+len(data)
		}
	}
	for _, line := range []string{"100 Idle Heartbeat", "404", "408 Request Timeout", "409 Consumer Deleted", "503"} {
		r.putRaw(d, "NATS/1.0 "+line+"\r\n\r\n", "")
		records++
	}
	r.put(d, 1, 100)
	records, bytes = records+2, bytes+100
	last := r.log(d).LastSeq
	r.serve()
	var messages, cutRecords, cutBytes int
	for _, b := range r.awaitCut(d, last) {
		messages, cutRecords, cutBytes = messages+b.Messages, cutRecords+b.Records, cutBytes+int(b.Bytes)
	}
	if messages != int(last) || cutRecords != records || cutBytes != bytes {
		t.Errorf("batches hold %d messages, %d records, %d bytes; want %d, %d, %d", messages, cutRecords, cutBytes, last, records, bytes)
	}
}

// putRaw stores a message in shard 0 as a client does that writes its headers by hand.
func (r *rig) putRaw(d *catalog.DeliveryStream, header, data string) {
	r.Helper()
	conn, err := new(net.Dialer).DialContext(r.Context(), "tcp", strings.TrimPrefix(r.nats.URL(), "nats://"))
	r.must(err)
	defer func() { _ = conn.Close() }()
	r.must(conn.SetDeadline(time.Now().Add(patience)))
	_, err = fmt.Fprintf(conn, "CONNECT {\"headers\":true,\"verbose\":false}\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n",
		names.RecordsSubject(d.Name, 0), len(header), len(header)+len(data), header, data)
	r.must(err)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "PONG" {
			return
		}
	}
	r.Fatal("NATS does not take the message")
}

// Whatever the pace of the two, messages are always on the way, and never more than there is room for.
func TestReaderAsksInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("steady", 5, 1))
	const messages = 5 * dueMessages
	r.fillLog(d, messages)
	from := r.reader(r.nats.Conn(), logOf(d, 0))
	defer from.close(t.Context())
	for i := range uint64(messages) {
		a := r.next(from)
		if a.delivery != i+1 || a.sequence != i+1 || a.bytes != 10 || a.records != 1 || a.pending != messages-i-1 {
			t.Fatalf("message %d is %+v", i+1, a)
		}
		if from.due <= dueMessages/2 || from.due > dueMessages || len(from.answers) > dueMessages {
			t.Fatalf("%d are due and %d wait", from.due, len(from.answers))
		}
	}
}

// fillLog stores messages of 10 bytes in shard 0.
func (r *rig) fillLog(d *catalog.DeliveryStream, messages int) {
	r.Helper()
	js, err := jetstream.New(r.nats.Conn(), jetstream.WithPublishAsyncMaxPending(1000))
	r.must(err)
	for range messages {
		_, err := js.PublishAsync(names.RecordsSubject(d.Name, 0), []byte("0123456789"), jetstream.WithStallWait(patience))
		r.must(err)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		r.Fatal("not stored")
	}
}

// ask pulls as the reader does, with other times.
func (r *rig) ask(from *reader, request jspull.Request) {
	r.Helper()
	r.must(request.Send(from.conn, from.log.CachedInfo().Config.Name, from.name, from.inbox))
	from.due += request.Messages
}

func TestPullThatExpires(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("expires", 5, 1))
	from := r.reader(r.nats.Conn(), logOf(d, 0))
	defer from.close(t.Context())
	r.ask(from, jspull.Request{Messages: 7, Expires: 10 * time.Millisecond})
	for from.due != dueMessages {
		if _, found, err := from.read(r.answer(from)); found || err != nil {
			t.Fatalf("a pull that expires: found %t, %v", found, err)
		}
	}
	r.put(d, 1, 100)
	if a := r.next(from); a.sequence != 1 {
		t.Errorf("the next message is %+v", a)
	}
}

// A heartbeat tells how much was sent, so that a message which was lost is missed though none comes after it.
func TestHeartbeatFindsAHole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("holes", 5, 1))
	r.put(d, 2, 100)
	from := r.reader(r.nats.Conn(), logOf(d, 0))
	defer from.close(t.Context())
	r.next(from)
	lost := r.answer(from)
	r.ask(from, jspull.Request{Messages: 1, Expires: time.Minute, Heartbeat: 10 * time.Millisecond})
	beat := r.answer(from)
	if _, _, err := from.read(beat); !errors.Is(err, errHole) {
		t.Errorf("with a message missing: %v", err)
	}
	if _, found, err := from.read(lost); !found || err != nil {
		t.Fatal(err)
	}
	if _, found, err := from.read(beat); found || err != nil {
		t.Errorf("with no message missing: found %t, %v", found, err)
	}
}

func TestReaderOfWhatIsDeleted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		says   string
		remove func(*rig, *reader)
	}{
		{"its consumer", "409", func(r *rig, from *reader) { r.must(from.log.DeleteConsumer(r.Context(), from.name)) }},
		{"the log", "409", func(r *rig, from *reader) { r.must(r.js.DeleteStream(r.Context(), from.log.CachedInfo().Config.Name)) }},
		{"its consumer, before it asks", "503", func(r *rig, from *reader) {
			r.must(from.log.DeleteConsumer(r.Context(), from.name))
			_ = r.failure(from) // of the pull that was open
			from.due = 0
			r.must(from.pull())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			d := r.create(document("deleted", 5, 1))
			from := r.reader(r.nats.Conn(), logOf(d, 0))
			defer from.close(t.Context())
			r.eventually("JetStream knows of the pull", func() bool {
				consumer, err := from.log.Consumer(t.Context(), from.name)
				return err == nil && consumer.CachedInfo().NumWaiting == 1
			})
			test.remove(r, from)
			if err := r.failure(from); !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v, want %q", err, test.says)
			}
		})
	}
}

// Whatever JetStream says, a reader never thinks that more messages are due than it has asked for, or fewer than none.
func FuzzHeed(f *testing.F) {
	for _, m := range []nats.Header{
		{"Status": {"100"}, "Nats-Last-Consumer": {"3"}},
		{"Status": {"408"}, "Nats-Pending-Messages": {"7"}},
		{"Status": {"408"}, "Nats-Pending-Messages": {"-1"}},
		{"Status": {"409"}, "Description": {"Consumer Deleted"}},
		{},
	} {
		f.Add(m.Get("Status"), m.Get("Nats-Pending-Messages"), m.Get("Nats-Last-Consumer"))
	}
	f.Fuzz(func(t *testing.T, status, pending, last string) {
		r := &reader{due: 9, last: 3}
		err := r.heed(&nats.Msg{Header: nats.Header{"Status": {status}, "Nats-Pending-Messages": {pending}, "Nats-Last-Consumer": {last}}})
		if r.due < 0 || r.due > 9 || r.last != 3 {
			t.Errorf("%d are due, %d have come", r.due, r.last)
		}
		if err != nil && r.due != 9 {
			t.Errorf("%d are due after %v", r.due, err)
		}
		if known := status == "100" || status == "408"; !known && err == nil {
			t.Errorf("status %q is no doubt", status)
		}
	})
}

// JetStream's silence ends a reader; its own does not.
func TestSilence(t *testing.T) {
	from := &reader{answers: make(chan *nats.Msg, 1), silence: time.NewTimer(time.Hour)}
	defer from.silence.Stop()
	if err := from.silent(); !errors.Is(err, errMute) {
		t.Errorf("with nothing to read: %v", err)
	}
	from.answers <- nats.NewMsg("")
	if err := from.silent(); err != nil {
		t.Errorf("with a message to read: %v", err)
	}
}

// A reader that is closed leaves nothing behind, in the client or the server.
func TestReaderCloses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.create(document("closes", 5, 1))
	r.fillLog(d, 2*dueMessages)
	conn := r.nats.Conn()
	from := r.reader(conn, logOf(d, 0))
	before := conn.NumSubscriptions()
	r.next(from)
	from.close(t.Context())
	if n := conn.NumSubscriptions(); n != before-1 {
		t.Errorf("%d subscriptions, were %d", n, before)
	}
	r.eventually("its consumer is gone", func() bool { return r.log(d).Consumers == 0 })
}

// BenchmarkCut cuts the batches of a log of 200,000 messages.
func BenchmarkCut(b *testing.B) {
	const messages = 2 * maxBatchMessages
	r := newRig(b)
	d := document("bench", 128, 900)
	log := broker.LogConfig(logOf(d, 0), d.Retention(), 1)
	log.Storage = jetstream.MemoryStorage // thousands of syncs are saved
	_, err := r.js.CreateStream(b.Context(), log)
	r.must(err)
	r.fillLog(d, messages)
	for b.Loop() {
		r.must(r.batches.Purge(b.Context()))
		c := r.cutter(d)
		from, err := c.open(b.Context())
		r.must(err)
		for c.next <= messages {
			r.must(c.step(b.Context(), nil, from))
		}
		from.close(b.Context())
	}
	b.ReportMetric(float64(b.N)*messages/b.Elapsed().Seconds(), "messages/s")
}
