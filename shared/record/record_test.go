package record_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"hydrant/shared/format"
	"hydrant/shared/names"
	"hydrant/shared/record"
)

func header(value string) nats.Header { return nats.Header{record.LengthsHeader: {value}} }

func sum(lengths []int) (n int) {
	for _, l := range lengths {
		n += l
	}
	return n
}

func repeat(n, length int) []int { return slices.Repeat([]int{length}, n) }

func TestLengthsWritten(t *testing.T) {
	for _, c := range []struct {
		name    string
		lengths []int
		want    string
	}{
		{"one", []int{5}, "5"},
		{"empty record", []int{0}, "0"},
		{"two different", []int{5, 7}, "5,7"},
		{"a run", []int{100, 100, 100, 7}, "3*100,7"},
		{"a run at the end", []int{7, 100, 100}, "7,2*100"},
		{"runs apart", []int{1, 1, 2, 1, 1}, "2*1,2,2*1"},
		{"empty records", []int{0, 0, 0}, "3*0"},
		{"as many as a call may have", repeat(500, 1000), "500*1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := string(record.AppendLengths(nil, c.lengths))
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if back := record.Lengths(header(got), sum(c.lengths)); !slices.Equal(back, c.lengths) {
				t.Errorf("read back as %v", back)
			}
		})
	}
	if got := string(record.AppendLengths([]byte("x="), []int{1})); got != "x=1" {
		t.Errorf("what was there is not kept: %q", got)
	}
}

// Whatever is not a valid header for the payload is one record.
func TestLengthsRefused(t *testing.T) {
	const size = 10
	for _, c := range []struct{ name, value string }{
		{"empty", ""},
		{"a word", "ten"},
		{"too little", "9"},
		{"too much", "11"},
		{"far too much", "9223372036854775807"},
		{"more than a number holds", "99999999999999999999999999"},
		{"negative", "-1,11"},
		{"sign", "+10"},
		{"space", " 10"},
		{"hexadecimal", "0xa"},
		{"empty item", "5,,5"},
		{"comma at the end", "10,"},
		{"comma at the start", ",10"},
		{"run of none", "0*5,10"},
		{"run without length", "2*"},
		{"length without run", "*5"},
		{"run of runs", "2*1*5"},
		{"too long a run", "501*0,10"},
		{"a huge run", "2147483647*0,10"},
		{"a run that overflows", "2147483647*2147483647"},
		{"too many runs", strings.Repeat("400*0,", 10) + "10"},
		{"too many records", strings.Repeat("0,", 500) + "10"},
		{"fraction", "10.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := record.Lengths(header(c.value), size); !slices.Equal(got, []int{size}) {
				t.Errorf("lengths are %v", got)
			}
			if got := record.Count(header(c.value), size); got != 1 {
				t.Errorf("count is %d", got)
			}
		})
	}
	if got := record.Lengths(nil, 3); !slices.Equal(got, []int{3}) {
		t.Errorf("without a header the lengths are %v", got)
	}
	if got := record.Lengths(nil, 0); !slices.Equal(got, []int{0}) {
		t.Errorf("an empty payload without a header has lengths %v", got)
	}
}

func TestLengthsRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		lengths := make([]int, 1+r.IntN(record.MaxBatchRecords))
		for i := range lengths {
			switch {
			case i > 0 && r.IntN(2) == 0:
				lengths[i] = lengths[i-1]
			default:
				lengths[i] = r.IntN(1 << r.IntN(21))
			}
		}
		value := string(record.AppendLengths(nil, lengths))
		if got := record.Lengths(header(value), sum(lengths)); !slices.Equal(got, lengths) {
			t.Fatalf("%v is written %q and read as %v", lengths, value, got)
		}
		if got := record.Count(header(value), sum(lengths)); got != len(lengths) {
			t.Fatalf("%q has %d records, want %d", value, got, len(lengths))
		}
	}
}

// The longest header there can be, with the longest lengths, leaves a message below NATS' default max_payload.
func TestHeaderFitsBesideTheLargestPayload(t *testing.T) {
	lengths := make([]int, record.MaxBatchRecords)
	for i := range lengths {
		lengths[i] = record.MaxRecordBytes - i%2
	}
	if n := len(record.AppendLengths(nil, lengths)); n > 1<<20-record.MaxMessageBytes {
		t.Errorf("the header may have %d bytes", n)
	}
}

// A header comes from whoever may publish: reading one never takes more memory than 500 lengths do.
func TestHostileHeaderAllocatesLittle(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"huge run", "2147483647*0"},
		{"many runs", strings.Repeat("500*0,", 10_000) + "10"},
		{"many items", strings.Repeat("0,", 30_000) + "10"},
		{"commas", strings.Repeat(",", 60_000)},
		{"stars", strings.Repeat("*", 60_000)},
		{"digits", strings.Repeat("1", 60_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := header(c.value)
			if n := testing.AllocsPerRun(10, func() { record.Lengths(h, 10) }); n > 20 {
				t.Errorf("%v allocations to read the lengths", n)
			}
			if n := testing.AllocsPerRun(10, func() { record.Count(h, 10) }); n > 2 {
				t.Errorf("%v allocations to count", n)
			}
			if got := record.Lengths(h, 10); cap(got) > 2*record.MaxBatchRecords {
				t.Errorf("room for %d lengths", cap(got))
			}
		})
	}
}

func FuzzLengths(f *testing.F) {
	f.Add("3*100,7", 307)
	f.Add("0", 0)
	f.Add("500*0", 0)
	f.Add("2147483647*2147483647", math.MaxInt32)
	f.Add("", 12)
	f.Fuzz(func(t *testing.T, value string, size int) {
		if size < 0 {
			size = -(size + 1)
		}
		h := header(value)
		lengths := record.Lengths(h, size)
		if len(lengths) < 1 || len(lengths) > record.MaxBatchRecords || sum(lengths) != size {
			t.Fatalf("%q of %d bytes gives %d lengths that add up to %d", value, size, len(lengths), sum(lengths))
		}
		if n := record.Count(h, size); n != len(lengths) {
			t.Fatalf("%q of %d bytes counts %d and has %d lengths", value, size, n, len(lengths))
		}
		if slices.Min(lengths) < 0 {
			t.Fatalf("%q gives a negative length", value)
		}
		again := string(record.AppendLengths(nil, lengths))
		if got := record.Lengths(header(again), size); !slices.Equal(got, lengths) {
			t.Fatalf("%v is written %q and read as %v", lengths, again, got)
		}
	})
}

func TestIDRoundTrip(t *testing.T) {
	for _, c := range []struct {
		id   record.ID
		want string
	}{
		{record.ID{Stream: "abcdefghij234567", Shard: 0, Sequence: 1, Index: 0}, "h1-abcdefghij234567-0-1-0"},
		{record.ID{Stream: "x", Shard: 7, Sequence: math.MaxUint64, Index: 499}, "h1-x-7-18446744073709551615-499"},
		{record.ID{Stream: names.NewStreamID(), Shard: math.MaxInt32, Sequence: 0, Index: math.MaxInt32}, ""},
	} {
		written := c.id.String()
		if c.want != "" && written != c.want {
			t.Errorf("%+v is written %q, want %q", c.id, written, c.want)
		}
		back, err := record.ParseID(written)
		if err != nil || back != c.id {
			t.Errorf("%q is read as %+v, %v", written, back, err)
		}
	}
}

func TestParseIDRefuses(t *testing.T) {
	for _, s := range []string{
		"", "h1", "h1-", "h1----", "h1-x-0-1", "h1-x-0-1-0-0", "h2-x-0-1-0", "H1-x-0-1-0", "h1--0-1-0", "h1-x--1-0", "h1-x-0-1-",
		"h1-x-a-1-0", "h1-x-0-1.5-0", "h1-x-0-1- 0", "h1-x-2147483648-1-0", "h1-x-0-18446744073709551616-0", "h1-x-+0-1-0", "h1-x-0-1-0\n",
	} {
		t.Run(s, func(t *testing.T) {
			if id, err := record.ParseID(s); !errors.Is(err, record.ErrBadID) || id != (record.ID{}) {
				t.Errorf("read as %+v, %v", id, err)
			}
		})
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("h1-abcdefghij234567-0-1-0")
	f.Add("h1-x-007-01-00")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := record.ParseID(s)
		if err != nil {
			return
		}
		if back, err := record.ParseID(id.String()); err != nil || back != id {
			t.Errorf("%q is read as %+v, written %q and read as %+v, %v", s, id, id.String(), back, err)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	lengths := make([]int, 500)
	for i := range lengths {
		lengths[i] = 900 + i%100
	}
	h := header(string(record.AppendLengths(nil, lengths)))
	size := sum(lengths)
	b.ReportAllocs()
	for b.Loop() {
		if record.Count(h, size) != 500 {
			b.Fatal("wrong count")
		}
	}
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		name  string
		value []string
		newer bool
	}{
		{"none", nil, false},
		{"this one", []string{"1"}, false},
		{"the next", []string{"2"}, true},
		{"beside another", []string{"1", "2"}, true},
		{"no number", []string{"gzip"}, false},
		{"no whole number", []string{"2.0"}, false},
		{"more than a number holds", []string{"99999999999999999999999999"}, false},
		{"negative", []string{"-7"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := record.CheckFormat(nats.Header{record.FormatHeader: c.value})
			if errors.Is(err, format.ErrNewer) != c.newer || (err != nil) != c.newer {
				t.Errorf("got %v", err)
			}
		})
	}
}
