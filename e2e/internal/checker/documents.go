package checker

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
)

// Found is a document that is in an index.
type Found struct {
	Index string
	ID    string
	// Version is how often it was written.
	Version int64
	Source  []byte
}

// Rotation is how the name of an index follows the arrival of its documents.
type Rotation string

// The rotations of the API.
const (
	NoRotation Rotation = "NoRotation"
	OneHour    Rotation = "OneHour"
	OneDay     Rotation = "OneDay"
	OneWeek    Rotation = "OneWeek"
	OneMonth   Rotation = "OneMonth"
)

// Index returns the name of the index of a record that arrived at a time.
func (r Rotation) Index(name string, arrived time.Time) string {
	arrived = arrived.UTC()
	switch r {
	case OneHour:
		return name + arrived.Format("-2006-01-02-15")
	case OneDay:
		return name + arrived.Format("-2006-01-02")
	case OneWeek:
		year, week := arrived.ISOWeek()
		return fmt.Sprintf("%s-%d-w%02d", name, year, week)
	case OneMonth:
		return name + arrived.Format("-2006-01")
	default:
		return name
	}
}

// Search says where the documents of a delivery stream go, and what is promised of them.
type Search struct {
	Index    string
	Rotation Rotation
	// MayGiveUp allows good documents to be set aside, because the retry duration is short.
	MayGiveUp bool
	// MayBeInBoth allows a document to be indexed and set aside: its answer was lost, and the cluster was away then for longer
	// than the retry duration.
	MayBeInBoth bool
	// NoIDs is for delivery streams whose documents get no ids: what is promised then is only that none is lost.
	NoIDs bool
}

// DocumentOptions say what is expected of documents.
type DocumentOptions struct {
	// Streams are the delivery streams that go to a search node, by their names.
	Streams map[string]Search
	// Arrived says when the message that a RecordId names arrived.
	Arrived func(recordID string) (time.Time, error)
}

// CheckDocuments compares the documents of indices, and the files of failed documents, with the ledger:
//
//   - an acknowledged record is in an index or in a file exactly once: a good one in the index, unless retries may have
//     been over, and one that no index can take in a file, with a reason;
//   - a document's id is the RecordId that its record was acknowledged with, and its index that of its arrival;
//   - a document was written once: no later attempt has written over it, though what it writes is the same;
//   - a refused record, or one without a clear answer, is in one of them at most once;
//   - nothing else is there, and nothing with other bytes than it was offered with.
//
// As with Check, the verdict counts once everything is delivered, and an error means that there is none.
func CheckDocuments(ctx context.Context, ledger *Ledger, found iter.Seq2[Found, error], failed []Object, options DocumentOptions) (*Report, error) {
	goes := func(stream string) bool { _, ok := options.Streams[stream]; return ok }
	c := &documents{placing: newPlacing(ledger, goes), options: options, batches: make(map[string]string)}
	for document, err := range found {
		if err != nil {
			return nil, fmt.Errorf("read the documents: %w", err)
		}
		c.indexed(document)
	}
	for _, object := range failed {
		if err := c.file(ctx, object); err != nil {
			return nil, err
		}
	}
	c.compareWithLedger(c.count)
	return c.report, nil
}

// documents is the state of one comparison.
type documents struct {
	*placing
	options DocumentOptions
	// batches holds the file of each batch.
	batches map[string]string
}

// indexed checks one document of an index. The service leaves the line's end out of it, and nothing else.
func (c *documents) indexed(document Found) {
	c.report.Indexed++
	where := fmt.Sprintf("document %s of %s", document.ID, document.Index)
	record, known, ok := c.identify(where, append(slices.Clone(document.Source), '\n'))
	if !ok {
		return
	}
	if known.form != Document {
		c.report.add(Indexed, "%s: %s is %s", where, record, known.form)
	}
	if document.Version != 1 {
		c.report.add(Overwritten, "%s: %s was written %d times", where, record, document.Version)
	}
	c.at(record).taken = append(c.at(record).taken, where)
	c.checkNames(where, record, known, document.ID, document.Index)
}

// checkNames checks id and index. The id of a record without an answer is only known from here, and names its message as well.
func (c *documents) checkNames(where string, record Record, known entry, id, index string) {
	to := c.options.Streams[record.Stream]
	if to.NoIDs {
		if id = known.recordID; id == "" {
			return
		}
	}
	if known.outcome == Acknowledged && id != known.recordID {
		c.report.add(WrongID, "%s: %s was acknowledged as %s", where, record, known.recordID)
		return
	}
	arrived, err := c.options.Arrived(id)
	if err != nil {
		c.report.add(WrongID, "%s: %s: %v", where, record, err)
		return
	}
	if want := to.Rotation.Index(to.Index, arrived); index != want {
		c.report.add(WrongIndex, "%s: %s arrived at %s, so its index is %s", where, record, arrived.UTC().Format(time.RFC3339Nano), want)
	}
}

// file checks one file of failed documents, against its metadata and line by line.
func (c *documents) file(ctx context.Context, object Object) error {
	c.report.Objects++
	c.checkBatch(object)
	var records int
	var size int64
	visit := func(offset int64, line []byte) {
		records++
		size += c.setAside(fmt.Sprintf("%s at byte %d", object.name(), offset), line)
	}
	damaged := func(found damage) {
		c.report.add(Unparsable, "%s at byte %d: %v", object.name(), found.offset, found.cause)
	}
	if _, err := object.lines(ctx, 2*MaxLine, visit, damaged); err != nil {
		return err
	}
	for key, counted := range map[string]string{MetadataRecords: strconv.Itoa(records), MetadataBytes: strconv.FormatInt(size, 10)} {
		if claimed := object.Metadata[key]; claimed != counted {
			c.report.add(Miscounted, "%s has %s %q and holds %s", object.name(), key, claimed, counted)
		}
	}
	return nil
}

// checkBatch finds two files of one batch.
func (c *documents) checkBatch(object Object) {
	batch := object.Metadata[MetadataBatch]
	if _, err := ParseBatch(batch); err != nil {
		c.report.add(BadMetadata, "%s: %v", object.name(), err)
		return
	}
	if other, ok := c.batches[batch]; ok {
		c.report.add(DeliveredTwice, "%s is in %s and in %s", batch, other, object.name())
	}
	c.batches[batch] = object.name()
	c.report.Batches++
}

// setAside checks one line of a file, and returns how many bytes its record has.
func (c *documents) setAside(where string, line []byte) int64 {
	c.report.SetAside++
	failed, err := ParseFailed(line)
	if err != nil {
		c.report.add(BadLine, "%s: %v in %.200q", where, err, line)
		return 0
	}
	record, known, ok := c.identify(where, failed.Data)
	if !ok {
		return int64(len(failed.Data))
	}
	to := c.options.Streams[record.Stream]
	if known.form == Document && !to.MayGiveUp {
		c.report.add(GivenUp, "%s: %s with %s: %s", where, record, failed.Code, failed.Message)
	}
	c.at(record).setAside = append(c.at(record).setAside, where)
	c.checkArrival(where, known, failed)
	if !to.NoIDs || failed.ID != "" {
		c.checkNames(where, record, known, failed.ID, failed.Index)
	}
	return int64(len(failed.Data))
}

func (c *documents) checkArrival(where string, known entry, failed FailedDocument) {
	if known.outcome != Acknowledged {
		return
	}
	arrived, err := c.options.Arrived(known.recordID)
	if err == nil && arrived.UnixMilli() != failed.Arrived {
		c.report.add(BadLine, "%s says that it arrived at %d ms, and it did at %d", where, failed.Arrived, arrived.UnixMilli())
	}
}

// count judges in how many places a record is.
func (c *documents) count(record Record, e *entry, found *places) {
	to := c.options.Streams[record.Stream]
	twice := len(found.taken) > 1 || len(found.setAside) > 1 || found.both() && !to.MayBeInBoth
	if twice && !to.NoIDs {
		c.report.add(Duplicated, "%s is in %v", record, found.all())
	}
}
