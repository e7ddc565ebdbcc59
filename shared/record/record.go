// Package record is the format of a message in the record log, and of a record's id.
//
// A message holds the records of one put, or of a part of it. Its payload is their bytes, concatenated and untouched, so
// it is exactly what an S3 object will contain. The header Hydrant-Lengths tells where one record ends and the next
// begins; a message without it, or with one that does not add up to the payload, is one record, so a plain
// `nats pub records.demo.0 hello` is a valid put.
//
// A later version may write messages that are other than that. They have the header Hydrant-Format, with its number: who reads
// a log asks CheckFormat before anything else, and neither counts nor delivers what it does not know.
package record

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"hydrant/shared/format"
	"hydrant/shared/names"
)

// LengthsHeader is the header of a message in the record log that gives its records' lengths.
const LengthsHeader = "Hydrant-Lengths"

// FormatHeader is the header of a message that is not as this package says, and gives the number of the format that it has. A
// message without it, or with one that is no number, has format 1: this one.
const FormatHeader = "Hydrant-Format"

// Format is the newest format of a message that this build reads, and the one that it writes.
const Format = 1

// FormatOf is the format that a message says it has.
func FormatOf(h nats.Header) int {
	found := 1
	for _, value := range h.Values(FormatHeader) {
		if n, err := strconv.Atoi(value); err == nil {
			found = max(found, n)
		}
	}
	return found
}

// CheckFormat returns format.ErrNewer for a message whose records this build cannot tell apart.
func CheckFormat(h nats.Header) error { return format.Check(FormatOf(h), Format) }

// Limits of a put, those of the Firehose API.
const (
	MaxRecordBytes  = 1_024_000
	MaxBatchRecords = 500
	MaxBatchBytes   = 4 << 20
	// MaxMessageBytes bounds a message's payload: with a header of at most 24 KiB it stays below NATS' default
	// max_payload of 1 MiB.
	MaxMessageBytes = 1_024_000
)

// AppendLengths appends the value of LengthsHeader: decimal lengths separated by commas, where a run of n equal lengths
// is written n*length ("3*100,7" is 100,100,100,7).
func AppendLengths(dst []byte, lengths []int) []byte {
	for i := 0; i < len(lengths); {
		run := 1
		for i+run < len(lengths) && lengths[i+run] == lengths[i] {
			run++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if run > 1 {
			dst = strconv.AppendInt(dst, int64(run), 10)
			dst = append(dst, '*')
		}
		dst = strconv.AppendInt(dst, int64(lengths[i]), 10)
		i += run
	}
	return dst
}

// Lengths returns the lengths of the records in a message of size payload bytes. It never fails: what is not a valid
// header for that size is one record.
func Lengths(h nats.Header, size int) []int {
	if lengths, ok := parseLengths(h.Get(LengthsHeader), size); ok {
		return lengths
	}
	return []int{size}
}

// Count returns the number of records in a message, as Lengths does, without keeping the lengths.
func Count(h nats.Header, size int) int {
	n, ok := walkLengths(h.Get(LengthsHeader), size, nil)
	if !ok {
		return 1
	}
	return n
}

func parseLengths(value string, size int) ([]int, bool) {
	var lengths []int
	_, ok := walkLengths(value, size, func(run, length int) {
		for range run {
			lengths = append(lengths, length)
		}
	})
	return lengths, ok
}

// walkLengths calls visit for each run and reports how many records there are, and whether they add up to size. A header
// comes from whoever may publish to NATS, so counts are bounded before anything is allocated for them.
func walkLengths(value string, size int, visit func(run, length int)) (count int, ok bool) {
	if value == "" {
		return 0, false
	}
	total := 0
	for item := range strings.SplitSeq(value, ",") {
		run := 1
		if before, after, found := strings.Cut(item, "*"); found {
			if run, ok = parseCount(before, MaxBatchRecords); !ok || run == 0 {
				return 0, false
			}
			item = after
		}
		length, valid := parseCount(item, size)
		if !valid {
			return 0, false
		}
		count += run
		total += run * length
		if count > MaxBatchRecords || total > size {
			return 0, false
		}
		if visit != nil {
			visit(run, length)
		}
	}
	return count, total == size
}

func parseCount(s string, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil && int(n) <= most
}

// ID is a RecordId: it names where a record is, so that anyone can prove from ids alone that nothing is missing.
//
// The written form is h1-<stream id>-<shard>-<sequence>-<index>: the sequence is that of the message in the shard's
// JetStream stream, the index that of the record in the message, both decimal; the index counts from 0.
type ID struct {
	Stream   names.StreamID
	Shard    names.Shard
	Sequence uint64
	Index    int
}

func (id ID) String() string { return string(id.Append(nil)) }

// Append appends the written form.
func (id ID) Append(b []byte) []byte {
	b = append(append(b, "h1-"...), id.Stream...)
	b = strconv.AppendUint(append(b, '-'), uint64(id.Shard), 10)
	b = strconv.AppendUint(append(b, '-'), id.Sequence, 10)
	return strconv.AppendUint(append(b, '-'), uint64(id.Index), 10)
}

// ErrBadID is what ParseID returns for a text that is not a RecordId.
var ErrBadID = errors.New("not a RecordId of the form h1-<stream id>-<shard>-<sequence>-<index>")

// ParseID undoes ID.String.
func ParseID(s string) (ID, error) {
	parts := strings.Split(s, "-")
	if len(parts) != 5 || parts[0] != "h1" || parts[1] == "" {
		return ID{}, fmt.Errorf("%w: %q", ErrBadID, s)
	}
	shard, errShard := strconv.ParseUint(parts[2], 10, 31)
	seq, errSeq := strconv.ParseUint(parts[3], 10, 64)
	index, errIndex := strconv.ParseUint(parts[4], 10, 31)
	if err := errors.Join(errShard, errSeq, errIndex); err != nil {
		return ID{}, fmt.Errorf("%w: %q", ErrBadID, s)
	}
	return ID{names.StreamID(parts[1]), names.Shard(shard), seq, int(index)}, nil
}
