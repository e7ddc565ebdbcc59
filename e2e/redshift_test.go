package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	_ "github.com/lib/pq"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/delivery"
	pgserver "hydrant/shared/pgtest"
)

const stagingBucket = "staging"

// warehouse is the stand-in for Redshift in front of a PostgreSQL, and a client of it.
type warehouse struct {
	t    *testing.T
	addr string
	node *pgserver.Node
	db   *sql.DB
}

func startWarehouse(t *testing.T, d *deploy.Deployment) *warehouse {
	t.Helper()
	w := &warehouse{t: t, node: pgserver.Start(t)}
	server, err := redshiftstandin.New(redshiftstandin.Config{
		Listen: "127.0.0.1:0", Upstream: w.node.Addr, Admin: redshiftstandin.Admin{User: pgserver.User, Password: pgserver.Password},
		S3: redshiftstandin.S3{Endpoint: d.S3, Region: "us-east-1"},
	}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(sync.OnceFunc(func() { cancel(); <-ended }))
	w.addr = server.Addr()
	w.db, err = sql.Open("postgres", pgserver.URL(w.addr, pgserver.User, pgserver.Password, "postgres"))
	must(t, err)
	t.Cleanup(func() { _ = w.db.Close() })
	return w
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
		Username:       aws.String(pgserver.User), Password: aws.String(pgserver.Password), RoleARN: aws.String(role),
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
	d := deploy.Start(t, deploy.Processes, programs, deploy.Options{Settings: impatient()})
	w := startWarehouse(t, d)
	t.Run("rows", func(t *testing.T) { w := w.in(t); loadsRows(w, d) })
	t.Run("missing table", func(t *testing.T) { w := w.in(t); missingTable(w, d) })
	t.Run("bad rows", func(t *testing.T) { w := w.in(t); badRows(w, d) })
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

// missingTable loads what waited as soon as the table is there.
func missingTable(w *warehouse, d *deploy.Deployment) {
	createRedshift(w.t, d, "later", w.to("later", "JSON 'auto'", 3600))
	putAll(w.t, d, "later", rowsFrom(0, 1000))
	awaitLoadLogged(w.t, d, "later", "Redshift.TableNotFound")
	w.exec("CREATE TABLE later (n INT, text VARCHAR(100))")
	w.want("later", 1000)
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
func awaitLoadLogged(t *testing.T, d *deploy.Deployment, name, code string) {
	t.Helper()
	for n := 1; ; n++ {
		log := messages(t, d, "ERRORS", "errors."+name+".RedshiftDelivery", n)
		entry, err := delivery.DecodeLogEntry(log[n-1])
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprintf("%+v", entry), pgserver.Password) && pgserver.Password != "" {
			t.Errorf("the error log has the password: %+v", entry)
		}
		if entry.ErrorCode == code {
			return
		}
	}
}
