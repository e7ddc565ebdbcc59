package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	_ "github.com/lib/pq"
	"github.com/nats-io/nats.go/jetstream"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/delivery"
	"hydrant/shared/pgtest"
)

const stagingBucket = "staging"

// warehouse is the stand-in for Redshift in front of a PostgreSQL, and a client of it.
type warehouse struct {
	t    *testing.T
	s3   string
	addr string
	node *pgtest.Node
	db   *sql.DB
}

func startWarehouse(t *testing.T, d *deploy.Deployment) *warehouse {
	t.Helper()
	w := &warehouse{t: t, node: pgtest.Start(t), s3: d.S3}
	w.addr = w.standIn(func(*redshiftstandin.Config) {})
	w.db = w.connect(w.addr, "postgres")
	return w
}

// standIn runs a stand-in in front of the PostgreSQL until the test ends.
func (w *warehouse) standIn(change func(*redshiftstandin.Config)) (addr string) {
	w.t.Helper()
	config := redshiftstandin.Config{
		Listen: "127.0.0.1:0", Upstream: w.node.Addr, Admin: redshiftstandin.Admin{User: pgtest.User, Password: pgtest.Password},
		S3: redshiftstandin.S3{Endpoint: w.s3, Region: "us-east-1"},
	}
	change(&config)
	server, err := redshiftstandin.New(config, slog.New(slog.NewTextHandler(w.t.Output(), nil)))
	must(w.t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	w.t.Cleanup(sync.OnceFunc(func() { cancel(); <-ended }))
	return server.Addr()
}

// connect is a client of a database until the test ends, by way of a stand-in or past it.
func (w *warehouse) connect(addr, database string) *sql.DB {
	w.t.Helper()
	db, err := sql.Open("postgres", pgtest.URL(addr, pgtest.User, pgtest.Password, database))
	must(w.t, err)
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (w *warehouse) exec(statement string) {
	w.t.Helper()
	_, err := w.db.ExecContext(w.t.Context(), statement)
	must(w.t, err)
}

func (w *warehouse) count(table string) (rows, distinct int) {
	w.t.Helper()
	row := w.db.QueryRowContext(w.t.Context(), "SELECT count(*), count(DISTINCT n) FROM "+table)
	if err := row.Scan(&rows, &distinct); err != nil {
		return 0, 0
	}
	return rows, distinct
}

// want waits until a table has as many rows, and checks that each of them is there once.
func (w *warehouse) want(table string, n int) {
	w.t.Helper()
	deploy.Eventually(w.t, fmt.Sprintf("%d rows are in %s", n, table), func() bool { rows, _ := w.count(table); return rows >= n })
	if rows, distinct := w.count(table); rows != n || distinct != n {
		w.t.Errorf("%s has %d rows, of which %d are different, want %d", table, rows, distinct, n)
	}
}

// to is the destination of a delivery stream that loads JSON into a table.
func (w *warehouse) to(table, options string, retrySeconds int32) *types.RedshiftDestinationConfiguration {
	compression := types.CompressionFormatUncompressed
	if strings.Contains(options, "GZIP") {
		compression = types.CompressionFormatGzip
	}
	return &types.RedshiftDestinationConfiguration{
		ClusterJDBCURL: aws.String("jdbc:postgresql://" + w.addr + "/postgres?sslmode=disable"),
		Username:       aws.String(pgtest.User), Password: aws.String(pgtest.Password), RoleARN: aws.String(role),
		CopyCommand:              &types.CopyCommand{DataTableName: &table, CopyOptions: &options},
		RetryOptions:             &types.RedshiftRetryOptions{DurationInSeconds: &retrySeconds},
		CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
		S3Configuration: &types.S3DestinationConfiguration{
			RoleARN: aws.String(role), BucketARN: aws.String("arn:aws:s3:::" + stagingBucket), Prefix: aws.String(table + "/"),
			BufferingHints: &types.BufferingHints{SizeInMBs: aws.Int32(1), IntervalInSeconds: aws.Int32(1)}, CompressionFormat: compression,
		},
	}
}

func createRedshift(t *testing.T, d *deploy.Deployment, name string, to *types.RedshiftDestinationConfiguration) {
	t.Helper()
	makeBucket(t, d, stagingBucket)
	createStream(t, d, &firehose.CreateDeliveryStreamInput{DeliveryStreamName: &name, RedshiftDestinationConfiguration: to})
}

// rowsFrom are n rows as JSON, one a line, as COPY wants them.
func rowsFrom(from, n int) []string {
	rows := numbered(from, n, 50)
	for i := range rows {
		rows[i] += "\n"
	}
	return rows
}

func TestRedshift(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	settings := impatient()
	settings["HYDRANT_REDSHIFT_CA"] = trusted.file
	settings["HYDRANT_ACK_WAIT"] = "5s" // after which what a killed loader had is another's
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: settings})
	w := startWarehouse(t, d)
	t.Run("rows", func(t *testing.T) { w := w.in(t); loadsRows(w, d) })
	t.Run("missing table", func(t *testing.T) { w := w.in(t); missingTable(w, d) })
	t.Run("bad rows", func(t *testing.T) { w := w.in(t); badRows(w, d) })
	t.Run("errors", func(t *testing.T) { w := w.in(t); errorsOfTheGuide(w, d) })
	t.Run("encrypted", func(t *testing.T) { w := w.in(t); encrypted(w, d, trusted) })
	t.Run("killed", func(t *testing.T) { w := w.in(t); killedInTheMiddle(w, d) })
}

func (w *warehouse) in(t *testing.T) *warehouse {
	in := *w
	in.t = t
	return &in
}

func loadsRows(w *warehouse, d *deploy.Deployment) {
	for table, options := range map[string]string{"plain": "JSON 'auto'", "packed": "JSON 'auto' GZIP"} {
		w.exec("CREATE TABLE " + table + " (n INT PRIMARY KEY, text VARCHAR(100))")
		createRedshift(w.t, d, table, w.to(table, options, 3600))
		putAll(w.t, d, table, rowsFrom(0, 1500))
		w.want(table, 1500)
		putAll(w.t, d, table, rowsFrom(1500, 500))
		w.want(table, 2000)
	}
}

// missingTable loads what waited, of several objects, as soon as the table is there, and then what comes. Nothing is set aside.
func missingTable(w *warehouse, d *deploy.Deployment) {
	createRedshift(w.t, d, "later", w.to("later", "JSON 'auto'", 3600))
	putAll(w.t, d, "later", rowsFrom(0, 1000))
	awaitLoadLogged(w.t, d, "later", "Redshift.TableNotFound")
	putAll(w.t, d, "later", rowsFrom(1000, 500))
	deploy.Eventually(w.t, "two objects are staged", func() bool { return len(d.Objects(stagingBucket, "later/")) >= 2 })
	w.exec("CREATE TABLE later (n INT, text VARCHAR(100))")
	w.want("later", 1500)
	putAll(w.t, d, "later", rowsFrom(1500, 500))
	w.want("later", 2000)
	for _, o := range d.Objects(stagingBucket, "errors/manifests/") {
		if strings.Contains(o.Key, "/later-") {
			w.t.Errorf("%s is set aside", o.Body)
		}
	}
}

// badRows costs the object that a bad row is in, and no other.
func badRows(w *warehouse, d *deploy.Deployment) {
	w.exec("CREATE TABLE strict (n INT, text VARCHAR(100))")
	createRedshift(w.t, d, "strict", w.to("strict", "JSON 'auto'", 2))
	putAll(w.t, d, "strict", rowsFrom(0, 500))
	w.want("strict", 500)
	putAll(w.t, d, "strict", []string{"{\"n\":\"no number\",\"text\":\"bad\"}\n"})
	awaitLoadLogged(w.t, d, "strict", "Redshift.DataLoadFailed")
	putAll(w.t, d, "strict", rowsFrom(500, 500))
	w.want("strict", 1000)
	var manifest struct {
		Entries []struct {
			URL       string `json:"url"`
			Mandatory bool   `json:"mandatory"`
		} `json:"entries"`
	}
	deploy.Eventually(w.t, "an error manifest is there", func() bool {
		for _, o := range d.Objects(stagingBucket, "") {
			if strings.Contains(o.Key, "errors/manifests/") {
				must(w.t, json.Unmarshal(o.Body, &manifest))
				return true
			}
		}
		return false
	})
	if len(manifest.Entries) != 1 || !strings.HasPrefix(manifest.Entries[0].URL, "s3://"+stagingBucket+"/strict/") {
		w.t.Errorf("the error manifest has %+v", manifest)
	}
}

// killedInTheMiddle kills the loader and the database while rows come.
func killedInTheMiddle(w *warehouse, d *deploy.Deployment) {
	w.exec("CREATE TABLE killed (n INT, text VARCHAR(100))")
	createRedshift(w.t, d, "killed", w.to("killed", "JSON 'auto'", 3600))
	for i := range 5 {
		putAll(w.t, d, "killed", rowsFrom(i*1000, 1000))
		start := d.Stop("redshift")
		putAll(w.t, d, "killed", rowsFrom(5000+i*1000, 1000))
		start()
		if i == 2 {
			w.node.Kill()
			w.node.Restart()
		}
	}
	w.want("killed", 10_000)
}

// awaitLoadLogged waits for an entry of a code in the error log of the loads.
func awaitLoadLogged(t *testing.T, d *deploy.Deployment, name, code string) (entry delivery.LogEntry) {
	t.Helper()
	log, err := d.JetStream().Stream(t.Context(), "ERRORS")
	must(t, err)
	next := uint64(1)
	deploy.Eventually(t, code+" of "+name+" is in the error log", func() bool {
		m, err := log.GetMsg(t.Context(), next, jetstream.WithGetMsgSubject("errors."+name+".RedshiftDelivery"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return false
		}
		must(t, err)
		next = m.Sequence + 1
		entry, err = delivery.DecodeLogEntry(m.Data)
		must(t, err)
		wantNoSecrets(t, string(m.Data))
		if entry.ErrorCode != code {
			t.Logf("%s has %s: %s", name, entry.ErrorCode, entry.Detail)
		}
		return entry.ErrorCode == code
	})
	return entry
}
