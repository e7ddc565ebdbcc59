package checker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hydrant/e2e/internal/checker"
)

// loads is a ledger with what is in tables and in error manifests.
type loads struct {
	ledger    *checker.Ledger
	rng       *rand.Rand
	rows      []checker.Row
	noted     []checker.LedgerRow
	staged    []*text
	manifests []*text
	options   checker.RowOptions
}

// text is an object of it.
type text struct {
	key, content string
	metadata     map[string]string
	broken       bool
}

func (x *text) object() checker.Object {
	return checker.Object{Bucket: "b", Key: x.key, Metadata: x.metadata, Open: func(context.Context) (io.ReadCloser, error) {
		if x.broken {
			return nil, errors.New("gone")
		}
		return io.NopCloser(strings.NewReader(x.content)), nil
	}}
}

func objects(texts []*text) []checker.Object {
	list := make([]checker.Object, len(texts))
	for i, x := range texts {
		list[i] = x.object()
	}
	return list
}

// key is the name of an object of a delivery stream.
func key(folder, stream string, n int) string {
	return fmt.Sprintf("%s2026/11/23/23/%s-1-2026-11-23-23-55-00-%d", folder, stream, n)
}

// healthyLoads has two objects of five records each of two delivery streams, every record acknowledged. The second object of clicks
// has a bad record, and is set aside.
func healthyLoads(t *testing.T) *loads {
	t.Helper()
	x := &loads{ledger: checker.NewLedger(), rng: rand.New(rand.NewPCG(1, 2)), options: checker.RowOptions{Streams: map[string]checker.Warehouse{
		orders: {Table: "o", Form: checker.Plain}, clicks: {Table: "c", Form: checker.Document, MayGiveUp: true},
	}}}
	x.load(t, orders, 0, checker.Plain)
	x.load(t, orders, 1, checker.Plain)
	x.load(t, clicks, 0, checker.Document)
	x.aside(x.stage(t, clicks, 1, checker.Document, checker.Mismatch))
	return x
}

// stage stages an object of five records; the last is of the last form.
func (x *loads) stage(t *testing.T, stream string, n int, forms ...checker.Form) *text {
	t.Helper()
	o := &text{key: key("staged/", stream, n)}
	for i := range 5 {
		record := checker.Record{Stream: stream, Producer: "p1", N: uint64(5*n + i)}
		line := record.Form(forms[min(i/4, len(forms)-1)], 150+i, x.rng)
		if _, err := x.ledger.Offer(line); err != nil {
			t.Fatal(err)
		}
		if err := x.ledger.Acknowledge(record, fmt.Sprint(record)); err != nil {
			t.Fatal(err)
		}
		o.content += string(line)
	}
	o.metadata = map[string]string{checker.MetadataBatch: fmt.Sprintf("id-%s.s3.0.%d-%d", stream, n+1, n+1)}
	x.staged = append(x.staged, o)
	return o
}

// load has an object staged and loaded.
func (x *loads) load(t *testing.T, stream string, n int, form checker.Form) {
	t.Helper()
	o := x.stage(t, stream, n, form)
	x.insert(x.options.Streams[stream].Table, o)
	x.noted = append(x.noted, checker.LedgerRow{StreamID: "id-" + stream, Batch: o.metadata[checker.MetadataBatch]})
}

// insert makes rows of an object's records.
func (x *loads) insert(table string, o *text) {
	for line := range strings.Lines(o.content) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		if line[0] == '{' {
			members := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(`{}":,`+"\n", r) })
			fields = []string{members[1], members[3], members[5], members[7]}
		}
		n, err := strconv.ParseUint(fields[2], 10, 64)
		if err != nil {
			panic(err)
		}
		x.rows = append(x.rows, checker.Row{Table: table, Stream: fields[0], Producer: fields[1], N: n, Padding: fields[3]})
	}
}

// aside names objects in an error manifest.
func (x *loads) aside(staged ...*text) *text {
	var entries []string
	for _, o := range staged {
		entries = append(entries, fmt.Sprintf(`{"url":"s3://b/%s","mandatory":true}`, o.key))
	}
	m := &text{
		key: key("errors/manifests/", checker.StreamOfKey(staged[0].key), len(x.manifests)), content: `{"entries":[` + strings.Join(entries, ",") + "]}\n",
		metadata: map[string]string{checker.MetadataRecords: strconv.Itoa(5 * len(staged)), "hydrant-code": "Redshift.DataLoadFailed", "hydrant-reason": "bad"},
	}
	x.manifests = append(x.manifests, m)
	return m
}

func (x *loads) loaded() checker.Loaded {
	var rows iter.Seq2[checker.Row, error] = func(yield func(checker.Row, error) bool) {
		for _, row := range x.rows {
			if !yield(row, nil) {
				return
			}
		}
	}
	return checker.Loaded{Rows: rows, Ledger: x.noted, Staged: objects(x.staged), Manifests: objects(x.manifests)}
}

func TestCheckRows(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(t *testing.T, x *loads)
		want   []checker.Kind
	}{
		"healthy":    {func(*testing.T, *loads) {}, nil},
		"a row lost": {func(_ *testing.T, x *loads) { x.rows = x.rows[1:] }, []checker.Kind{checker.Lost}},
		"a row doubled": {func(_ *testing.T, x *loads) {
			x.rows = append(x.rows, x.rows[0])
		}, []checker.Kind{checker.Duplicated}},
		"a row cut short": {func(_ *testing.T, x *loads) {
			x.rows[0].Padding = x.rows[0].Padding[:10]
		}, []checker.Kind{checker.Altered}},
		"an object loaded twice": {func(_ *testing.T, x *loads) {
			x.insert("o", x.staged[0])
		}, []checker.Kind{checker.Duplicated}},
		"an object loaded and noted twice": {func(_ *testing.T, x *loads) {
			x.insert("o", x.staged[0])
			x.noted = append(x.noted, x.noted[0])
		}, []checker.Kind{checker.Duplicated, checker.NotInLedger}},
		"an object never loaded": {func(_ *testing.T, x *loads) {
			x.rows = x.rows[5:]
		}, []checker.Kind{checker.Lost}},
		"loaded and set aside": {func(_ *testing.T, x *loads) {
			x.aside(x.staged[2])
		}, []checker.Kind{checker.Duplicated, checker.NotInLedger}},
		"loaded and set aside, and not noted": {func(_ *testing.T, x *loads) {
			x.aside(x.staged[2])
			x.noted = x.noted[:2]
		}, []checker.Kind{checker.Duplicated}},
		"set aside without need": {func(_ *testing.T, x *loads) {
			x.rows, x.noted = x.rows[5:], x.noted[1:]
			x.aside(x.staged[0])
		}, []checker.Kind{checker.GivenUp}},
		"set aside where that may be": {func(_ *testing.T, x *loads) {
			x.rows, x.noted = x.rows[:10], x.noted[:2]
			x.aside(x.staged[2])
		}, nil},
		"in two manifests": {func(_ *testing.T, x *loads) {
			x.aside(x.staged[3])
		}, []checker.Kind{checker.DeliveredTwice, checker.Duplicated}},
		"twice in a manifest": {func(_ *testing.T, x *loads) {
			x.manifests = nil
			x.aside(x.staged[3], x.staged[3])
		}, []checker.Kind{checker.DeliveredTwice, checker.Duplicated}},
		"a manifest lost": {func(_ *testing.T, x *loads) {
			x.manifests = nil
		}, []checker.Kind{checker.Lost, checker.NotInLedger}},
		"a manifest cut short": {func(_ *testing.T, x *loads) {
			x.manifests[0].content = x.manifests[0].content[:40]
		}, []checker.Kind{checker.BadManifest, checker.Lost, checker.NotInLedger}},
		"a manifest of nothing": {func(_ *testing.T, x *loads) {
			x.manifests[0].content = `{"entries":[]}`
		}, []checker.Kind{checker.BadManifest, checker.Lost, checker.NotInLedger}},
		"a manifest of what may be missing": {func(_ *testing.T, x *loads) {
			x.manifests[0].content = strings.Replace(x.manifests[0].content, "true", "false", 1)
		}, []checker.Kind{checker.BadManifest, checker.Lost, checker.NotInLedger}},
		"a manifest of what is not there": {func(_ *testing.T, x *loads) {
			x.manifests[0].content = strings.Replace(x.manifests[0].content, "staged/", "stagid/", 1)
		}, []checker.Kind{checker.BadManifest, checker.Lost, checker.NotInLedger, checker.Miscounted}},
		"a manifest without a reason": {func(_ *testing.T, x *loads) {
			delete(x.manifests[0].metadata, "hydrant-reason")
		}, []checker.Kind{checker.BadManifest}},
		"a manifest in another folder": {func(_ *testing.T, x *loads) {
			x.manifests[0].key = key("manifests/", clicks, 0)
		}, []checker.Kind{checker.BadManifest}},
		"a manifest of another delivery stream": {func(_ *testing.T, x *loads) {
			x.manifests[0].key = key("errors/manifests/", orders, 0)
		}, []checker.Kind{checker.WrongStream}},
		"a manifest that counts wrongly": {func(_ *testing.T, x *loads) {
			x.manifests[0].metadata[checker.MetadataRecords] = "6"
		}, []checker.Kind{checker.Miscounted}},
		"an object that is set aside cut short": {func(_ *testing.T, x *loads) {
			x.staged[3].content = x.staged[3].content[:len(x.staged[3].content)-9]
		}, []checker.Kind{checker.Lost, checker.Unparsable}},
		"loaded and not noted": {func(_ *testing.T, x *loads) {
			x.noted = x.noted[1:]
		}, []checker.Kind{checker.NotInLedger}},
		"noted and of no object": {func(_ *testing.T, x *loads) {
			x.noted = append(x.noted, checker.LedgerRow{StreamID: "id-orders", Batch: "id-orders.s3.0.9-9"})
		}, []checker.Kind{checker.NotInLedger}},
		"noted of another delivery stream": {func(_ *testing.T, x *loads) {
			x.noted[0].StreamID = "id-clicks"
		}, []checker.Kind{checker.NotInLedger}},
		"an object that does not say what it is": {func(_ *testing.T, x *loads) {
			delete(x.staged[0].metadata, checker.MetadataBatch)
		}, []checker.Kind{checker.BadMetadata, checker.NotInLedger}},
		"a row that nobody offered": {func(_ *testing.T, x *loads) {
			x.rows = append(x.rows, checker.Row{Table: "o", Stream: orders, Producer: "p9", N: 1})
		}, []checker.Kind{checker.NeverOffered}},
		"a row of nothing": {func(_ *testing.T, x *loads) {
			x.rows = append(x.rows, checker.Row{Table: "o"})
		}, []checker.Kind{checker.Unparsable}},
		"a row in another table": {func(_ *testing.T, x *loads) {
			x.rows[0].Table = "c"
		}, []checker.Kind{checker.WrongStream}},
		"a bad record in a table": {func(_ *testing.T, x *loads) {
			x.rows = append(x.rows, checker.Row{Table: "c", Stream: clicks, Producer: "p1", N: 9})
		}, []checker.Kind{checker.Foreign}},
		"without an answer": {func(t *testing.T, x *loads) {
			line := checker.Record{Stream: orders, Producer: "p2", N: 1}.Form(checker.Plain, 100, x.rng)
			if _, err := x.ledger.Offer(line); err != nil {
				t.Fatal(err)
			}
			x.insert("o", &text{content: string(line)})
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := healthyLoads(t)
			test.damage(t, x)
			report, err := checker.CheckRows(t.Context(), x.ledger, x.loaded(), x.options)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(test.want)
			if got := report.Kinds(); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q\n%s", got, test.want, report)
			}
		})
	}
}

func TestCheckRowsCounts(t *testing.T) {
	x := healthyLoads(t)
	report, err := checker.CheckRows(t.Context(), x.ledger, x.loaded(), x.options)
	if err != nil || report.Err() != nil {
		t.Fatal(err, report)
	}
	if report.Rows != 15 || report.SetAside != 5 || report.Delivered != 20 || report.Batches != 4 || report.Objects != 1 {
		t.Errorf("it says\n%s", report)
	}
}

// What cannot be read is no verdict.
func TestCheckRowsNoVerdict(t *testing.T) {
	for name, damage := range map[string]func(*loads, *checker.Loaded){
		"manifest": func(x *loads, l *checker.Loaded) { x.manifests[0].broken = true; l.Manifests = objects(x.manifests) },
		"object":   func(x *loads, l *checker.Loaded) { x.staged[3].broken = true; l.Staged = objects(x.staged) },
		"rows": func(_ *loads, l *checker.Loaded) {
			l.Rows = func(yield func(checker.Row, error) bool) { yield(checker.Row{}, errors.New("gone")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := healthyLoads(t)
			loaded := x.loaded()
			damage(x, &loaded)
			if report, err := checker.CheckRows(t.Context(), x.ledger, loaded, x.options); err == nil || report != nil {
				t.Errorf("got %v, %v", report, err)
			}
		})
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"entries":[{"url":"s3://b/k","mandatory":true}]}`))
	f.Add([]byte(`{"entries":[]} x`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := checker.ParseManifest(data)
		if err != nil {
			return
		}
		for _, entry := range m.Entries {
			if entry.Mandatory == nil || !*entry.Mandatory {
				t.Errorf("accepted %q", data)
			}
		}
	})
}
