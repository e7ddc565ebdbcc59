package recordlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, natstest.ServersOwn()...) }

// filled is a log with messages in it, and what each holds.
type filled struct {
	js       jetstream.JetStream
	stream   jetstream.Stream
	log      names.Log
	payloads [][]byte // of sequence 1, 2, …
	records  []int
}

// fill makes a log of n messages of size bytes, each of 1 to 3 records.
func fill(t *testing.T, js jetstream.JetStream, n, size int) *filled {
	t.Helper()
	f := &filled{js: js, log: names.Log{Stream: "web.clicks", ID: names.NewStreamID()}}
	cfg := broker.LogConfig(f.log, time.Hour, 1)
	cfg.Storage = jetstream.MemoryStorage // what is read is the same, and thousands of syncs are saved
	var err error
	if f.stream, err = js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		records := max(1, min(i%3+1, size))
		payload := bytes.Repeat([]byte{byte(i)}, size)
		m := &nats.Msg{Subject: f.log.Subject(), Data: payload}
		if records > 1 {
			lengths := make([]int, records)
			for j := range lengths {
				lengths[j] = size / records
			}
			lengths[0] += size % records
			m.Header = nats.Header{record.LengthsHeader: {string(record.AppendLengths(nil, lengths))}}
		}
		if _, err := js.PublishMsgAsync(m); err != nil {
			t.Fatal(err)
		}
		f.payloads, f.records = append(f.payloads, payload), append(f.records, records)
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(time.Minute):
		t.Fatal("not published")
	}
	return f
}

// batch describes a range of the log.
func (f *filled) batch(first, last int) batch.Descriptor {
	d := batch.Descriptor{
		Stream: f.log.Stream, StreamID: f.log.ID, Leg: names.LegS3, First: uint64(first), Last: uint64(last), Messages: last - first + 1,
	}
	for i := first - 1; i < last; i++ {
		d.Records += f.records[i]
		d.Bytes += int64(len(f.payloads[i]))
	}
	return d
}

func (f *filled) read(t *testing.T, d batch.Descriptor) ([]byte, Counts) {
	t.Helper()
	var got []byte
	counts, err := New(f.js).Read(t.Context(), d, func(payload []byte) error {
		got = append(got, payload...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, counts
}

func TestWhole(t *testing.T) {
	for _, c := range []struct {
		name           string
		messages, size int
		first, last    int
	}{
		{"one message", 1, 10, 1, 1},
		{"an empty message", 1, 0, 1, 1},
		{"the beginning of the log", 20, 10, 1, 7},
		{"the middle of the log", 20, 10, 5, 12},
		{"the end of the log", 20, 10, 12, 20},
		{"as many messages as one pull takes", 1001, 10, 1, 1000},
		{"one message more than a pull", 1002, 10, 1, 1001},
		{"several pulls", 3500, 10, 17, 3333},
		{"more bytes than a pull", 25, record.MaxMessageBytes, 2, 24},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fill(t, natstest.Start(t).JetStream(), c.messages, c.size)
			d := f.batch(c.first, c.last)
			got, counts := f.read(t, d)
			if want := bytes.Join(f.payloads[c.first-1:c.last], nil); !bytes.Equal(got, want) {
				t.Errorf("read %d bytes, want %d, or others", len(got), len(want))
			}
			if !counts.Whole(d) || !counts.Survivors(d) {
				t.Errorf("counts are %+v of %+v: whole %t, survivors %t", counts, d, counts.Whole(d), counts.Survivors(d))
			}
		})
	}
}

// A message may be larger than what a pull is to hold.
func TestMessageLargerThanAPull(t *testing.T) {
	s := natstest.Start(t, func(o *server.Options) { o.MaxPayload = 8 << 20 })
	f := fill(t, s.JetStream(), 4, 6<<20)
	d := f.batch(1, 4)
	got, counts := f.read(t, d)
	if !counts.Whole(d) || !bytes.Equal(got, bytes.Join(f.payloads, nil)) {
		t.Errorf("read %d bytes, counts %+v", len(got), counts)
	}
}

func TestPartsThatAreGone(t *testing.T) {
	for _, c := range []struct {
		name      string
		lose      func(t *testing.T, f *filled)
		messages  int
		survivors bool
		gone      bool
	}{
		{"nothing", func(*testing.T, *filled) {}, 10, true, false},
		{"what was before", purge(6), 10, true, false},
		{"the first", purge(7), 9, true, false},
		{"all but the last", purge(15), 1, true, false},
		{"all", purge(16), 0, false, true},
		{"all, and more", purge(18), 0, false, true},
		{"the whole log", purge(21), 0, false, true},
		{"one in the middle", remove(10), 9, false, false},
		{"the last", remove(15), 9, false, false},
		{"the first, and one in the middle", func(t *testing.T, f *filled) { purge(8)(t, f); remove(12)(t, f) }, 7, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fill(t, natstest.Start(t).JetStream(), 20, 30)
			d := f.batch(6, 15)
			c.lose(t, f)
			_, counts := f.read(t, d)
			if counts.Messages != c.messages || counts.Bytes != int64(30*c.messages) || counts.Whole(d) != (c.messages == 10) {
				t.Errorf("counts are %+v, whole %t", counts, counts.Whole(d))
			}
			if counts.Survivors(d) != c.survivors {
				t.Errorf("survivors: %t, want %t", counts.Survivors(d), c.survivors)
			}
			gone, err := New(f.js).Gone(t.Context(), d)
			if err != nil || gone != c.gone {
				t.Errorf("gone: %t, %v, want %t", gone, err, c.gone)
			}
		})
	}
}

// purge removes everything before sequence first, as expiry does.
func purge(first uint64) func(*testing.T, *filled) {
	return func(t *testing.T, f *filled) {
		t.Helper()
		if err := f.stream.Purge(t.Context(), jetstream.WithPurgeSequence(first)); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(sequence uint64) func(*testing.T, *filled) {
	return func(t *testing.T, f *filled) {
		t.Helper()
		if err := f.stream.DeleteMsg(t.Context(), sequence); err != nil {
			t.Fatal(err)
		}
	}
}

// The counts are compared one by one: the same number of messages with other contents is not the batch.
func TestWholeComparesEveryCount(t *testing.T) {
	d := batch.Descriptor{Messages: 3, Records: 7, Bytes: 100}
	for _, c := range []struct {
		name string
		got  Counts
		want bool
	}{
		{"the same", Counts{Messages: 3, Records: 7, Bytes: 100}, true},
		{"fewer messages", Counts{Messages: 2, Records: 7, Bytes: 100}, false},
		{"more records", Counts{Messages: 3, Records: 8, Bytes: 100}, false},
		{"fewer bytes", Counts{Messages: 3, Records: 7, Bytes: 99}, false},
		{"nothing", Counts{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.got.Whole(d); got != c.want {
				t.Errorf("whole: %t", got)
			}
		})
	}
}

func TestErrorOfYieldEndsTheRead(t *testing.T) {
	f := fill(t, natstest.Start(t).JetStream(), 20, 30)
	full, calls := errors.New("the destination is full"), 0
	counts, err := New(f.js).Read(t.Context(), f.batch(1, 20), func([]byte) error {
		if calls++; calls == 3 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || err.Error() != full.Error() || calls != 3 || counts.Messages != 3 {
		t.Errorf("after %d calls: %+v, %v", calls, counts, err)
	}
}

// The time limit is the log's: whoever takes the records may be slow.
func TestSlowYield(t *testing.T) { natstest.KeptUp(t, slowYield) }

func slowYield(t *testing.T, within time.Duration) bool {
	f := fill(t, natstest.Start(t).JetStream(), 6, 30)
	d := f.batch(1, 6)
	log := New(f.js)
	log.patience = within
	calls := 0
	counts, err := log.Read(t.Context(), d, func([]byte) error {
		if calls++; calls == 1 {
			<-time.After(log.patience + 100*time.Millisecond)
		}
		return nil
	})
	if err != nil {
		t.Logf("after %d messages: %v", calls, err)
		return false
	}
	if !counts.Whole(d) {
		t.Errorf("counts are %+v", counts)
	}
	return true
}

func TestCancelled(t *testing.T) {
	s := natstest.Start(t)
	f := fill(t, s.JetStream(), 3000, 30)
	d := f.batch(1, 3000)
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		counts, err := New(f.js).Read(ctx, d, func([]byte) error { t.Error("called"); return nil })
		if !errors.Is(err, context.Canceled) || counts.Messages != 0 {
			t.Errorf("counts are %+v, %v", counts, err)
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		counts, err := New(f.js).Read(ctx, d, func([]byte) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) || counts.Messages == d.Messages {
			t.Errorf("counts are %+v, %v", counts, err)
		}
	})
	t.Run("while the log does not answer", func(t *testing.T) {
		js, proxy := stallable(t, s)
		proxy.Stall()
		ctx, cancel := context.WithCancel(t.Context())
		read := make(chan error, 1)
		go func() {
			_, err := New(js).Read(ctx, d, func([]byte) error { return nil })
			read <- err
		}()
		cancel()
		if err := <-read; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v", err)
		}
	})
}

func stallable(t *testing.T, s *natstest.Server) (jetstream.JetStream, *natstest.Proxy) {
	t.Helper()
	proxy := s.Proxy()
	conn, err := nats.Connect(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js, proxy
}

// A log that does not answer is an error, and never taken for a log that has no more.
func TestStalledLog(t *testing.T) {
	s := natstest.Start(t)
	f := fill(t, s.JetStream(), 3000, 30)
	js, proxy := stallable(t, s)
	log := New(js)
	log.patience = 200 * time.Millisecond
	calls := 0
	_, err := log.Read(t.Context(), f.batch(1, 3000), func([]byte) error {
		if calls++; calls == 1 {
			proxy.Stall()
		}
		return nil
	})
	if !errors.Is(err, errStalled) || calls == 3000 {
		t.Errorf("after %d messages: %v", calls, err)
	}
}

func TestNoLog(t *testing.T) {
	js := natstest.Start(t).JetStream()
	d := batch.Descriptor{Stream: "a", StreamID: "x", Leg: names.LegS3, First: 1, Last: 2, Messages: 2}
	if counts, err := New(js).Read(t.Context(), d, func([]byte) error { return nil }); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("reading gives %+v, %v", counts, err)
	}
	if gone, err := New(js).Gone(t.Context(), d); gone || !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("gone: %t, %v", gone, err)
	}
}

// Tries while NATS is away leave nothing behind in the client.
func TestWithoutNATS(t *testing.T) {
	s := natstest.Start(t)
	f := fill(t, s.JetStream(), 3, 30)
	conn := f.js.Conn()
	before := conn.NumSubscriptions()
	s.Stop()
	natstest.WaitFor(t, "the client knows", func() bool { return !conn.IsConnected() })
	for range 20 {
		if _, err := New(f.js).Read(t.Context(), f.batch(1, 3), func([]byte) error { return nil }); err == nil {
			t.Fatal("a read without NATS gives no error")
		}
	}
	if n := conn.NumSubscriptions(); n != before {
		t.Errorf("%d subscriptions, were %d", n, before)
	}
}

// Whoever may publish may write any header. None of them makes a record unreadable, or hides those after it.
func TestHostileHeaders(t *testing.T) {
	for _, c := range []struct {
		name   string
		header nats.Header
		data   string
	}{
		{"a sequence", nats.Header{"Nats-Sequence": {"1"}}, "hostile"},
		{"a sequence far away", nats.Header{"Nats-Sequence": {"1000000"}}, "hostile"},
		{"a word as sequence", nats.Header{"Nats-Sequence": {"x"}}, "hostile"},
		{"a stream", nats.Header{"Nats-Stream": {""}}, "hostile"},
		{"a time", nats.Header{"Nats-Time-Stamp": {"yesterday"}}, "hostile"},
		{"two sequences", nats.Header{"Nats-Sequence": {"1", "2"}}, "hostile"},
		{"an empty sequence", nats.Header{"Nats-Sequence": {""}}, ""},
		{"a last sequence", nats.Header{"Nats-Last-Sequence": {"1"}, "Nats-UpTo-Sequence": {"1"}}, ""},
		{"a size", nats.Header{"Nats-Msg-Size": {"1000"}}, "hostile"},
		{"a heartbeat", nats.Header{"Status": {"100"}, "Description": {"Idle Heartbeat"}}, ""},
		{"a pull that is over", nats.Header{"Status": {"408"}, "Nats-Pending-Messages": {"0"}}, ""},
		{"a conflict", nats.Header{"Status": {"409"}, "Description": {"Consumer Deleted"}}, "hostile"},
		{"a description", nats.Header{"Description": {"EOB"}, "Nats-Num-Pending": {"0"}}, ""},
		{"lengths that do not add up", nats.Header{record.LengthsHeader: {"500*100"}}, "hostile"},
		{"a count", nats.Header{"Nats-Num-Pending": {"x"}}, "hostile"},
		{"no messages", nats.Header{"Status": {"404"}}, ""},
		{"no responders", nats.Header{"Status": {"503"}}, ""},
		{"the end", nats.Header{"Status": {"204"}, "Description": {"EOB"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fill(t, natstest.Start(t).JetStream(), 3, 30)
			for _, m := range []*nats.Msg{{Header: c.header, Data: []byte(c.data)}, {Data: []byte("after")}} {
				m.Subject = f.log.Subject()
				if _, err := f.js.PublishMsg(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				f.payloads, f.records = append(f.payloads, m.Data), append(f.records, 1)
			}
			d := f.batch(2, 5)
			got, counts := f.read(t, d)
			if want := bytes.Join(f.payloads[1:], nil); !counts.Whole(d) || !bytes.Equal(got, want) {
				t.Errorf("read %q, counts %+v", got, counts)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := natstest.Start(b)
	js := s.JetStream()
	log := names.Log{Stream: "bench", ID: names.NewStreamID()}
	if _, err := js.CreateStream(b.Context(), broker.LogConfig(log, time.Hour, 1)); err != nil {
		b.Fatal(err)
	}
	const messages, size = 32, 500_000
	for i := range messages {
		if _, err := js.Publish(b.Context(), log.Subject(), bytes.Repeat([]byte{byte(i)}, size)); err != nil {
			b.Fatal(err)
		}
	}
	d := batch.Descriptor{Stream: log.Stream, StreamID: log.ID, First: 1, Last: messages, Messages: messages, Records: messages, Bytes: messages * size}
	b.SetBytes(messages * size)
	for b.Loop() {
		counts, err := New(js).Read(b.Context(), d, func([]byte) error { return nil })
		if err != nil || !counts.Whole(d) {
			b.Fatal(fmt.Sprint(counts, err))
		}
	}
}
