package ingest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/zeebo/xxh3"

	"hydrant/shared/names"
	"hydrant/shared/record"
)

func callerOf(invocation string, records ...[]byte) caller {
	return caller{AccessKey: "AKIDEXAMPLE", InvocationID: invocation, Attempt: 1, Body: xxh3.Hash128(bytes.Join(records, []byte{0})).Bytes()}
}

// recordsOf returns records of the given sizes with different contents.
func recordsOf(sizes ...int) [][]byte {
	records := make([][]byte, len(sizes))
	for i, n := range sizes {
		records[i] = bytes.Repeat([]byte{byte('a' + i%26)}, n)
	}
	return records
}

func TestBuildMessages(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		sizes []int
		parts []int // records in each message
	}{
		"one record":                       {[]int{100}, []int{1}},
		"one empty record":                 {[]int{0}, []int{1}},
		"only empty records":               {[]int{0, 0, 0}, []int{3}},
		"several":                          {[]int{1, 2, 3, 3, 3}, []int{5}},
		"the largest record":               {[]int{record.MaxRecordBytes}, []int{1}},
		"exactly full":                     {[]int{record.MaxMessageBytes - 1, 1}, []int{2}},
		"full, and an empty one":           {[]int{record.MaxMessageBytes - 1, 1, 0}, []int{3}},
		"one byte too many":                {[]int{record.MaxMessageBytes - 1, 2}, []int{1, 1}},
		"four largest":                     {slices.Repeat([]int{record.MaxRecordBytes}, 4), []int{1, 1, 1, 1}},
		"a small one between large ones":   {[]int{600_000, 10, 600_000, 10, 600_000}, []int{2, 2, 1}},
		"500 records of 4 MiB together":    {slices.Repeat([]int{8388}, 500), []int{122, 122, 122, 122, 12}},
		"never reordered to fit better":    {[]int{500_000, 600_000, 500_000}, []int{1, 1, 1}},
		"the largest after the smallest":   {[]int{1, record.MaxRecordBytes, 1}, []int{1, 1, 1}},
		"500 records, all unlike the last": {oneTo(500), []int{500}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			records := recordsOf(test.sizes...)
			messages := buildMessages("id", callerOf("inv", records...), dataOf(records...))
			if len(messages) != len(test.parts) {
				t.Fatalf("%d messages, want %d", len(messages), len(test.parts))
			}
			for i, m := range messages {
				part := records[:test.parts[i]]
				records = records[test.parts[i]:]
				checkMessage(t, m, part)
			}
		})
	}
}

func oneTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i + 1
	}
	return all
}

func checkMessage(t *testing.T, m logMessage, records [][]byte) {
	t.Helper()
	if !bytes.Equal(m.payload, bytes.Join(records, nil)) {
		t.Error("the payload is not the records, concatenated")
	}
	if len(m.payload) > record.MaxMessageBytes {
		t.Errorf("payload of %d bytes", len(m.payload))
	}
	if m.records != len(records) {
		t.Errorf("%d records, want %d", m.records, len(records))
	}
	if len(records) == 1 && m.lengths != "" {
		t.Errorf("lengths %q for a single record", m.lengths)
	}
	lengths := record.Lengths(nats.Header{record.LengthsHeader: {m.lengths}}, len(m.payload))
	for i, n := range lengths {
		if n != len(records[i]) {
			t.Fatalf("record %d has length %d, want %d", i, n, len(records[i]))
		}
	}
}

func TestMessageID(t *testing.T) {
	base := caller{AccessKey: "key", InvocationID: "inv", Attempt: 1, Body: xxh3.Hash128([]byte("body")).Bytes()}
	id := messageID("stream", base, 0)
	retry := base
	retry.Attempt = 3
	if messageID("stream", retry, 0) != id {
		t.Error("a retry has another id")
	}
	if len(id) != 24 {
		t.Errorf("%q has %d characters, want 24", id, len(id))
	}
	others := map[string]string{}
	add := func(what string, id string) {
		if other, known := others[id]; known {
			t.Errorf("%s and %s have the same id", what, other)
		}
		others[id] = what
	}
	add("the first", id)
	add("another part", messageID("stream", base, 1))
	add("another stream", messageID("streax", base, 0))
	other := base
	other.AccessKey = "kez"
	add("another access key", messageID("stream", other, 0))
	other = base
	other.InvocationID = "inw"
	add("another invocation", messageID("stream", other, 0))
	other = base
	other.Body[15]++
	add("another body", messageID("stream", other, 0))
	add("fields run together", messageID("eystream", caller{AccessKey: "k", InvocationID: "inv", Body: base.Body}, 0))
	add("fields run together, too", messageID("streaminv", caller{AccessKey: "key", Body: base.Body}, 0))
}

func TestShardOf(t *testing.T) {
	// Every replica and version has to find a call's first try: these are fixed for good.
	fixed := map[string]names.Shard{"": 5, "a": 4, "6f0bd5ba-3c42-4e77-8f4b-6a2c4a2a0e11": 5}
	for invocation, want := range fixed {
		if got := shardOf(invocation, 8); got != want {
			t.Errorf("%q goes to shard %d, want %d", invocation, got, want)
		}
	}
	counts := make([]int, 8)
	for i := range 8000 {
		counts[shardOf(fmt.Sprintf("invocation-%d", i), 8)]++
	}
	for shard, n := range counts {
		if n < 800 || n > 1200 {
			t.Errorf("shard %d has %d of 8000 calls", shard, n)
		}
	}
	if shardOf("any", 1) != 0 || shardOf("any", 0) != 0 {
		t.Error("a single shard is not 0")
	}
}

// What a put allocates must not grow with its records.
func TestAllocationsDoNotGrowWithRecords(t *testing.T) {
	allocations := func(n int) float64 {
		records := recordsOf(slices.Repeat([]int{1000}, n)...)
		c, data := callerOf("invocation", records...), dataOf(records...)
		return testing.AllocsPerRun(100, func() { buildMessages("stream", c, data) })
	}
	few, many := allocations(10), allocations(500)
	if many > few {
		t.Errorf("%v allocations for 500 records, %v for 10", many, few)
	}
}
