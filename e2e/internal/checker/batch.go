package checker

import (
	"cmp"
	"fmt"
	"strings"
)

// The user metadata that every delivered object carries.
const (
	// MetadataBatch is <streamid>.<leg>.<shard>.<first>-<last>.
	MetadataBatch = "hydrant-batch"
	// MetadataRecords is the number of records in the object.
	MetadataRecords = "hydrant-records"
	// MetadataBytes is the number of record bytes, before compression.
	MetadataBytes = "hydrant-bytes"
)

// Chain is a sequence of batches that has to be contiguous.
type Chain struct {
	StreamID string
	Leg      string
	Shard    uint64
}

// String returns the chain's part of a batch's name.
func (c Chain) String() string {
	return fmt.Sprintf("%s.%s.%d", c.StreamID, c.Leg, c.Shard)
}

// Batch names a batch: a range of sequences of one chain, both ends included.
type Batch struct {
	Chain
	First, Last uint64
}

// String returns the batch as it is in the metadata.
func (b Batch) String() string {
	return fmt.Sprintf("%s.%d-%d", b.Chain, b.First, b.Last)
}

// ParseBatch reads a batch as it is in the metadata.
func ParseBatch(s string) (Batch, error) {
	fields := strings.Split(s, ".")
	if len(fields) != 4 || fields[0] == "" || fields[1] == "" {
		return Batch{}, fmt.Errorf("batch %q is not <streamid>.<leg>.<shard>.<first>-<last>", s)
	}
	batch := Batch{Chain: Chain{StreamID: fields[0], Leg: fields[1]}}
	first, last, _ := strings.Cut(fields[3], "-")
	for _, field := range []struct {
		text string
		into *uint64
	}{{fields[2], &batch.Shard}, {first, &batch.First}, {last, &batch.Last}} {
		n, err := parseDecimal(field.text)
		if err != nil {
			return Batch{}, fmt.Errorf("batch %q: %w", s, err)
		}
		*field.into = n
	}
	if batch.First == 0 || batch.First > batch.Last {
		return Batch{}, fmt.Errorf("batch %q has no sequence", s)
	}
	return batch, nil
}

// compareBatches orders by chain, then by range.
func compareBatches(a, b Batch) int {
	return cmp.Or(
		cmp.Compare(a.StreamID, b.StreamID),
		cmp.Compare(a.Leg, b.Leg),
		cmp.Compare(a.Shard, b.Shard),
		cmp.Compare(a.First, b.First),
		cmp.Compare(a.Last, b.Last),
	)
}
