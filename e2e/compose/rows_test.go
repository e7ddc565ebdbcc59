package compose

import (
	"database/sql"
	"iter"

	"github.com/aws/aws-sdk-go-v2/service/firehose"

	"hydrant/e2e/internal/checker"
)

// toRedshift makes a table and a delivery stream into it, both of one name.
func (p *project) toRedshift(name string) way {
	p.t.Helper()
	db := p.redshift()
	_, err := db.ExecContext(p.t.Context(), "CREATE TABLE "+name+" ("+checker.Columns()+")")
	p.must(err)
	_, err = p.firehose().CreateDeliveryStream(p.t.Context(), &firehose.CreateDeliveryStreamInput{
		DeliveryStreamName: &name, RedshiftDestinationConfiguration: intoTable(name),
	})
	p.must(err)
	return way{streams: []string{name}, documents: true, largest: 60_000, check: func(ledger *checker.Ledger) *checker.Report {
		return p.checkRows(ledger, db, name)
	}}
}

// checkRows counts every record of a table, and what was staged for it. Nothing may be set aside: the retry duration is an hour.
func (p *project) checkRows(ledger *checker.Ledger, db *sql.DB, table string) *checker.Report {
	p.t.Helper()
	p.verdict(p.checkObjects(ledger, staging, table+"/"))
	report, err := checker.CheckRows(p.t.Context(), ledger, checker.Loaded{
		Rows: p.rows(db, table), Ledger: p.noted(db, table), Staged: p.objects(staging, table+"/"), Manifests: p.objects(staging, "errors/"),
	}, checker.RowOptions{Streams: map[string]checker.Warehouse{table: {Table: table, Form: checker.Document}}})
	p.must(err)
	return report
}

func (p *project) rows(db *sql.DB, table string) iter.Seq2[checker.Row, error] {
	return func(yield func(checker.Row, error) bool) {
		found, err := db.QueryContext(p.t.Context(), "SELECT stream, producer, n, padding FROM "+table)
		if err != nil {
			yield(checker.Row{}, err)
			return
		}
		defer func() { _ = found.Close() }()
		for found.Next() {
			row := checker.Row{Table: table}
			err := found.Scan(&row.Stream, &row.Producer, &row.N, &row.Padding)
			if !yield(row, err) {
				return
			}
		}
		if err := found.Err(); err != nil {
			yield(checker.Row{}, err)
		}
	}
}

// noted is what the loaders have written into their ledger of a table.
func (p *project) noted(db *sql.DB, table string) (noted []checker.LedgerRow) {
	p.t.Helper()
	found, err := db.QueryContext(p.t.Context(), "SELECT stream_id, batch_id FROM public.hydrant_ledger WHERE stream_id = $1", p.streamID(table))
	p.must(err)
	defer func() { _ = found.Close() }()
	for found.Next() {
		var row checker.LedgerRow
		p.must(found.Scan(&row.StreamID, &row.Batch))
		noted = append(noted, row)
	}
	p.must(found.Err())
	return noted
}
