package checker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hydrant/e2e/internal/checker"
)

// midnight is when a record arrived whose number is a multiple of ten; the others came a minute later for each number.
func midnight() time.Time { return time.Date(2026, 11, 23, 23, 55, 0, 0, time.UTC) }

// arrived reads the ids of these tests: <stream>/<number>.
func arrived(id string) (time.Time, error) {
	_, number, ok := strings.Cut(id, "/")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return time.Time{}, fmt.Errorf("%q is not a RecordId", id)
	}
	return midnight().Add(time.Duration(n%10) * time.Minute), nil
}

// file is a file of failed documents.
type file struct {
	batch    string
	lines    []checker.FailedDocument
	metadata map[string]string // instead of what is right
	text     string            // instead of the lines
	broken   bool              // it cannot be read
}

func (f *file) object(n int) checker.Object {
	text, size := f.text, 0
	for _, line := range f.lines {
		encoded, err := json.Marshal(line)
		if err != nil {
			panic(err)
		}
		text += string(encoded) + "\n"
		size += len(line.Data)
	}
	metadata := f.metadata
	if metadata == nil {
		metadata = map[string]string{
			checker.MetadataBatch: f.batch, checker.MetadataRecords: strconv.Itoa(len(f.lines)), checker.MetadataBytes: strconv.Itoa(size),
		}
	}
	return checker.Object{Bucket: "failed", Key: fmt.Sprint("file-", n), Metadata: metadata, Open: func(context.Context) (io.ReadCloser, error) {
		if f.broken {
			return nil, errors.New("gone")
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

// indexed is a ledger with what is in indices and files.
type indexed struct {
	ledger  *checker.Ledger
	rng     *rand.Rand
	found   []checker.Found
	files   []*file
	lines   map[string][]byte // by RecordId
	options checker.DocumentOptions
}

// healthyDocuments has ten records each of two delivery streams, every one acknowledged: 7, 8 and 9 of each are bad.
func healthyDocuments(t *testing.T) *indexed {
	t.Helper()
	x := &indexed{
		ledger: checker.NewLedger(), rng: rand.New(rand.NewPCG(1, 2)), lines: map[string][]byte{},
		options: checker.DocumentOptions{Arrived: arrived, Streams: map[string]checker.Search{
			orders: {Index: "o"}, clicks: {Index: "c", Rotation: checker.OneDay},
		}},
	}
	for _, stream := range []string{orders, clicks} {
		bad := &file{batch: "id-" + stream + ".es.0.1-10"}
		x.files = append(x.files, bad)
		for n := range 10 {
			form := []checker.Form{checker.Document, checker.Document, checker.Document, checker.Document, checker.Document, checker.Document, checker.Document,
				checker.Plain, checker.List, checker.Mismatch}[n]
			id := x.offer(t, stream, n, form)
			x.acknowledge(t, id)
			if form == checker.Document {
				x.index(id)
			} else {
				bad.lines = append(bad.lines, x.failure(id))
			}
		}
	}
	return x
}

// offer enters a record without an answer and returns what its id would be.
func (x *indexed) offer(t *testing.T, stream string, n int, form checker.Form) string {
	t.Helper()
	id := fmt.Sprintf("%s/%d", stream, n)
	x.lines[id] = checker.Record{Stream: stream, Producer: "p1", N: uint64(n)}.Form(form, 150+n, x.rng)
	if _, err := x.ledger.Offer(x.lines[id]); err != nil {
		t.Fatal(err)
	}
	return id
}

func (x *indexed) acknowledge(t *testing.T, id string) {
	t.Helper()
	record, err := checker.ParseLine(x.lines[id])
	if err != nil {
		t.Fatal(err)
	}
	if err := x.ledger.Acknowledge(record, id); err != nil {
		t.Fatal(err)
	}
}

func (x *indexed) indexOf(id string) string {
	stream, _, _ := strings.Cut(id, "/")
	at, err := arrived(id)
	if err != nil {
		return ""
	}
	to := x.options.Streams[stream]
	return to.Rotation.Index(to.Index, at)
}

// index puts a document where it belongs.
func (x *indexed) index(id string) {
	x.found = append(x.found, checker.Found{Index: x.indexOf(id), ID: id, Version: 1, Source: bytes.TrimSpace(x.lines[id])})
}

func (x *indexed) failure(id string) checker.FailedDocument {
	at, err := arrived(id)
	if err != nil {
		panic(err)
	}
	return checker.FailedDocument{
		Attempts: 1, Arrived: at.UnixMilli(), Ended: at.Add(time.Second).UnixMilli(), Code: "400", Message: "document_parsing_exception",
		ID: id, Index: x.indexOf(id), Data: x.lines[id],
	}
}

func (x *indexed) stream(name string, change func(*checker.Search)) {
	to := x.options.Streams[name]
	change(&to)
	x.options.Streams[name] = to
}

func (x *indexed) all() iter.Seq2[checker.Found, error] {
	return func(yield func(checker.Found, error) bool) {
		for _, document := range x.found {
			if !yield(document, nil) {
				return
			}
		}
	}
}

func (x *indexed) check(t *testing.T) *checker.Report {
	t.Helper()
	var objects []checker.Object
	for n, f := range x.files {
		objects = append(objects, f.object(n))
	}
	report, err := checker.CheckDocuments(t.Context(), x.ledger, x.all(), objects, x.options)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestCheckDocuments(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(t *testing.T, x *indexed)
		want   []checker.Kind
	}{
		"healthy": {func(*testing.T, *indexed) {}, nil},
		"one document lost": {func(_ *testing.T, x *indexed) {
			x.found = x.found[1:]
		}, []checker.Kind{checker.Lost}},
		"one line of a file lost": {func(_ *testing.T, x *indexed) {
			x.files[0].lines = x.files[0].lines[1:]
		}, []checker.Kind{checker.Lost}},
		"a file lost": {func(_ *testing.T, x *indexed) {
			x.files = x.files[1:]
		}, []checker.Kind{checker.Lost}},
		"the same content under two ids": {func(_ *testing.T, x *indexed) {
			again := x.found[0]
			again.ID = "orders/5"
			x.found = append(x.found, again)
		}, []checker.Kind{checker.Duplicated, checker.WrongID}},
		"the same content in two indices": {func(_ *testing.T, x *indexed) {
			again := x.found[0]
			again.Index = "other"
			x.found = append(x.found, again)
		}, []checker.Kind{checker.Duplicated, checker.WrongIndex}},
		"written over": {func(_ *testing.T, x *indexed) {
			x.found[0].Version = 2
		}, []checker.Kind{checker.Overwritten}},
		"without an answer and twice": {func(t *testing.T, x *indexed) {
			id := x.offer(t, orders, 20, checker.Document)
			x.index(id)
			again := x.found[len(x.found)-1]
			again.ID = "orders/30"
			x.found = append(x.found, again)
		}, []checker.Kind{checker.Duplicated}},
		"without an answer and once": {func(t *testing.T, x *indexed) {
			x.index(x.offer(t, orders, 20, checker.Document))
			x.files[0].lines = append(x.files[0].lines, x.failure(x.offer(t, orders, 21, checker.List)))
		}, nil},
		"without an answer and nowhere": {func(t *testing.T, x *indexed) {
			x.offer(t, orders, 20, checker.Document)
		}, nil},
		"in an index and in a file": {func(_ *testing.T, x *indexed) {
			x.stream(orders, func(s *checker.Search) { s.MayGiveUp = true })
			x.files[0].lines = append(x.files[0].lines, x.failure("orders/0"))
		}, []checker.Kind{checker.Duplicated}},
		"in an index and in a file, where that may be": {func(_ *testing.T, x *indexed) {
			x.stream(orders, func(s *checker.Search) { s.MayGiveUp, s.MayBeInBoth = true, true })
			x.files[0].lines = append(x.files[0].lines, x.failure("orders/0"))
		}, nil},
		"twice in a file": {func(_ *testing.T, x *indexed) {
			x.stream(orders, func(s *checker.Search) { s.MayBeInBoth = true })
			x.files[0].lines = append(x.files[0].lines, x.failure("orders/7"))
		}, []checker.Kind{checker.Duplicated}},
		"two files of a batch": {func(_ *testing.T, x *indexed) {
			x.files = append(x.files, x.files[0])
		}, []checker.Kind{checker.DeliveredTwice, checker.Duplicated}},
		"a document cut short": {func(_ *testing.T, x *indexed) {
			x.found[0].Source = x.found[0].Source[:60]
		}, []checker.Kind{checker.Lost, checker.Unparsable}},
		"a document with less padding": {func(_ *testing.T, x *indexed) {
			source := x.found[0].Source
			x.found[0].Source = append(slices.Clone(source[:len(source)-9]), `"}`...)
		}, []checker.Kind{checker.Altered}},
		"other bytes in a file": {func(_ *testing.T, x *indexed) {
			x.files[0].lines[0].Data = slices.Concat(x.files[0].lines[0].Data[:50], []byte{'\n'})
		}, []checker.Kind{checker.Altered}},
		"a file cut short": {func(_ *testing.T, x *indexed) {
			whole := x.files[0].object(0)
			x.files[0].metadata = whole.Metadata
			body, _ := whole.Open(t.Context())
			text, _ := io.ReadAll(body)
			x.files[0].lines, x.files[0].text = nil, string(text[:len(text)-20])
		}, []checker.Kind{checker.Lost, checker.BadLine, checker.Miscounted}},
		"the wrong index": {func(_ *testing.T, x *indexed) {
			x.found[slices.IndexFunc(x.found, func(f checker.Found) bool { return f.ID == "clicks/6" })].Index = "c-2026-11-23"
		}, []checker.Kind{checker.WrongIndex}},
		"the wrong index in a file": {func(_ *testing.T, x *indexed) {
			x.files[1].lines[0].Index = "c"
		}, []checker.Kind{checker.WrongIndex}},
		"another id": {func(_ *testing.T, x *indexed) {
			x.found[0].ID = "orders/100"
		}, []checker.Kind{checker.WrongID}},
		"an id that is none": {func(t *testing.T, x *indexed) {
			x.index(x.offer(t, orders, 20, checker.Document))
			x.found[len(x.found)-1].ID = "made up"
		}, []checker.Kind{checker.WrongID}},
		"nobody offered it": {func(_ *testing.T, x *indexed) {
			x.found = append(x.found, checker.Found{Index: "o", ID: "orders/50", Version: 1, Source: []byte(`{"stream":"orders","producer":"p2","n":1,"padding":""}`)})
		}, []checker.Kind{checker.NeverOffered}},
		"of another kind of delivery stream": {func(t *testing.T, x *indexed) {
			x.index(x.offer(t, "plain", 1, checker.Document))
		}, []checker.Kind{checker.WrongStream}},
		"a bad one in an index": {func(_ *testing.T, x *indexed) {
			x.files[0].lines = x.files[0].lines[:2]
			x.index("orders/9")
		}, []checker.Kind{checker.Indexed}},
		"a good one in a file": {func(_ *testing.T, x *indexed) {
			x.found = x.found[1:]
			x.files[0].lines = append(x.files[0].lines, x.failure("orders/0"))
		}, []checker.Kind{checker.GivenUp}},
		"a good one in a file, where that may be": {func(_ *testing.T, x *indexed) {
			x.stream(orders, func(s *checker.Search) { s.MayGiveUp = true })
			x.found = x.found[1:]
			x.files[0].lines = append(x.files[0].lines, x.failure("orders/0"))
		}, nil},
		"without a reason": {func(_ *testing.T, x *indexed) {
			x.files[0].lines[0].Message = ""
		}, []checker.Kind{checker.Lost, checker.BadLine, checker.Miscounted}},
		"a code that is none": {func(_ *testing.T, x *indexed) {
			x.files[0].lines[0].Code = "200"
		}, []checker.Kind{checker.Lost, checker.BadLine, checker.Miscounted}},
		"a number without an answer": {func(_ *testing.T, x *indexed) {
			x.files[0].lines[0].Code = "0"
		}, []checker.Kind{checker.Lost, checker.BadLine, checker.Miscounted}},
		"no answer": {func(_ *testing.T, x *indexed) {
			x.files[0].lines[0].Code = "ES.ConnectionFailed"
		}, nil},
		"another arrival in a file": {func(_ *testing.T, x *indexed) {
			x.files[0].lines[0].Arrived++
		}, []checker.Kind{checker.BadLine}},
		"a file that says no batch": {func(_ *testing.T, x *indexed) {
			x.files[0].batch = "x"
		}, []checker.Kind{checker.BadMetadata}},
		"no ids, and twice": {func(_ *testing.T, x *indexed) {
			x.stream(orders, func(s *checker.Search) { s.NoIDs, s.MayGiveUp = true, true })
			again := x.found[0]
			x.found[0].ID, again.ID = "made", "up"
			x.found = append(x.found, again)
			x.files[0].lines = append(x.files[0].lines, x.failure("orders/0"))
		}, nil},
		"no ids, and lost": {func(_ *testing.T, x *indexed) {
			x.stream(orders, func(s *checker.Search) { s.NoIDs = true })
			x.found = x.found[1:]
		}, []checker.Kind{checker.Lost}},
		"two with one RecordId": {func(t *testing.T, x *indexed) {
			x.offer(t, orders, 20, checker.Document)
			record, _ := checker.ParseLine(x.lines["orders/20"])
			if err := x.ledger.Acknowledge(record, "orders/1"); err != nil {
				t.Fatal(err)
			}
			x.found = append(x.found, checker.Found{Index: "o", ID: "orders/1", Version: 1, Source: bytes.TrimSpace(x.lines["orders/20"])})
		}, []checker.Kind{checker.BadRecordID}},
	} {
		t.Run(name, func(t *testing.T) {
			x := healthyDocuments(t)
			test.damage(t, x)
			report := x.check(t)
			got, want := report.Kinds(), slices.Sorted(slices.Values(test.want))
			if !slices.Equal(got, want) {
				t.Errorf("found %q, want %q\n%s", got, want, report)
			}
			if (report.Err() == nil) != (len(want) == 0) {
				t.Errorf("the verdict is %v", report.Err())
			}
		})
	}
}

func TestCheckDocumentsCounts(t *testing.T) {
	x := healthyDocuments(t)
	x.stream(orders, func(s *checker.Search) { s.MayGiveUp, s.MayBeInBoth = true, true })
	x.files[0].lines = append(x.files[0].lines, x.failure("orders/0"))
	report := x.check(t)
	got := []int{report.Indexed, report.SetAside, report.Both, report.Delivered, report.Objects, report.Batches, report.Records}
	if want := []int{14, 7, 1, 20, 2, 2, 21}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if text := report.String(); !strings.Contains(text, "14 in indices, 0 in tables, 7 set aside, 1 in both\n") {
		t.Errorf("it says\n%s", text)
	}
}

// What cannot be read is no verdict.
func TestDocumentsThatCannotBeRead(t *testing.T) {
	x := healthyDocuments(t)
	broken := errors.New("a shard is missing")
	_, err := checker.CheckDocuments(t.Context(), x.ledger, func(yield func(checker.Found, error) bool) { yield(checker.Found{}, broken) }, nil, x.options)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	x.files[0].broken = true
	if _, err := checker.CheckDocuments(t.Context(), x.ledger, x.all(), []checker.Object{x.files[0].object(0)}, x.options); err == nil {
		t.Error("a file that cannot be read is no error")
	}
}

// The names of the guide's table, and the ISO week's year around New Year.
func TestRotation(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	for _, test := range []struct {
		at                     time.Time
		hour, day, week, month string
	}{
		{time.Date(2016, 2, 25, 13, 0, 0, 0, time.UTC), "i-2016-02-25-13", "i-2016-02-25", "i-2016-w08", "i-2016-02"},
		{time.Date(2027, 1, 1, 1, 0, 0, 0, zone), "i-2026-12-31-23", "i-2026-12-31", "i-2026-w53", "i-2026-12"},
	} {
		for rotation, want := range map[checker.Rotation]string{
			checker.NoRotation: "i", checker.OneHour: test.hour, checker.OneDay: test.day, checker.OneWeek: test.week, checker.OneMonth: test.month,
		} {
			if got := rotation.Index("i", test.at); got != want {
				t.Errorf("%s at %s: got %s, want %s", rotation, test.at, got, want)
			}
		}
	}
}

func FuzzFailedLine(f *testing.F) {
	f.Add([]byte(`{"attemptsMade":1,"arrivalTimestamp":1,"errorCode":"400","errorMessage":"x","attemptEndingTimestamp":2,"esDocumentId":"","esIndexName":"i","esTypeName":"","rawData":"eA=="}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		object := (&file{batch: "id.es.0.1-2", text: string(text)}).object(0)
		nothing := func(func(checker.Found, error) bool) {}
		report, err := checker.CheckDocuments(t.Context(), checker.NewLedger(), nothing, []checker.Object{object}, checker.DocumentOptions{Arrived: arrived})
		if err != nil || report.SetAside > 0 && report.Err() == nil {
			t.Errorf("nothing was offered, and %q is as promised: %v", text, err)
		}
	})
}
