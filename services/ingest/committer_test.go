package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/natstest"
)

// batchesIn returns the messages of each batch in a log, in order; "" stands for those that were published on their own.
func (r *putRig) batchesIn(d *catalog.DeliveryStream) map[string][]string {
	r.t.Helper()
	batches := map[string][]string{}
	for _, m := range r.contents(logOf(d, 0)) {
		id := m.Header.Get(batchIDHeader)
		batches[id] = append(batches[id], string(m.Data))
	}
	return batches
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url()), r.stream("demo", 1)
	results := r.together(l, p, d, nothing, r.putters(l, d, "put", 50)...)
	for i, result := range results[:50] {
		r.checkStored(logOf(d, 0), [][]byte{[]byte(fmt.Sprint("put", i))}, []putResult{result})
		if want := uint64(i + 2); result.ID.Sequence != want {
			t.Errorf("put %d has sequence %d, want %d", i, result.ID.Sequence, want)
		}
	}
	if batches := r.batchesIn(d); len(batches) != 2 || len(batches[""]) != 1 {
		t.Errorf("batches %v", batches)
	}
	if n := l.counts.Commits.Load(); n != 2 {
		t.Errorf("%d commits, want 2", n)
	}
	if n := l.counts.Messages.Load(); n != 51 {
		t.Errorf("%d messages, want 51", n)
	}
}

// What goes alone waits for nobody, and is in no batch of others.
func TestLargeOnesAndRetriesGoAlone(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url()), r.stream("demo", 1)
	var alone sync.WaitGroup
	r.together(l, p, d, func() {
		alone.Go(func() { r.checkErr(r.putter(l, d, strings.Repeat("x", largeMessage))()) })
		alone.Go(func() {
			c := callerOf("retry")
			c.Attempt = 2
			r.checkErr(r.put(l, d, c, []byte("retry"))[0])
		})
		natstest.WaitFor(t, "both are stored", func() bool { return r.lastSequence(d) == 3 })
	}, r.putters(l, d, "small", fewestTogether)...)
	alone.Wait()
	batches := r.batchesIn(d)
	if got := len(batches[""]); len(batches) != 2 || got != 3 {
		t.Errorf("%d batches, %d messages on their own", len(batches)-1, got)
	}
	if n := len(r.contents(logOf(d, 0))); n != fewestTogether+3 {
		t.Errorf("%d messages", n)
	}
}

// checkErr fails the test, from any goroutine, where a record was not stored.
func (r *putRig) checkErr(result putResult) {
	if result.Err != nil {
		r.t.Error(result.Err)
	}
}

// A few are published on their own, in the order they came.
func TestAFewGoApart(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	l, d := r.putLog(p.url()), r.stream("demo", 1)
	r.together(l, p, d, nothing, r.putter(l, d, "a"), r.putter(l, d, "b"), r.putter(l, d, "c"))
	if got := r.batchesIn(d)[""]; !slices.Equal(got, []string{"first", "a", "b", "c"}) {
		t.Errorf("published on their own are %q", got)
	}
}

func TestDuplicateInsideABatch(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	p := newTap(t, r.server.URL())
	d := r.stream("demo", 1)
	known := r.putOne(r.putLog(r.server.URL()), d, "known")
	l := r.putLog(p.url())
	puts := append(r.putters(l, d, "put", 8), r.putter(l, d, "known"), r.putter(l, d, "put3"))
	results := r.together(l, p, d, nothing, puts...)
	for i, text := range []string{"put0", "put1", "put2", "put3", "put4", "put5", "put6", "put7", "known", "put3"} {
		r.checkStored(logOf(d, 0), [][]byte{[]byte(text)}, results[i:i+1])
	}
	if results[8].ID != known {
		t.Errorf("the known one has id %s, had %s", results[8].ID, known)
	}
	if results[9].ID != results[3].ID {
		t.Errorf("the same call has ids %s and %s", results[3].ID, results[9].ID)
	}
	if n := len(r.contents(logOf(d, 0))); n != 10 {
		t.Errorf("%d messages, want 10", n)
	}
	if l.counts.Apart.Load() != 1 {
		t.Error("the batch was not rejected")
	}
}

// The messages of a put that have no clear answer stop the rest of it, and no other put.
func TestPartsAreCommittedInOrder(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	records := recordsOf(600_000, 600_000, 600_000)
	c := callerOf("inv")
	messages := buildMessages(d.ID, c, dataOf(records...))
	part := func(i int) *putCall { return newPutCall(t.Context(), messages[i:i+1], true) }
	for _, i := range []int{0, 1} { // as if a first try had ended after the second part
		p := part(i)
		l.enqueue(logOf(d, 0), p)
		<-p.done
		r.must(p.err)
	}
	results := r.put(l, d, c, records...)
	r.checkStored(logOf(d, 0), records, results)
	for i, result := range results {
		if result.ID.Sequence != uint64(i+1) {
			t.Errorf("part %d has sequence %d", i, result.ID.Sequence)
		}
	}
}

// Servers with other limits on batches than the default store the same, if slower.
func TestServersThatLimitBatches(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options func(*server.Options)
		disable bool
	}{
		"small batches":     {options: func(o *server.Options) { o.JetStreamLimits.MaxBatchSize = 5 }},
		"no batches":        {options: func(*server.Options) {}, disable: true},
		"too many together": {options: func(o *server.Options) { o.JetStreamLimits.MaxBatchInflightPerStream = 1 }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newPutRig(t, test.options)
			p := newTap(t, r.server.URL())
			l, d := r.putLog(p.url()), r.stream("demo", 1)
			if test.disable {
				cfg := broker.LogConfig(logOf(d, 0), time.Hour, 1)
				cfg.AllowAtomicPublish = false
				_, err := r.js.UpdateStream(t.Context(), cfg)
				r.must(err)
			}
			r.stageBatch(d) // which nobody commits
			results := r.together(l, p, d, nothing, r.putters(l, d, "put", 12)...)
			for i, result := range results[:12] {
				r.checkStored(logOf(d, 0), [][]byte{[]byte(fmt.Sprint("put", i))}, []putResult{result})
			}
			if n := l.counts.Apart.Load(); n != 1 {
				t.Errorf("%d batches were published one by one, want 1", n)
			}
		})
	}
}

// stageBatch leaves a batch open, which counts against the limit on batches in flight.
func (r *putRig) stageBatch(d *catalog.DeliveryStream) {
	r.t.Helper()
	m := &nats.Msg{Subject: logOf(d, 0).Subject(), Header: nats.Header{batchIDHeader: {"open"}, batchSequenceHeader: {"1"}}}
	_, err := r.js.Conn().RequestMsg(m, patience)
	r.must(err)
}

// scripted answers puts as JetStream would, with answers that a server gives only in circumstances that a test cannot
// bring about; the last one repeats. What it returns tells what was published.
func (r *putRig) scripted(t *testing.T, d *catalog.DeliveryStream, answers ...string) func() []nats.Header {
	t.Helper()
	r.must(r.js.DeleteStream(r.t.Context(), logOf(d, 0).JetStream()))
	seen := make(chan nats.Header, 10_000)
	subscription, err := r.js.Conn().Subscribe(logOf(d, 0).Subject(), func(m *nats.Msg) {
		seen <- m.Header
		if m.Reply == "" {
			return
		}
		if answers[0] != "" {
			_ = m.Respond([]byte(answers[0]))
		}
		if len(answers) > 1 {
			answers = answers[1:]
		}
	})
	r.must(err)
	r.must(r.js.Conn().Flush())
	t.Cleanup(func() {
		r.must(subscription.Unsubscribe())
		r.must(r.catalog.Remove(context.Background(), d.Name, d.ID))
	})
	return func() []nats.Header {
		all := make([]nats.Header, len(seen))
		for i := range all {
			all[i] = <-seen
		}
		return all
	}
}

func apiError(status, code int, words string) string {
	return fmt.Sprintf(`{"stream":"S","seq":0,"error":{"code":%d,"err_code":%d,"description":%q}}`, status, code, words)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const stored = `{"stream":"S","seq":7}`
	tests := map[string]struct {
		answers []string
		want    string // in the error; empty for success with sequence 7
		tries   int
	}{
		"stored":                    {[]string{stored}, "", 1},
		"known already":             {[]string{`{"stream":"S","seq":7,"duplicate": true}`}, "", 1},
		"in process, twice":         {[]string{apiError(409, 10158, "in process"), apiError(409, 10158, "in process"), stored}, "", 3},
		"no answer":                 {[]string{"", stored}, "", 2},
		"not JSON":                  {[]string{"-", stored}, "", 2},
		"no sequence":               {[]string{"{}", stored}, "", 2},
		"unavailable":               {[]string{apiError(503, 10008, "temporarily unavailable"), stored}, "", 2},
		"not the leader":            {[]string{apiError(500, 10009, "not leader"), stored}, "", 2},
		"too many requests":         {[]string{apiError(429, 10167, "too many requests"), stored}, "", 2},
		"the store is being closed": {[]string{apiError(503, 10077, "store is closed"), stored}, "", 2},
		"the wrong log, for now":    {[]string{apiError(400, 10060, "expected stream does not match"), stored}, "", 2},
		"the store is full":         {[]string{apiError(503, 10023, "insufficient resources")}, "insufficient resources (10023)", 1},
		"the log is full":           {[]string{apiError(503, 10077, "maximum bytes exceeded")}, "maximum bytes exceeded (10077)", 1},
		"the account is full":       {[]string{apiError(400, 10002, "resource limits exceeded")}, "resource limits exceeded (10002)", 1},
		"sealed":                    {[]string{apiError(400, 10109, "sealed stream")}, "sealed stream (10109)", 1},
	}
	r := newPutRig(t)
	l := r.putLog(r.server.URL(), func(l *putLog) { l.try = 2 * time.Second }) // long enough for an answer on a busy machine
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := r.stream("demo", 1)
			published := r.scripted(t, d, test.answers...)
			result := r.putter(l, d, "put")()
			switch {
			case test.want == "" && (result.Err != nil || result.ID.Sequence != 7):
				t.Errorf("id %s, error %v", result.ID, result.Err)
			case test.want != "" && (!errors.Is(result.Err, errUnavailable) || !strings.Contains(result.Err.Error(), test.want)):
				t.Errorf("error %v, want %q", result.Err, test.want)
			}
			headers := published()
			if len(headers) != test.tries {
				t.Errorf("%d tries, want %d", len(headers), test.tries)
			}
			for _, h := range headers {
				if h.Get("Nats-Msg-Id") != headers[0].Get("Nats-Msg-Id") {
					t.Error("the tries have different ids")
				}
			}
		})
	}
}

// calls returns puts of one small message each.
func callsOf(ctx context.Context, d *catalog.DeliveryStream, texts ...string) []*putCall {
	calls := make([]*putCall, len(texts))
	for i, text := range texts {
		calls[i] = newPutCall(ctx, buildMessages(d.ID, callerOf(text), dataOf([]byte(text))), false)
	}
	return calls
}

func TestAnswersToABatch(t *testing.T) {
	t.Parallel()
	// Sequences that the messages of a batch of eight were stored under before, in their order.
	singles := func(from, to int) (answers []string) {
		for seq := from; seq <= to; seq++ {
			answers = append(answers, fmt.Sprintf(`{"stream":"S","seq":%d,"duplicate":true}`, seq))
		}
		return answers
	}
	first8 := singles(11, 18)
	one := func(n int) string { return first8[n] }
	tests := map[string]struct {
		answers []string
		refused bool
		apart   int64
	}{
		"a server that knows no batches": {slices.Concat([]string{`{"stream":"S","seq":18}`}, first8), false, 1},
		"another's batch":                {slices.Concat([]string{`{"stream":"S","seq":18,"batch":"x","count":8}`}, first8), false, 1},
		"a duplicate inside":             {slices.Concat([]string{apiError(400, 10201, "duplicate")}, first8), false, 1},
		"one is in process":              {slices.Concat([]string{apiError(409, 10158, "in process")}, first8), false, 1},
		"one is in process for longer": {
			slices.Concat([]string{apiError(400, 10201, "duplicate"), one(0), apiError(409, 10158, "in process")}, first8[2:], []string{one(1)}),
			false, 1,
		},
		"unavailable in between": {
			slices.Concat([]string{apiError(400, 10201, "duplicate"), one(0), apiError(503, 10008, "unavailable")}, first8[2:], []string{one(1)}),
			false, 1,
		},
		"torn, again and again": {
			slices.Concat([]string{apiError(400, 10176, "incomplete"), apiError(400, 10176, "incomplete")}, first8),
			false, 1,
		},
		"the store is full": {[]string{apiError(503, 10023, "insufficient resources")}, true, 0},
	}
	r := newPutRig(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := r.putLog(r.server.URL())
			d := r.stream("demo", 1)
			published := r.scripted(t, d, test.answers...)
			calls := callsOf(t.Context(), d, "a", "b", "c", "d", "e", "f", "g", "h")
			newCommitter(l, logOf(d, 0)).commit(t.Context(), calls)
			for i, p := range calls {
				results := p.results()
				if test.refused && !errors.Is(results.err, errUnavailable) {
					t.Errorf("error %v", results.err)
				}
				if !test.refused && (results.err != nil || results.parts[0].seq != uint64(11+i)) {
					t.Errorf("%d: %+v", i, results)
				}
			}
			if n := l.counts.Apart.Load(); n != test.apart {
				t.Errorf("%d batches published one by one, want %d", n, test.apart)
			}
			checkBatchIDs(t, published())
		})
	}
}

// checkBatchIDs checks that no batch has the id of another.
func checkBatchIDs(t *testing.T, published []nats.Header) {
	t.Helper()
	used := map[string]bool{}
	for _, h := range published {
		if h.Get(batchCommitHeader) == "" {
			continue
		}
		if id := h.Get(batchIDHeader); used[id] || id == "" || len(id) > 64 {
			t.Errorf("batch id %q", id)
		}
		used[h.Get(batchIDHeader)] = true
	}
}

// Of a batch that is repeated, only what still has time is sent again, and nothing that had none to begin with.
func TestLateCallsAreNotSent(t *testing.T) {
	t.Parallel()
	r := newPutRig(t)
	l, d := r.putLog(r.server.URL()), r.stream("demo", 1)
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, texts := range [][]string{{"single"}, {"a", "b", "c", "d", "e", "f", "g", "h", "i"}} {
		calls := callsOf(late, d, texts...)
		newCommitter(l, logOf(d, 0)).commit(t.Context(), calls)
		for _, p := range calls {
			if err := p.results().err; !errors.Is(err, errUnavailable) {
				t.Errorf("error %v", err)
			}
		}
	}
	mixed := append(callsOf(late, d, "late"), callsOf(t.Context(), d, "in time", "in time, too")...)
	newCommitter(l, logOf(d, 0)).commit(t.Context(), mixed)
	if got := r.texts(logOf(d, 0)); !slices.Equal(got, []string{"in time", "in time, too"}) {
		t.Errorf("the log holds %q", got)
	}
}

func TestTake(t *testing.T) {
	const half = bytesInFlight / 2
	for name, test := range map[string]struct {
		small, alone []int
		want         []string // sizes of the calls of each commit that leaves while none lands
	}{
		"nothing":                      {nil, nil, nil},
		"one":                          {[]int{5}, nil, []string{"[5]"}},
		"as many as a batch may have":  {[]int{1, 2, 3, 4, 5, 6}, nil, []string{"[1 2 3 4]"}},
		"no more than a batch may be":  {[]int{1, bytesTogether, 7}, nil, []string{"[1]"}},
		"one that is too large":        {[]int{bytesTogether + 1}, nil, []string{fmt.Sprint([]int{bytesTogether + 1})}},
		"each that goes alone":         {nil, []int{100, 200, 300}, []string{"[100]", "[200]", "[300]"}},
		"alone, within bytes":          {nil, []int{half, half, 1}, []string{fmt.Sprint([]int{half}), fmt.Sprint([]int{half})}},
		"alone, one beyond bytes":      {nil, []int{2 * bytesInFlight, 1}, []string{fmt.Sprint([]int{2 * bytesInFlight})}},
		"alone, not beyond the number": {nil, slices.Repeat([]int{1}, aloneInFlight+1), slices.Repeat([]string{"[1]"}, aloneInFlight)},
		"both kinds":                   {[]int{1, 2}, []int{100}, []string{"[100]", "[1 2]"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &committer{owner: new(putLog), most: 4, wake: make(chan struct{}, 1)}
			for _, size := range test.small {
				c.push(&putCall{size: size})
			}
			for _, size := range test.alone {
				c.push(&putCall{size: size, alone: true})
			}
			var got []string
			var flying [][]*putCall
			for calls := c.take(); len(calls) > 0; calls = c.take() {
				flying = append(flying, calls)
				got = append(got, fmt.Sprint(sizesOf(calls)))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("taken %v, want %v", got, test.want)
			}
			taken := 0
			for len(flying) > 0 { // every one that lands makes room for others
				taken += len(flying[0])
				c.land(flying[0])
				flying = flying[1:]
				for calls := c.take(); len(calls) > 0; calls = c.take() {
					flying = append(flying, calls)
				}
			}
			if taken != len(test.small)+len(test.alone) || !c.idle() || c.owner.counts.Waiting.Load() != 0 {
				t.Errorf("%d taken in the end; idle %t", taken, c.idle())
			}
		})
	}
}

func sizesOf(calls []*putCall) []int {
	sizes := make([]int, len(calls))
	for i, p := range calls {
		sizes[i] = p.size
	}
	return sizes
}
