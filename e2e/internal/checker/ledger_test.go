package checker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"hydrant/e2e/internal/checker"
)

func TestLedgerRefusesWhatItCannotJudge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	line := checker.Record{Stream: "orders", Producer: "p1", N: 1}.Line(100, rng)
	never := checker.Record{Stream: "orders", Producer: "p1", N: 2}
	acknowledge := func(l *checker.Ledger, r checker.Record) error { return l.Acknowledge(r, "id") }
	refuse := func(l *checker.Ledger, r checker.Record) error { return l.Refuse(r) }
	offer := func(line []byte) func(*checker.Ledger, checker.Record) error {
		return func(l *checker.Ledger, _ checker.Record) error {
			_, err := l.Offer(line)
			return err
		}
	}
	for name, misuse := range map[string]func(*checker.Ledger, checker.Record) error{
		"offered twice":      offer(line),
		"no record":          offer([]byte("x\n")),
		"acknowledged twice": acknowledge,
		"refused as well":    refuse,
		"never offered":      func(l *checker.Ledger, _ checker.Record) error { return l.Acknowledge(never, "id") },
		"not discardable":    func(l *checker.Ledger, _ checker.Record) error { return l.Discardable(never) },
	} {
		t.Run(name, func(t *testing.T) {
			ledger := checker.NewLedger()
			record, err := ledger.Offer(line)
			if err != nil {
				t.Fatal(err)
			}
			if err := ledger.Acknowledge(record, "id"); err != nil {
				t.Fatal(err)
			}
			if misuse(ledger, record) == nil {
				t.Error("no error")
			}
		})
	}
}

func TestLedgerConcurrently(t *testing.T) {
	ledger := checker.NewLedger()
	var producers sync.WaitGroup
	for p := range 8 {
		producers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(p), 0))
			for n := range 100 {
				line := checker.Record{Stream: "orders", Producer: fmt.Sprintf("p%d", p), N: uint64(n)}.Line(80, rng)
				record, err := ledger.Offer(line)
				if err != nil {
					t.Error(err)
				}
				if n%2 == 0 {
					err = ledger.Acknowledge(record, record.String())
				} else {
					err = ledger.Discardable(record)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	producers.Wait()
	want := checker.Counts{Offered: 800, Acknowledged: 400, Unknown: 400, Discardable: 400}
	if got := ledger.Counts(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := ledger.Discard("orders"); got != 800 {
		t.Errorf("discarded %d, want 800", got)
	}
}

func TestForms(t *testing.T) {
	record := checker.Record{Stream: "orders.v-2_a", Producer: "p1", N: 18446744073709551615}
	for _, form := range []checker.Form{checker.Plain, checker.Document, checker.List, checker.Mismatch} {
		for _, size := range []int{0, 120, 121, 1000, checker.MaxLine} {
			line := record.Form(form, size, rand.New(rand.NewPCG(1, 2)))
			if got, err := checker.ParseLine(line); err != nil || got != record {
				t.Errorf("%s of %d bytes: got %v, %v", form, size, got, err)
			}
			if size >= 120 && len(line) != size {
				t.Errorf("%s of %d bytes has %d", form, size, len(line))
			}
			if json.Valid(line) != (form != checker.Plain) {
				t.Errorf("%.80q is %s", line, form)
			}
		}
	}
}

func TestParseLineIsStrict(t *testing.T) {
	for name, line := range map[string]string{
		"empty":             "",
		"only a line feed":  "\n",
		"no line feed":      "orders|p1|1|abc",
		"two lines":         "orders|p1|1|abc\norders|p1|2|abc\n",
		"a field too few":   "orders|p1|1\n",
		"a field too many":  "orders|p1|1|a|b\n",
		"no stream":         "|p1|1|abc\n",
		"no producer":       "orders||1|abc\n",
		"no number":         "orders|p1||abc\n",
		"leading zero":      "orders|p1|01|abc\n",
		"sign":              "orders|p1|+1|abc\n",
		"number too large":  "orders|p1|18446744073709551616|abc\n",
		"carriage return":   "orders|p1|1|abc\r\n",
		"foreign padding":   "orders|p1|1|a\x00c\n",
		"space in a name":   "or ders|p1|1|abc\n",
		"a name too long":   strings.Repeat("x", 65) + "|p1|1|abc\n",
		"something before":  " orders|p1|1|abc\n",
		"not ASCII padding": "orders|p1|1|é\n",
		"space in JSON":     `{"stream":"orders","producer":"p1","n": 1,"padding":""}` + "\n",
		"a member more":     `{"stream":"orders","producer":"p1","n":1,"padding":"","x":""}` + "\n",
		"a member less":     `{"stream":"orders","producer":"p1","n":1}` + "\n",
		"a long list":       `["orders","p1",1,"",""]` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			if record, err := checker.ParseLine([]byte(line)); err == nil {
				t.Errorf("parsed as %v", record)
			}
		})
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("orders|p1|1|abc\n"))
	for _, form := range []checker.Form{checker.Plain, checker.Document, checker.List, checker.Mismatch} {
		f.Add(checker.Record{Stream: "orders", Producer: "p1", N: 1}.Form(form, 0, nil))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		record, err := checker.ParseLine(line)
		if err != nil {
			return
		}
		for form, end := range map[checker.Form]int{checker.Plain: 1, checker.Document: 3, checker.List: 3, checker.Mismatch: 3} {
			bare := record.Form(form, 0, nil)
			before, behind := bare[:len(bare)-end], bare[len(bare)-end:]
			if len(line) >= len(bare) && bytes.HasPrefix(line, before) && bytes.HasSuffix(line, behind) {
				return
			}
		}
		t.Errorf("%q was parsed as %v", line, record)
	})
}

func TestParseBatch(t *testing.T) {
	const text = "Ab3.s3.12.5-18446744073709551615"
	batch, err := checker.ParseBatch(text)
	if err != nil || batch.String() != text {
		t.Errorf("got %v, %v", batch, err)
	}
	for _, bad := range []string{
		"", "id", "id.s3.0", "id.s3.0.1", "id.s3.0.1-", "id.s3.0.-1", "id.s3.0.2-1", "id.s3.0.0-1", "id.s3.x.1-2",
		".s3.0.1-2", "id..0.1-2", "id.s3.0.1-2.3", "id.s3.0.01-2", "id.s3.0.1-2-3", "id.s3.0.1–2", " id.s3.0.1-2 ",
	} {
		if batch, err := checker.ParseBatch(bad); err == nil {
			t.Errorf("%q was parsed as %v", bad, batch)
		}
	}
}

func TestStreamOfKey(t *testing.T) {
	for key, want := range map[string]string{
		"2026/11/23/13/orders-1-2026-11-23-13-00-59-abcDEF12345":                                     "orders",
		"p/2026/11/23/13/a.b-c_d-12-2026-11-23-13-00-59-abcDEF12345.gz":                              "a.b-c_d",
		"2026/11/23/13/orders-1-2026-11-23-13-00-59-01234567-89ab-cdef-0123-456789abcdef.gz":         "orders",
		"2026/11/23/13/orders-7-2026-7-2026-11-23-13-00-59-01234567-8901-2345-6789-012345678901.zip": "orders-7-2026",
		"2026/11/23/13/orders":                                "",
		"2026/11/23/13/orders-1-2026-11-23-13-00-59":          "",
		"2026/11/23/13/orders-2026-11-23-13-00-59-abcDEF1234": "",
	} {
		if got := checker.StreamOfKey(key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}
