package checker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is a kind of problem.
type Kind string

// The kinds of problems.
const (
	// Lost: a record that was acknowledged is in no object.
	Lost Kind = "acknowledged record lost"
	// Duplicated: a record was delivered more than once.
	Duplicated Kind = "record delivered more than once"
	// NeverOffered: a record was delivered that no producer offered.
	NeverOffered Kind = "record nobody offered"
	// Altered: a record was delivered with other bytes than it was offered with.
	Altered Kind = "record altered"
	// WrongStream: an object holds a record of another delivery stream, or two streams share an id.
	WrongStream Kind = "record of another delivery stream"
	// OutOfOrder: acknowledged records of one producer are in a shard in another order than it offered them.
	OutOfOrder Kind = "records out of order"
	// BadRecordID: two acknowledged records have one RecordId, or one has none.
	BadRecordID Kind = "RecordId missing or not unique"
	// Misplaced: a record is in another batch than its RecordId names.
	Misplaced Kind = "record in another batch than its RecordId names"
	// Unparsable: an object holds bytes that are no record.
	Unparsable Kind = "truncated or foreign bytes"
	// BadName: an object's name is not of the documented form.
	BadName Kind = "object name"
	// BadMetadata: an object does not say which batch it holds.
	BadMetadata Kind = "object metadata"
	// Miscounted: an object holds another number of records or bytes than its metadata says.
	Miscounted Kind = "object's content disagrees with its metadata"
	// Gap: sequences between two batches were delivered by none.
	Gap Kind = "gap between batches"
	// Overlap: sequences were delivered by two batches.
	Overlap Kind = "batches overlap"
	// WrongID: a document has another id than the RecordId of its record.
	WrongID Kind = "document under another id than its RecordId"
	// WrongIndex: a document is in, or was meant for, another index than the arrival of its record says.
	WrongIndex Kind = "document of another index"
	// Overwritten: a document was written again, or deleted and written again, under the same id.
	Overwritten Kind = "document written more than once"
	// Indexed: a record that no index can take is in one.
	Indexed Kind = "record in an index that none can take"
	// GivenUp: a document was set aside that an index would have taken.
	GivenUp Kind = "good document set aside"
	// Foreign: a record that no table can take is in one.
	Foreign Kind = "record in a table that none can take"
	// NotInLedger: the ledger beside the tables says otherwise than they do.
	NotInLedger Kind = "batch that the ledger is wrong about"
	// BadManifest: an error manifest is not of the documented form, or names something that is not there.
	BadManifest Kind = "error manifest"
	// BadLine: a line of a file of failed documents is not of the documented form, or gives no reason.
	BadLine Kind = "line of a file of failed documents"
	// DeliveredTwice: two objects hold the same batch.
	DeliveredTwice Kind = "batch delivered by two objects"
)

// keptPerKind bounds the problems kept of each kind: after the first few, more of the same tell nothing new.
const keptPerKind = 20

// Problem is one thing that is not as promised.
type Problem struct {
	Kind   Kind
	Detail string
}

// String returns the problem on one line.
func (p Problem) String() string {
	return string(p.Kind) + ": " + p.Detail
}

// Report is the checker's verdict.
type Report struct {
	// Ledger is what the producers know.
	Ledger Counts
	// Objects and Batches are how many objects were read and how many batches they hold.
	Objects, Batches int
	// Records and Bytes are what the objects hold, duplicates included, before compression.
	Records int
	Bytes   int64
	// Indexed and Rows are how many records are in indices and in tables, SetAside how many in files of failed documents or
	// objects that error manifests name, duplicates included, and Both how many are in either.
	Indexed, Rows, SetAside, Both int
	// Delivered is how many acknowledged records were found, DeliveredRefused and DeliveredUnknown how many of those
	// without a positive answer.
	Delivered, DeliveredRefused, DeliveredUnknown int
	// Problems holds the first 20 of each kind; Count knows how many there are.
	Problems []Problem

	found map[Kind]int
}

func newReport() *Report {
	return &Report{found: make(map[Kind]int)}
}

// Count returns how many problems of a kind there are.
func (r *Report) Count(kind Kind) int {
	return r.found[kind]
}

// Kinds returns the kinds of problems there are, sorted.
func (r *Report) Kinds() []Kind {
	return slices.Sorted(maps.Keys(r.found))
}

// Err returns nil if all is as promised, and the report as an error otherwise.
func (r *Report) Err() error {
	if len(r.found) == 0 {
		return nil
	}
	return errors.New(r.String())
}

// String returns the report as text of several lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "offered %d records: %d acknowledged, %d refused, %d without an answer (%d of them discardable)\n",
		r.Ledger.Offered, r.Ledger.Acknowledged, r.Ledger.Refused, r.Ledger.Unknown, r.Ledger.Discardable)
	fmt.Fprintf(&b, "delivered %d records (%d bytes) in %d objects of %d batches: %d acknowledged, %d refused, %d without an answer\n",
		r.Records, r.Bytes, r.Objects, r.Batches, r.Delivered, r.DeliveredRefused, r.DeliveredUnknown)
	if r.Indexed+r.Rows+r.SetAside > 0 {
		fmt.Fprintf(&b, "%d in indices, %d in tables, %d set aside, %d in both\n", r.Indexed, r.Rows, r.SetAside, r.Both)
	}
	if len(r.found) == 0 {
		b.WriteString("no problems\n")
	}
	for _, kind := range r.Kinds() {
		fmt.Fprintf(&b, "%s: %d\n", kind, r.found[kind])
		for _, problem := range r.Problems {
			if problem.Kind == kind {
				fmt.Fprintf(&b, "  %s\n", problem.Detail)
			}
		}
		if more := r.found[kind] - keptPerKind; more > 0 {
			fmt.Fprintf(&b, "  … and %d more\n", more)
		}
	}
	return b.String()
}

func (r *Report) add(kind Kind, format string, args ...any) {
	r.found[kind]++
	if r.found[kind] <= keptPerKind {
		r.Problems = append(r.Problems, Problem{kind, fmt.Sprintf(format, args...)})
	}
}

// count enters that a record with an outcome was found.
func (r *Report) count(outcome Outcome) {
	switch outcome {
	case Acknowledged:
		r.Delivered++
	case Refused:
		r.DeliveredRefused++
	case Unknown:
		r.DeliveredUnknown++
	}
}
