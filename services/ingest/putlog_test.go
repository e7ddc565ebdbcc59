package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/record"
)

const patience = 60 * time.Second // of a test, for what has to happen

// putRig is an installation with a NATS server and the view of its catalog.
type putRig struct {
	t       testing.TB
	server  *natstest.Server
	js      jetstream.JetStream
	catalog *catalog.Catalog
	view    *catalog.View
	log     *slog.Logger
}

func newPutRig(t testing.TB, changes ...func(*server.Options)) *putRig {
	t.Helper()
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, append(serversOwn(), running)...) })
	r := &putRig{t: t, server: natstest.Start(t, changes...), log: slog.New(slog.DiscardHandler)}
	r.js = r.server.JetStream()
	cfg := broker.Config{NATSURL: r.server.URL(), Replicas: 1, Retention: time.Hour}
	r.must(broker.Prepare(t.Context(), r.js, cfg, r.log))
	var err error
	r.catalog, err = catalog.Open(t.Context(), r.js)
	r.must(err)
	r.view = catalog.NewView(r.catalog, r.log)
	r.run(func(ctx context.Context) { r.view.Run(ctx, nil) })
	return r
}

// serversOwn are goroutines that a NATS server leaves behind in this process when it is stopped while a batch is staged.
func serversOwn() []goleak.Option {
	const server = "github.com/nats-io/nats-server/v2/server"
	return []goleak.Option{
		goleak.IgnoreAnyFunction(server + ".(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction(server + ".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server + "/ats.Register.func1"),
	}
}

func (r *putRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// run runs f until the test ends, or until the function that it returns is called.
func (r *putRig) run(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	r.t.Cleanup(stop)
	return stop
}

// stream makes a delivery stream.
func (r *putRig) stream(name names.Stream, shards int) *catalog.DeliveryStream {
	r.t.Helper()
	d := &catalog.DeliveryStream{Name: name, ID: names.NewStreamID(), Status: types.DeliveryStreamStatusActive, Shards: shards, RetentionSeconds: 3600}
	for shard := range shards {
		_, err := r.js.CreateStream(r.t.Context(), broker.LogConfig(logOf(d, shard), time.Hour, 1))
		r.must(err)
	}
	r.must(r.catalog.Create(r.t.Context(), d))
	return d
}

// remove deletes a delivery stream.
func (r *putRig) remove(d *catalog.DeliveryStream) {
	r.t.Helper()
	for shard := range d.Shards {
		r.must(r.js.DeleteStream(r.t.Context(), logOf(d, shard).JetStream()))
	}
	r.must(r.catalog.Remove(r.t.Context(), d.Name, d.ID))
}

func logOf(d *catalog.DeliveryStream, shard int) names.Log {
	return names.Log{Stream: d.Name, Shard: names.Shard(shard), ID: d.ID}
}

// putLog runs a putLog on a connection of its own, as a service makes it. Each change is made before it runs.
func (r *putRig) putLog(url string, changes ...func(*putLog)) *putLog {
	r.t.Helper()
	conn, err := broker.Connect(broker.Config{NATSURL: url}, "ingest", r.log)
	r.must(err)
	r.t.Cleanup(conn.Close)
	l := newPutLog(conn, r.view, newGate(r.js, broker.Config{}, GateConfig{StoreRefusePercent: 85, StreamSharePercent: 50}, r.log), r.log)
	for _, change := range changes {
		change(l)
	}
	r.run(func(ctx context.Context) { _ = l.Run(ctx) })
	natstest.WaitFor(r.t, "the putLog runs", l.takes)
	return l
}

func (l *putLog) takes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running != nil
}

// put puts records with a deadline that does not matter.
func (r *putRig) put(l *putLog, d *catalog.DeliveryStream, c caller, records ...[]byte) []putResult {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return l.put(ctx, d, c, records)
}

// putOne puts one record, named by its text, and returns its id.
func (r *putRig) putOne(l *putLog, d *catalog.DeliveryStream, text string) record.ID {
	r.t.Helper()
	result := r.put(l, d, callerOf(text), []byte(text))
	r.must(result[0].Err)
	return result[0].ID
}

// contents returns what a log holds, in order.
func (r *putRig) contents(log names.Log) []*jetstream.RawStreamMsg {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), log.JetStream())
	r.must(err)
	state := stream.CachedInfo().State
	var all []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; state.Msgs > 0 && seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(r.t.Context(), seq)
		r.must(err)
		all = append(all, m)
	}
	return all
}

func (r *putRig) texts(log names.Log) []string {
	r.t.Helper()
	texts := []string{}
	for _, m := range r.contents(log) {
		texts = append(texts, string(m.Data))
	}
	return texts
}

// checkStored checks that each record is in the log where its result says.
func (r *putRig) checkStored(log names.Log, records [][]byte, results []putResult) {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), log.JetStream())
	r.must(err)
	if len(results) != len(records) {
		r.t.Fatalf("%d results for %d records", len(results), len(records))
	}
	m := new(jetstream.RawStreamMsg)
	for i, result := range results {
		r.must(result.Err)
		if result.ID.Stream != log.ID || result.ID.Shard != log.Shard {
			r.t.Fatalf("record %d has the id %s, of another log", i, result.ID)
		}
		if result.ID.Sequence != m.Sequence {
			m, err = stream.GetMsg(r.t.Context(), result.ID.Sequence)
			r.must(err)
		}
		if got := recordAt(m, result.ID.Index); got != string(records[i]) {
			r.t.Fatalf("record %d is %.20q at %s, want %.20q", i, got, result.ID, records[i])
		}
	}
}

func recordAt(m *jetstream.RawStreamMsg, index int) string {
	data := string(m.Data)
	for i, n := range record.Lengths(m.Header, len(m.Data)) {
		if i == index {
			return data[:n]
		}
		data = data[n:]
	}
	return "(no such record)"
}

// tap is a TCP proxy before the NATS server, which a test can make fail. It never holds what a client sends, unless it is
// stalled.
type tap struct {
	listener net.Listener
	target   string
	copying  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	held    bool // the server's answers wait
	stalled bool // nothing is read from the client
	lose    int  // the how many next acknowledgement is lost, with its connection; 0 for none
	closed  bool
	conns   []net.Conn
}

func newTap(t testing.TB, url string) *tap {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: listener, target: strings.TrimPrefix(url, "nats://")}
	p.changed = sync.NewCond(&p.mu)
	p.copying.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *tap) url() string { return "nats://" + p.listener.Addr().String() }

// set changes the proxy's behaviour.
func (p *tap) set(change func(*tap)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
	p.changed.Broadcast()
}

func (p *tap) close() {
	p.set(func(p *tap) {
		p.closed = true
		for _, c := range p.conns {
			_ = c.Close()
		}
	})
	_ = p.listener.Close()
	p.copying.Wait()
}

func (p *tap) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		upstream, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.set(func(p *tap) { p.conns = append(p.conns, client, upstream) })
		p.copying.Go(func() { p.pipe(client, upstream, p.mayAsk) })
		p.copying.Go(func() { p.pipe(upstream, client, p.mayAnswer) })
	}
}

// pipe copies until one side ends or pass says no, then closes both.
func (p *tap) pipe(from, to net.Conn, pass func([]byte) bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	chunk := make([]byte, 64<<10)
	for {
		n, err := from.Read(chunk)
		if err != nil || !pass(chunk[:n]) {
			return
		}
		if _, err := to.Write(chunk[:n]); err != nil {
			return
		}
	}
}

func (p *tap) mayAsk([]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.closed {
		p.changed.Wait()
	}
	return !p.closed
}

func (p *tap) mayAnswer(chunk []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held && !p.closed {
		p.changed.Wait()
	}
	if p.lose > 0 && bytes.Contains(chunk, []byte(`"seq":`)) {
		if p.lose--; p.lose == 0 {
			return false
		}
	}
	return !p.closed
}

// together makes the puts commit as one batch: they wait behind a first put, whose answer is held until all do. It returns
// the results in the order of the puts, and the first one's last.
func (r *putRig) together(l *putLog, p *tap, d *catalog.DeliveryStream, before func(), puts ...func() putResult) []putResult {
	r.t.Helper()
	results := make([]putResult, len(puts)+1)
	var group sync.WaitGroup
	p.set(func(p *tap) { p.held = true })
	first := r.lastSequence(d)
	group.Go(func() { results[len(puts)] = r.put(l, d, callerOf("first"), []byte("first"))[0] })
	natstest.WaitFor(r.t, "the first is stored", func() bool { return r.lastSequence(d) == first+1 })
	for i, put := range puts {
		group.Go(func() { results[i] = put() })
		natstest.WaitFor(r.t, "the puts wait", func() bool { return l.counts.Waiting.Load() == int64(i+1) })
	}
	before()
	p.set(func(p *tap) { p.held = false })
	group.Wait()
	return results
}

func (r *putRig) lastSequence(d *catalog.DeliveryStream) uint64 {
	r.t.Helper()
	stream, err := r.js.Stream(r.t.Context(), logOf(d, 0).JetStream())
	r.must(err)
	return stream.CachedInfo().State.LastSeq
}

func (r *putRig) putter(l *putLog, d *catalog.DeliveryStream, text string) func() putResult {
	return func() putResult { return r.put(l, d, callerOf(text), []byte(text))[0] }
}

func (r *putRig) putters(l *putLog, d *catalog.DeliveryStream, prefix string, n int) []func() putResult {
	puts := make([]func() putResult, n)
	for i := range puts {
		puts[i] = r.putter(l, d, fmt.Sprint(prefix, i))
	}
	return puts
}

func nothing() {}

func TestPut(t *testing.T) {
	tests := map[string][][]byte{
		"one record":        recordsOf(100),
		"an empty record":   recordsOf(0),
		"some":              recordsOf(1, 2, 0, 3, 3, 3),
		"a batch of 500 KB": recordsOf(slices.Repeat([]int{1000}, 500)...),
		"one of each part":  recordsOf(slices.Repeat([]int{record.MaxRecordBytes}, 4)...),
		"4 MiB":             recordsOf(slices.Repeat([]int{8388}, 500)...),
	}
	r := newPutRig(t)
	l := r.putLog(r.server.URL())
	for name, records := range tests {
		t.Run(name, func(t *testing.T) {
			d := r.stream(names.Stream(strings.ReplaceAll(name, " ", ".")), 1)
			results := r.put(l, d, callerOf("inv", records...), records...)
			r.checkStored(logOf(d, 0), records, results)
			for i, result := range results[1:] {
				if before := results[i].ID; result.ID.Sequence < before.Sequence || result.ID.Sequence == before.Sequence && result.ID.Index != before.Index+1 {
					t.Errorf("%s comes after %s", result.ID, before)
				}
			}
			// A retry, by another replica after a restart of NATS, is told the same and stores nothing.
			messages := len(r.contents(logOf(d, 0)))
			retry := callerOf("inv", records...)
			retry.Attempt = 2
			if again := r.put(r.putLog(r.server.URL()), d, retry, records...); !slices.Equal(again, results) {
				t.Errorf("the retry is told %v, the first try %v", again, results)
			}
			if n := len(r.contents(logOf(d, 0))); n != messages {
				t.Errorf("%d messages after the retry, %d before", n, messages)
			}
		})
	}
}

func TestPutWithoutRecords(t *testing.T) {
	r := newPutRig(t)
	if results := r.put(r.putLog(r.server.URL()), r.stream("demo", 1), callerOf("inv")); len(results) != 0 {
		t.Errorf("results %v", results)
	}
}

func TestHeaders(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("a.b", 1)
	records := recordsOf(3, 3, 5)
	c := callerOf("inv", records...)
	r.put(l, d, c, records...)
	m := r.contents(logOf(d, 0))[0]
	want := map[string]string{
		"Hydrant-Lengths":      "2*3,5",
		"Nats-Msg-Id":          messageID(d.ID, c, 0),
		"Nats-Expected-Stream": "RECORDS_a~b_0_" + string(d.ID),
		"Nats-Batch-Id":        "",
	}
	for header, value := range want {
		if got := m.Header.Get(header); got != value {
			t.Errorf("%s: %q, want %q", header, got, value)
		}
	}
	if m.Subject != "records.a~b.0" {
		t.Errorf("subject %s", m.Subject)
	}
}

func TestOrderOfAProducerThatWaits(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	var want []string
	for i := range 100 {
		text := fmt.Sprint(i)
		if i%10 == 0 {
			text += strings.Repeat(" ", largeMessage)
		}
		want = append(want, text)
		r.putOne(l, d, text)
	}
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, want) {
		t.Error("the log has the records in another order")
	}
}

func TestShards(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 4)
	used := map[names.Shard]bool{}
	for i := range 64 {
		text := fmt.Sprint(i)
		id := r.putOne(l, d, text)
		used[id.Shard] = true
		r.checkStored(logOf(d, int(id.Shard)), [][]byte{[]byte(text)}, []putResult{{ID: id}})
	}
	if len(used) != 4 {
		t.Errorf("%d shards used, want 4", len(used))
	}
}

func TestPutWhileNATSIsDown(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.putOne(l, d, "before")
	r.server.Stop()
	for _, text := range []string{"refused", "refused, too"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		result := l.put(ctx, d, callerOf(text), [][]byte{[]byte(text)})
		cancel()
		if !errors.Is(result[0].Err, errUnavailable) {
			t.Fatalf("error %v", result[0].Err)
		}
	}
	r.server.Restart()
	r.putOne(l, d, "after")
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestStartWhileNATSIsDown(t *testing.T) {
	r := newPutRig(t)
	d := r.stream("demo", 1)
	r.server.Stop()
	l := r.putLog(r.server.URL())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	result := l.put(ctx, d, callerOf("refused"), [][]byte{[]byte("refused")})
	if err := result[0].Err; !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "NATS cannot be reached") {
		t.Errorf("error %v", err)
	}
	r.server.Restart()
	r.putOne(l, d, "stored")
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"stored"}) {
		t.Errorf("the log holds %q", got)
	}
}

// A put lasts over a short absence of NATS.
func TestPutOutlastsARestart(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.putOne(l, d, "before")
	r.server.Stop()
	var group sync.WaitGroup
	results := make([]putResult, 50)
	for i := range results {
		group.Go(func() { results[i] = r.putter(l, d, fmt.Sprint("during", i))() })
	}
	natstest.WaitFor(r.t, "the put is repeated", func() bool { return l.counts.Repeats.Load() > 2 })
	r.server.Restart()
	group.Wait()
	for i, result := range results {
		r.checkStored(logOf(d, 0), [][]byte{[]byte(fmt.Sprint("during", i))}, []putResult{result})
	}
	if n := len(r.contents(logOf(d, 0))); n != 51 {
		t.Errorf("%d messages, want 51", n)
	}
}

// What is acknowledged over restarts of NATS is in the log, once, where its id says.
func TestRestartsUnderLoad(t *testing.T) {
	r := newPutRig(t)
	d := r.stream("demo", 2)
	stop := make(chan struct{})
	var group sync.WaitGroup
	type acknowledged struct {
		text string
		id   record.ID
	}
	acks := make(chan acknowledged, 1_000_000)
	for replica := range 2 {
		l := r.putLog(r.server.URL(), func(l *putLog) { l.try = 200 * time.Millisecond })
		for producer := range 16 {
			group.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					text := fmt.Sprintf("%d/%d/%d", replica, producer, i)
					if result := r.putter(l, d, text)(); result.Err == nil {
						acks <- acknowledged{text, result.ID}
					} else {
						t.Errorf("%s: %v", text, result.Err)
					}
				}
			})
		}
	}
	for range 3 {
		seen := len(acks)
		natstest.WaitFor(r.t, "puts are acknowledged", func() bool { return len(acks) > seen+200 })
		r.server.Restart()
	}
	seen := len(acks)
	natstest.WaitFor(r.t, "puts are acknowledged", func() bool { return len(acks) > seen+200 })
	close(stop)
	group.Wait()
	close(acks)

	stored := map[string]record.ID{}
	for shard := range d.Shards {
		for _, m := range r.contents(logOf(d, shard)) {
			if _, twice := stored[string(m.Data)]; twice {
				t.Errorf("%s is stored twice", m.Data)
			}
			stored[string(m.Data)] = record.ID{Stream: d.ID, Shard: names.Shard(shard), Sequence: m.Sequence}
		}
	}
	for a := range acks {
		if stored[a.text] != a.id {
			t.Errorf("%s is acknowledged as %s and stored as %s", a.text, a.id, stored[a.text])
		}
	}
}

// A lost answer leads to a repeat, which finds what is stored.
func TestAnswerLost(t *testing.T) {
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l := r.putLog(p.url())
	t.Run("of one message", func(t *testing.T) {
		d := r.stream("single", 1)
		r.putOne(l, d, "before")
		p.set(func(p *tap) { p.lose = 1 })
		if id := r.putOne(l, d, "one"); id.Sequence != 2 {
			t.Errorf("id %s", id)
		}
		if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "one"}) {
			t.Errorf("the log holds %q", got)
		}
	})
	t.Run("of a batch", func(t *testing.T) {
		d := r.stream("batch", 1)
		apart := l.counts.Apart.Load()
		results := r.together(l, p, d, func() { p.set(func(p *tap) { p.lose = 2 }) }, r.putters(l, d, "put", 20)...)
		for i, result := range results[:20] {
			r.checkStored(logOf(d, 0), [][]byte{[]byte(fmt.Sprint("put", i))}, []putResult{result})
		}
		if n := len(r.contents(logOf(d, 0))); n != 21 {
			t.Errorf("%d messages, want 21", n)
		}
		if l.counts.Apart.Load() != apart+1 {
			t.Error("the batch was not settled one by one")
		}
	})
	if l.counts.Repeats.Load() < 2 {
		t.Error("nothing was repeated")
	}
}

// A server that does not read, as a stopped process, holds nobody longer than the deadline.
func TestServerStalls(t *testing.T) {
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url(), func(l *putLog) { l.try = 20 * time.Millisecond }), r.stream("demo", 1)
	r.putOne(l, d, "before")
	p.set(func(p *tap) { p.stalled = true })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	result := l.put(ctx, d, callerOf("unclear"), [][]byte{[]byte("unclear")})
	if !errors.Is(result[0].Err, errUnavailable) {
		t.Errorf("error %v", result[0].Err)
	}
	p.set(func(p *tap) { p.stalled = false })
	r.putOne(l, d, "after")
	// The one in between was sent, several times, and is there once.
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"before", "unclear", "after"}) {
		t.Errorf("the log holds %q", got)
	}
	// A retry of it is told where.
	if id := r.putOne(l, d, "unclear"); id.Sequence != 2 {
		t.Errorf("the retry's id is %s", id)
	}
}

// Nor does it when a write to it blocks, with the connection's lock.
func TestServerStallsInAWrite(t *testing.T) {
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url(), func(l *putLog) { l.try = 100 * time.Millisecond }), r.stream("demo", 8)
	r.putOne(l, d, "before")
	p.set(func(p *tap) { p.stalled = true })
	records := recordsOf(slices.Repeat([]int{record.MaxRecordBytes}, 4)...)
	var group sync.WaitGroup
	for i := range 32 {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			for _, result := range l.put(ctx, d, callerOf(fmt.Sprint(i)), records) {
				if !errors.Is(result.Err, errUnavailable) {
					t.Errorf("error %v", result.Err)
				}
			}
		})
	}
	group.Wait()
	p.set(func(p *tap) { p.stalled = false })
	r.putOne(l, d, "after")
	for shard := range d.Shards {
		if n := len(r.contents(logOf(d, shard))); n > 2 {
			t.Errorf("%d messages in shard %d, where one call was sent at most, and its first part", n, shard)
		}
	}
}

// What was refused before it was sent is never sent.
func TestRefusedWhileWaiting(t *testing.T) {
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url()), r.stream("demo", 1)
	ctx, giveUp := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	r.together(l, p, d, func() {
		giveUp()
		if err := <-refused; !errors.Is(err, errUnavailable) || !strings.Contains(err.Error(), "nothing of it was sent") {
			t.Errorf("error %v", err)
		}
	}, r.putter(l, d, "waits"), func() putResult {
		result := l.put(ctx, d, callerOf("refused"), [][]byte{[]byte("refused")})[0]
		refused <- result.Err
		return result
	}, r.putter(l, d, "waits, too"))
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"first", "waits", "waits, too"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestStop(t *testing.T) {
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	d := r.stream("demo", 1)
	conn, err := broker.Connect(broker.Config{NATSURL: p.url()}, "ingest", r.log)
	r.must(err)
	t.Cleanup(conn.Close)
	l := newPutLog(conn, r.view, newGate(r.js, broker.Config{}, GateConfig{}, r.log), r.log)
	if result := r.putter(l, d, "early")(); !errors.Is(result.Err, errUnavailable) {
		t.Errorf("before Run, a put has error %v", result.Err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	natstest.WaitFor(r.t, "it runs", l.takes)
	results := r.together(l, p, d, func() {
		stop()
		natstest.WaitFor(r.t, "what waits is refused", func() bool { return l.counts.Waiting.Load() == 0 })
	}, r.putters(l, d, "waits", 3)...)
	for _, result := range results[:3] {
		if !errors.Is(result.Err, errUnavailable) {
			t.Errorf("what waited has error %v", result.Err)
		}
	}
	r.must(results[3].Err)
	r.must(<-ended)
	if result := r.putter(l, d, "late")(); !errors.Is(result.Err, errUnavailable) {
		t.Errorf("after Run, a put has error %v", result.Err)
	}
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"first"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestIdleCommittersEnd(t *testing.T) {
	r := newPutRig(t)
	d := r.stream("demo", 4)
	l := r.putLog(r.server.URL(), func(l *putLog) { l.idle = time.Microsecond })
	var group sync.WaitGroup
	for producer := range 8 {
		group.Go(func() {
			for i := range 50 {
				if result := r.putter(l, d, fmt.Sprint(producer, "/", i))(); result.Err != nil {
					t.Error(result.Err)
				}
			}
		})
	}
	group.Wait()
	natstest.WaitFor(r.t, "all committers end", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.committers) == 0
	})
	r.putOne(l, d, "one more")
}

// A process that still knows the delivery stream's last incarnation puts nothing into the present one.
func TestStreamMadeAgain(t *testing.T) {
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, old := r.putLog(p.url()), r.stream("demo", 1)
	var again *catalog.DeliveryStream
	results := r.together(l, p, old, func() {
		r.remove(old)
		again = r.stream("demo", 1)
	}, r.putters(l, old, "late", 10)...)
	results = append(results[:10], r.putter(l, old, "later")())
	for _, result := range results {
		if !errors.Is(result.Err, errStreamGone) {
			t.Errorf("error %v", result.Err)
		}
	}
	r.putOne(l, again, "new")
	if got := r.texts(logOf(again, 0)); !slices.Equal(got, []string{"new"}) {
		t.Errorf("the new log holds %q", got)
	}
}

func TestStreamDeleted(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.remove(d)
	for _, text := range []string{"one", strings.Repeat("large", largeMessage)} {
		if result := r.putter(l, d, text)(); !errors.Is(result.Err, errStreamGone) {
			t.Errorf("error %v", result.Err)
		}
	}
}

// A log that is not there although its delivery stream is may be on its way.
func TestLogComesLater(t *testing.T) {
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	r.must(r.js.DeleteStream(t.Context(), logOf(d, 0).JetStream()))
	var group sync.WaitGroup
	var result putResult
	group.Go(func() { result = r.putter(l, d, "early")() })
	natstest.WaitFor(r.t, "it was tried", func() bool { return l.counts.Repeats.Load() > 2 })
	_, err := r.js.CreateStream(t.Context(), broker.LogConfig(logOf(d, 0), time.Hour, 1))
	r.must(err)
	group.Wait()
	r.checkStored(logOf(d, 0), [][]byte{[]byte("early")}, []putResult{result})
}

func TestStoreFull(t *testing.T) {
	r := newPutRig(t, func(o *server.Options) { o.JetStreamMaxStore = 4 << 20 })
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	var stored []putResult
	var records [][]byte
	for i := 0; ; i++ {
		text := fmt.Sprintf("%0100000d", i)
		result := r.putter(l, d, text)()
		if result.Err == nil {
			stored, records = append(stored, result), append(records, []byte(text))
			continue
		}
		if !errors.Is(result.Err, errUnavailable) || !strings.Contains(result.Err.Error(), "insufficient resources") {
			t.Fatalf("error %v", result.Err)
		}
		break
	}
	if len(stored) < 30 {
		t.Errorf("only %d records of 100 KB fit into 4 MiB", len(stored))
	}
	r.checkStored(logOf(d, 0), records, stored)
	stream, err := r.js.Stream(t.Context(), logOf(d, 0).JetStream())
	r.must(err)
	r.must(stream.Purge(t.Context()))
	r.putOne(l, d, "there is room again")
}
