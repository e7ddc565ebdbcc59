package checker

import (
	"context"
	"fmt"
	"iter"
)

// Row is a row of a table, as far as a record has it.
type Row struct {
	Table    string
	Stream   string
	Producer string
	N        uint64
	Padding  string
}

// LedgerRow is a row of the table in which the loader notes what it has loaded.
type LedgerRow struct {
	StreamID string
	Batch    string
}

// Loaded is what there is of delivery streams that go to a database.
type Loaded struct {
	// Rows are those of all tables.
	Rows iter.Seq2[Row, error]
	// Ledger is what the loader has noted.
	Ledger []LedgerRow
	// Staged are the objects that were to be loaded, Manifests the error manifests.
	Staged, Manifests []Object
}

// Warehouse says where the rows of a delivery stream go, and what is promised of them.
type Warehouse struct {
	Table string
	// Form is the only one that the COPY can load.
	Form Form
	// MayGiveUp allows objects to be set aside that could have been loaded: the retry duration is short, or another record of an
	// object is bad.
	MayGiveUp bool
}

// RowOptions say what is expected of rows.
type RowOptions struct {
	// Streams are the delivery streams that go to a database, by their names.
	Streams map[string]Warehouse
}

// CheckRows compares tables and error manifests with the ledger of the producers:
//
//   - an acknowledged record is exactly once either a row of its table or in a staged object that one error manifest names;
//   - a refused record, or one without a clear answer, is there at most once;
//   - nothing else is there, and nothing with other bytes than it was offered with;
//   - each error manifest is one that a COPY can read, says why, and names objects that are there;
//   - the loader's own ledger holds the batches whose records are rows, each once, and no other.
//
// That the staged objects are what they have to be is for Check. As there, the verdict counts once everything is delivered, and an
// error means that there is none.
func CheckRows(ctx context.Context, ledger *Ledger, loaded Loaded, options RowOptions) (*Report, error) {
	goes := func(stream string) bool { _, ok := options.Streams[stream]; return ok }
	c := &rows{placing: newPlacing(ledger, goes), options: options, staged: make(map[string]*stagedObject)}
	c.stage(loaded.Staged)
	for row, err := range loaded.Rows {
		if err != nil {
			return nil, fmt.Errorf("read the rows: %w", err)
		}
		c.row(row)
	}
	for _, manifest := range loaded.Manifests {
		if err := c.manifest(ctx, manifest); err != nil {
			return nil, err
		}
	}
	c.compareWithLedger(c.judge)
	c.compareLedgers(loaded.Ledger)
	return c.report, nil
}

// rows is the state of one comparison.
type rows struct {
	*placing
	options RowOptions
	staged  map[string]*stagedObject // by URL
}

// stagedObject is an object that is to be loaded, and the manifests that name it.
type stagedObject struct {
	Object
	batch Batch
	named []string
}

func (c *rows) stage(objects []Object) {
	for _, object := range objects {
		batch, err := ParseBatch(object.Metadata[MetadataBatch])
		if err != nil {
			c.report.add(BadMetadata, "%s: %v", object.name(), err)
		}
		c.staged[object.name()] = &stagedObject{Object: object, batch: batch}
		c.report.Batches++
	}
}

// row checks one row. What it was before a COPY took it apart is put together again.
func (c *rows) row(row Row) {
	c.report.Rows++
	record := Record{Stream: row.Stream, Producer: row.Producer, N: row.N}
	to := c.options.Streams[row.Stream]
	where := fmt.Sprintf("row %s of %s", record, row.Table)
	if known, ok := c.ledger.find(record); ok && known.form != to.Form {
		c.report.add(Foreign, "%s is %s", where, known.form)
		return
	}
	record, _, ok := c.identify(where, record.content(to.Form, row.Padding))
	if !ok {
		return
	}
	if to.Table != row.Table {
		c.report.add(WrongStream, "%s belongs into %s", where, to.Table)
	}
	c.at(record).taken = append(c.at(record).taken, where)
}

// judge judges in how many places a record is.
func (c *rows) judge(record Record, e *entry, found *places) {
	if found.times() > 1 {
		c.report.add(Duplicated, "%s is in %v", record, found.all())
	}
	if to := c.options.Streams[record.Stream]; len(found.setAside) > 0 && e.form == to.Form && !to.MayGiveUp {
		c.report.add(GivenUp, "%s is in %v", record, found.setAside)
	}
}

// compareLedgers compares what the loader has noted with what it has not set aside.
func (c *rows) compareLedgers(noted []LedgerRow) {
	times := make(map[string]int)
	for _, row := range noted {
		if batch, err := ParseBatch(row.Batch); err != nil || batch.StreamID != row.StreamID {
			c.report.add(NotInLedger, "%s of %s: %v", row.Batch, row.StreamID, err)
		}
		times[row.Batch]++
	}
	for name, object := range c.staged {
		want := 1
		if len(object.named) > 0 {
			want = 0
		}
		batch := object.batch.String()
		if times[batch] != want {
			c.report.add(NotInLedger, "%s, which is %s, is noted %d times, and was loaded %d", batch, name, times[batch], want)
		}
		delete(times, batch)
	}
	for batch, n := range times {
		c.report.add(NotInLedger, "%s is noted %d times, and there is no object of it", batch, n)
	}
}
