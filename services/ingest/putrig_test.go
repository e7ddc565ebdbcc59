package ingest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

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

// putResult is what became of one record.
type putResult struct {
	ID  record.ID
	Err error
}

// list returns what became of each record.
func (r putResults) list() []putResult {
	all := make([]putResult, 0, r.records)
	for part := range r.parts {
		for index := range r.parts[part].records {
			all = append(all, putResult{ID: r.recordID(part, index)})
		}
	}
	for len(all) < r.records {
		all = append(all, putResult{Err: r.err})
	}
	return all
}

// dataOf returns records as they come from a request.
func dataOf(records ...[]byte) putData {
	data := putData{Bytes: bytes.Join(records, nil)}
	for _, r := range records {
		data.Lengths = append(data.Lengths, len(r))
	}
	return data
}

// put puts records with a deadline that does not matter.
func (r *putRig) put(l *putLog, d *catalog.DeliveryStream, c caller, records ...[]byte) []putResult {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return l.put(ctx, d, c, dataOf(records...)).list()
}

// putOne puts one record, named by its text, and returns its id.
func (r *putRig) putOne(l *putLog, d *catalog.DeliveryStream, text string) record.ID {
	r.t.Helper()
	result := r.put(l, d, callerOf(text), []byte(text))
	r.must(result[0].Err)
	return result[0].ID
}

// logStream returns the JetStream stream of a log, as it is now. The rig's own connection may still be on its way back after
// a restart of NATS.
func (r *putRig) logStream(log names.Log) jetstream.Stream {
	r.t.Helper()
	natstest.WaitFor(r.t, "connected", r.js.Conn().IsConnected)
	stream, err := r.js.Stream(r.t.Context(), log.JetStream())
	r.must(err)
	return stream
}

// contents returns what a log holds, in order.
func (r *putRig) contents(log names.Log) []*jetstream.RawStreamMsg {
	r.t.Helper()
	stream := r.logStream(log)
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
	stream := r.logStream(log)
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
			var err error
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
	return r.logStream(logOf(d, 0)).CachedInfo().State.LastSeq
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
