// Package checker decides whether every record that a producer offered reached S3 as promised.
//
// It counts a multiset. What the producers know is in a Ledger: each record was acknowledged, refused, or has no clear
// answer. What was delivered is read from the objects of one leg. Then:
//
//   - an acknowledged record is delivered exactly once;
//   - a refused record, or one without a clear answer, is delivered at most once;
//   - an acknowledged record whose delivery stream was deleted (Discardable) is delivered at most once;
//   - no record is delivered that nobody offered, none with other bytes than it was offered with, and none in an object
//     of another delivery stream;
//   - no two acknowledged records have the same RecordId;
//   - the batches of a delivery stream, leg and shard follow each other without gap or overlap, each is in one object,
//     and each object holds the records and bytes that its metadata says.
//
// CheckDocuments does the same for delivery streams to a search node, whose records are in an index or in a file of failed
// documents; CheckRows for those to a database, whose records are in a table or in an object that an error manifest names.
//
// The checker is of use only while it can fail: its tests damage a healthy bucket in every way above, and each must be
// found under the right kind.
package checker

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// MaxLine is the size of the largest record that the API accepts, in bytes, the line feed included.
const MaxLine = 1000 * 1024

const fieldSeparator = "|"

// Record identifies a record: the n-th that a producer offered to a delivery stream. Its content is one line,
// <stream>|<producer>|<n>|<padding> or the same as JSON, so that a delivered object can be taken apart without knowing what
// is in it.
type Record struct {
	Stream   string
	Producer string
	N        uint64
}

// String returns the line's fields without the padding.
func (r Record) String() string {
	return r.Stream + fieldSeparator + r.Producer + fieldSeparator + strconv.FormatUint(r.N, 10)
}

func compareRecords(a, b Record) int {
	return cmp.Or(
		cmp.Compare(a.Stream, b.Stream),
		cmp.Compare(a.Producer, b.Producer),
		cmp.Compare(a.N, b.N),
	)
}

// Line returns the record's content in the plain form, padded at random to size bytes; a size too small for the fields gives
// the shortest line there is.
func (r Record) Line(size int, rng *rand.Rand) []byte { return r.Form(Plain, size, rng) }

// ParseLine takes a line apart, its line feed included, of any form. It accepts only what Form produces: anything else in an
// object did not come from a producer.
func ParseLine(line []byte) (Record, error) {
	record, _, err := parseForm(line)
	return record, err
}

// isName tells whether b could be a delivery stream's name, which has from 1 to 64 characters.
func isName(b []byte) bool {
	return len(b) >= 1 && len(b) <= 64 && isText(b)
}

func isText(b []byte) bool {
	for _, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		digit := c >= '0' && c <= '9'
		if !letter && !digit && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// parseDecimal accepts only the one way in which a number is written: no sign, no leading zeros.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a decimal number", s)
	}
	if strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%.40q is not written as a decimal number is", s)
	}
	return n, nil
}
