package faults

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	_ "github.com/lib/pq"

	"hydrant/e2e/internal/checker"
	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/faultproxy"
	"hydrant/shared/names"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
)

const (
	// Where staged objects are, and the error manifests of delivery streams without and with an ErrorOutputPrefix.
	stagedPrefix, manifestPrefix, skippedPrefix = "staged/", "errors/manifests/", "skipped/"
	// copyPrefix is where a loader names to COPY what it is to load. No batch is in there.
	copyPrefix = "manifests/"
	// loaderWait is the ack wait of loaders. Only one has the turn, and when it is killed the other gets it no sooner.
	loaderWait = 2 * time.Second
	// badRows is how many of the records no table takes: each costs its object.
	badRows = 0.002
)

// The stand-ins: one gives a COPY up when its client is gone, and one does not notice.
const (
	attentive = iota
	inattentive
	standIns
)

// The rates at which connections to the database fail when nothing else is going on, and in a storm.
func wireOrdinary() faultproxy.WireSettings {
	return faultproxy.WireSettings{ResetBefore: 0.02, CutInside: 0.02, ResetAfter: 0.03, HeldAnswer: 0.005, Truncated: 0.01, MaxHold: 4 * time.Second}
}

func wireStorm() faultproxy.WireSettings {
	return faultproxy.WireSettings{ResetBefore: 0.1, CutInside: 0.15, ResetAfter: 0.25, HeldAnswer: 0.03, Truncated: 0.1, MaxHold: 4 * time.Second}
}

// warehouse is a database behind stand-ins for Redshift.
type warehouse struct {
	node     *pgtest.Node
	db       *sql.DB            // past the stand-ins
	wires    []*faultproxy.Wire // before each stand-in
	fetching []*faultproxy.S3   // S3 as each stand-in sees it
	hiding   sync.Mutex         // held while tables have another name
}

// database is a database as a part.
type database struct {
	*proc.Process
	*pgtest.Node

	t *testing.T
}

var _ process = database{}

func (d database) Kill()          { d.Node.Kill() }
func (d database) Pause() error   { return d.Node.Pause() }
func (d database) Resume() error  { return d.Node.Resume() }
func (d database) Restart() error { return d.Server.Restart(d.t.Context()) }

// newRedshiftRig is a rig with a database behind two stand-ins for Redshift, and so many loaders. Where PostgreSQL is not
// installed the test is skipped. Settings are environment variables that come last, and so win.
func newRedshiftRig(t *testing.T, loaders int, settings ...string) *rig {
	node := pgtest.Start(t)
	r := newRig(t, *seed, programs, settings...)
	r.addWarehouse(node, loaders, settings)
	r.awaitReady()
	return r
}

func (r *rig) addWarehouse(node *pgtest.Node, loaders int, settings []string) {
	r.t.Helper()
	r.warehouse = &warehouse{node: node}
	r.add("database", "database", &part{process: database{node.Process(), node, r.t}})
	var err error
	r.warehouse.db, err = sql.Open("postgres", node.URL("postgres"))
	r.must(err)
	r.t.Cleanup(func() { _ = r.warehouse.db.Close() })
	for n := range standIns {
		r.startStandIn(n)
	}
	for n := range loaders {
		r.startLoader(fmt.Sprintf("redshift-%d", n+1), programs, n, settings)
	}
}

func (r *rig) startLoader(name string, programs deploy.Programs, n int, settings []string) {
	r.startSink("redshift", name, programs, *seed+uint64(20+n), slices.Concat([]string{
		"HYDRANT_ACK_WAIT=" + loaderWait.String(), "HYDRANT_COPY_TIMEOUT=6s", "HYDRANT_CONNECT_TIMEOUT=3s",
	}, settings))
}

func (r *rig) startStandIn(n int) {
	fetching, err := faultproxy.NewS3(*seed+uint64(30+n), r.s3addr)
	r.must(err)
	r.t.Cleanup(fetching.Close)
	addr := r.addr()
	r.start("standin", fmt.Sprintf("standin-%d", n+1), programs.Path("redshift-standin"), "", []string{
		"HYDRANT_LISTEN=" + addr, "HYDRANT_UPSTREAM=" + r.warehouse.node.Addr, "HYDRANT_ADMIN_PASSWORD=" + pgtest.Password,
		"HYDRANT_S3_ENDPOINT=" + fetching.URL(), fmt.Sprint("HYDRANT_FINISH_WITHOUT_CLIENT=", n == inattentive),
	})
	wire, err := faultproxy.NewWire(*seed+uint64(40+n), addr)
	r.must(err)
	r.t.Cleanup(wire.Close)
	r.warehouse.fetching = append(r.warehouse.fetching, fetching)
	r.warehouse.wires = append(r.warehouse.wires, wire)
}

// setFetching has S3 fail for the stand-ins as for everybody, but for silence: a COPY has no timeout for it.
func (r *rig) setFetching(t *testing.T, settings faultproxy.S3Settings) {
	if r.warehouse == nil {
		return
	}
	settings.HeldAnswer, settings.BlackHole = 0, 0
	for _, proxy := range r.warehouse.fetching {
		if err := proxy.Set(settings); err != nil {
			t.Error(err)
		}
	}
}

func (r *rig) setWires(t *testing.T, settings faultproxy.WireSettings) {
	for _, wire := range r.warehouse.wires {
		if err := wire.Set(settings); err != nil {
			t.Error(err)
		}
	}
}

// calm ends all faults on the way to the database.
func (w *warehouse) calm() {
	for n := range w.wires {
		w.wires[n].SetAll(false)
		w.fetching[n].SetAll(false)
	}
}

// loading is a delivery stream of the rig to the database.
type loading struct {
	checker.Warehouse
	standIn  int
	columns  string
	options  string
	packed   bool
	skipped  string // ErrorOutputPrefix
	bad      float64
	interval int32
	retries  int32 // seconds
}

// createRedshift makes a table, and a delivery stream into it.
func (r *rig) createRedshift(name string, l loading) checker.Warehouse {
	r.t.Helper()
	l.Table = "faults_" + name
	_, err := r.warehouse.db.ExecContext(r.t.Context(), "CREATE TABLE "+l.Table+" ("+checker.Columns()+")")
	r.must(err)
	compression := types.CompressionFormatUncompressed
	if l.packed {
		compression = types.CompressionFormatGzip
	}
	to := &types.RedshiftDestinationConfiguration{
		ClusterJDBCURL: aws.String("jdbc:redshift://" + r.warehouse.wires[l.standIn].Addr() + "/postgres?sslmode=disable"),
		Username:       aws.String(pgtest.User), Password: aws.String(pgtest.Password), RoleARN: aws.String(role),
		CopyCommand:  &types.CopyCommand{DataTableName: &l.Table, CopyOptions: &l.options},
		RetryOptions: &types.RedshiftRetryOptions{DurationInSeconds: &l.retries},
		S3Configuration: &types.S3DestinationConfiguration{
			RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + bucket), Prefix: aws.String(stagedPrefix), CompressionFormat: compression,
			BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: &l.interval},
		},
	}
	if l.columns != "" {
		to.CopyCommand.DataTableColumns = &l.columns
	}
	if l.skipped != "" {
		to.S3Configuration.ErrorOutputPrefix = &l.skipped
	}
	r.shapes[name] = shape{documents: l.Form == checker.Document, bad: l.bad, largest: 60_000} // a column holds no more than 65,535 bytes
	r.create(&firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, RedshiftDestinationConfiguration: to}, []names.Leg{names.LegS3, names.LegRedshift})
	return l.Warehouse
}

// checkRows counts every record that goes to the database, in the tables and in S3. Some must be such as no table takes.
func (r *rig) checkRows(t *testing.T, streams map[string]checker.Warehouse) *checker.Report {
	t.Helper()
	staged := r.judge(names.LegS3, r.objects(t, stagedPrefix), checker.Options{})
	t.Logf("staged\n%s", staged)
	if err := staged.Err(); err != nil {
		t.Errorf("staged: %v", err)
	}
	report := r.countRows(t, streams)
	if report.SetAside == 0 {
		t.Error("nothing was set aside, so that was not tested")
	}
	return report
}

func (r *rig) countRows(t *testing.T, streams map[string]checker.Warehouse) *checker.Report {
	t.Helper()
	loaded := checker.Loaded{Rows: r.rows(t.Context(), streams), Ledger: r.noted(t.Context()), Staged: r.objects(t, stagedPrefix)}
	loaded.Manifests = slices.Concat(r.objects(t, manifestPrefix), r.objects(t, skippedPrefix))
	report, err := checker.CheckRows(t.Context(), r.ledger, loaded, checker.RowOptions{Streams: streams})
	r.must(err)
	t.Logf("rows\n%s", report)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if report.Rows == 0 {
		t.Error("nothing was loaded, so nothing was tested")
	}
	return report
}

func (r *rig) objects(t *testing.T, prefix string) []checker.Object {
	t.Helper()
	objects, err := checker.Objects(t.Context(), r.direct, bucket, prefix)
	r.must(err)
	return objects
}

// rows are all that the tables have.
func (r *rig) rows(ctx context.Context, streams map[string]checker.Warehouse) iter.Seq2[checker.Row, error] {
	return func(yield func(checker.Row, error) bool) {
		for _, to := range streams {
			if !r.rowsOf(ctx, to.Table, yield) {
				return
			}
		}
	}
}

// rowsOf are those of one table. What is NULL is of no record.
func (r *rig) rowsOf(ctx context.Context, table string, yield func(checker.Row, error) bool) bool {
	found, err := r.warehouse.db.QueryContext(ctx, "SELECT coalesce(stream, ''), coalesce(producer, ''), coalesce(n, 0), coalesce(padding, '') FROM "+table)
	if err != nil {
		return yield(checker.Row{}, err)
	}
	defer func() { _ = found.Close() }()
	for found.Next() {
		row := checker.Row{Table: table}
		err := found.Scan(&row.Stream, &row.Producer, &row.N, &row.Padding)
		if !yield(row, err) {
			return false
		}
	}
	return found.Err() == nil || yield(checker.Row{}, found.Err())
}

// noted is what the loaders have written into their ledger.
func (r *rig) noted(ctx context.Context) (noted []checker.LedgerRow) {
	found, err := r.warehouse.db.QueryContext(ctx, "SELECT stream_id, batch_id FROM public.hydrant_ledger")
	r.must(err)
	defer func() { _ = found.Close() }()
	for found.Next() {
		var row checker.LedgerRow
		r.must(found.Scan(&row.StreamID, &row.Batch))
		noted = append(noted, row)
	}
	r.must(found.Err())
	return noted
}
