package redshift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"

	"hydrant/services/redshift/internal/fakeredshift"
	"hydrant/shared/batch"
	"hydrant/shared/broker"
	"hydrant/shared/catalog"
	"hydrant/shared/logtest"
	"hydrant/shared/names"
	"hydrant/shared/natstest"
	"hydrant/shared/objectstore"
	"hydrant/shared/s3test"
	"hydrant/shared/staging"
)

const patience = time.Minute

// postgres is the server that all tests use, each with a database of its own. It is started by the first that needs it.
var postgres = sync.OnceValues(func() (*fakeredshift.Postgres, error) {
	p, err := fakeredshift.StartPostgres()
	started = p
	return p, err
})

// started is nil where no test needed it, as in the processes of a fuzz test.
var started *fakeredshift.Postgres

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, append(natstest.ServersOwn(), goleak.Cleanup(func(code int) {
		if started != nil {
			if err := started.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
		}
		os.Exit(code)
	}), goleak.IgnoreAnyFunction("hydrant/shared/proc.(*run).live"))...)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantEqual[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %.500s, want %.500s", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

func testLog(t testing.TB) *slog.Logger { return logtest.New(t) }

// await waits for something that happens elsewhere.
func await(t testing.TB, what string, happened func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); !happened(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

// warehouse is an S3 server, and a database that loads as Redshift does.
type warehouse struct {
	t        testing.TB
	s3       *s3test.Server
	postgres *fakeredshift.Postgres
	front    *fakeredshift.Server
	database string
	store    *objectstore.Store
	cfg      Config
}

func newWarehouse(t testing.TB) *warehouse {
	t.Helper()
	p, err := postgres()
	if errors.Is(err, fakeredshift.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	check(t, err)
	w := &warehouse{t: t, s3: s3test.Start(t), postgres: p, database: "d" + strings.ReplaceAll(string(names.NewStreamID()), "-", "")}
	w.cfg = Config{
		NATS: broker.Config{NATSURL: "nats://127.0.0.1:4222", Replicas: 1, Retention: 24 * time.Hour},
		Settings: objectstore.Settings{
			S3Endpoint: w.s3.URL(), S3Region: "us-east-1", S3PathStyle: true, S3AccessKeyID: s3test.AccessKey, S3SecretAccessKey: s3test.SecretKey,
			S3Timeout: 10 * time.Second, S3Checksums: "supported", S3SignPayload: "always", S3ACL: "auto", PartSize: 5 << 20, PartMemory: 40 << 20,
		},
		LedgerSchema: "public", LedgerTable: "hydrant_ledger",
		ConnectTimeout: 30 * time.Second, CopyTimeout: 20 * time.Second, IdleTime: time.Minute, CopyObjects: 100, CopyBytes: 1 << 30,
		Workers: 4, AckWait: 5 * time.Second, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
	}
	w.front = fakeredshift.Start(t, p, w.inserts)
	w.as("postgres", func(db *database) { exec(t, db, "CREATE DATABASE "+w.database) })
	w.exec("CREATE TABLE events (object TEXT)")
	w.store, err = openStore(t.Context(), w.cfg, objectstore.NewBuffers(w.cfg.Settings), testLog(t))
	check(t, err)
	t.Cleanup(w.store.Close)
	return w
}

// inserts is what is done instead of a COPY: each object of its manifest becomes a row.
func (w *warehouse) inserts(copy string) string {
	found := regexp.MustCompile(`^COPY (\S+) .*FROM 's3://([^/]+)/([^']+)'`).FindStringSubmatch(copy)
	if found == nil {
		return raise("42601", "no COPY: "+copy)
	}
	got, err := w.s3.Client.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &found[2], Key: &found[3]})
	if err != nil {
		return raise("XX000", "S3ServiceException: "+err.Error())
	}
	defer func() { _ = got.Body.Close() }()
	var m manifest
	if err := json.NewDecoder(got.Body).Decode(&m); err != nil {
		return raise("XX000", "manifest: "+err.Error())
	}
	var rows []string
	for _, e := range m.Entries {
		if strings.Contains(e.URL, "bad") {
			return raise("XX000", "Load into table 'events' failed.  Check 'stl_load_errors' system table for details.")
		}
		rows = append(rows, "('"+e.URL+"')")
	}
	return "INSERT INTO " + found[1] + " VALUES " + strings.Join(rows, ", ")
}

// raise is a statement that fails.
func raise(state, text string) string {
	return "DO $raise$ BEGIN RAISE EXCEPTION USING ERRCODE = '" + state + "', MESSAGE = $text$" + text + "$text$; END $raise$"
}

func (w *warehouse) destination() *catalog.Destination {
	return &catalog.Destination{ID: "destinationId-000000000001", Redshift: &catalog.RedshiftDestination{
		Password: catalog.NewPassword(fakeredshift.Password),
		Description: types.RedshiftDestinationDescription{
			ClusterJDBCURL: aws.String("jdbc:redshift://" + w.front.Address + "/" + w.database + "?ssl=false"), Username: aws.String(fakeredshift.User),
			CopyCommand:              &types.CopyCommand{DataTableName: aws.String("events"), CopyOptions: aws.String("JSON 'auto'")},
			RetryOptions:             &types.RedshiftRetryOptions{DurationInSeconds: aws.Int32(3600)},
			RoleARN:                  aws.String("arn:aws:iam::000000000000:role/hydrant"),
			S3BackupMode:             types.RedshiftS3BackupModeDisabled,
			CloudWatchLoggingOptions: &types.CloudWatchLoggingOptions{Enabled: aws.Bool(true)},
			S3DestinationDescription: &types.S3DestinationDescription{
				BucketARN: aws.String("arn:aws:s3:::data"), RoleARN: aws.String("arn:aws:iam::000000000000:role/hydrant"),
				BufferingHints:          &types.BufferingHints{SizeInMBs: aws.Int32(5), IntervalInSeconds: aws.Int32(300)},
				CompressionFormat:       types.CompressionFormatUncompressed,
				EncryptionConfiguration: &types.EncryptionConfiguration{NoEncryptionConfig: types.NoEncryptionConfigNoEncryption},
			},
		},
	}}
}

// stream is a delivery stream to the table "events", and to the bucket "data" on the way.
func (w *warehouse) stream(change ...func(*types.RedshiftDestinationDescription)) *catalog.DeliveryStream {
	to := w.destination()
	for _, c := range change {
		c(&to.Redshift.Description)
	}
	return &catalog.DeliveryStream{
		Name: "clicks", ID: names.NewStreamID(), ARN: "arn:aws:firehose:us-east-1:000000000000:deliverystream/clicks",
		Status: types.DeliveryStreamStatusActive, Created: time.Now().UTC(), Shards: 1, RetentionSeconds: 86400, Version: 1, Destination: *to,
	}
}

// as does something past the proxy, in a database of its server.
func (w *warehouse) as(database string, do func(*database)) {
	w.t.Helper()
	to := target{user: fakeredshift.User, password: fakeredshift.Password}
	to.url.Database, to.url.SSLMode = database, "disable"
	_, err := fmt.Sscanf(strings.ReplaceAll(w.postgres.Address, ":", " "), "%s %d", &to.url.Host, &to.url.Port)
	check(w.t, err)
	db := openDatabase(to, w.cfg)
	defer func() { check(w.t, db.Close()) }()
	do(db)
}

func exec(t testing.TB, db *database, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	check(t, err)
}

func (w *warehouse) exec(statement string) {
	w.t.Helper()
	w.as(w.database, func(db *database) { exec(w.t, db, statement) })
}

// column is the values of the first column of a query's rows, in order.
func (w *warehouse) column(query string) (values []string) {
	w.t.Helper()
	w.as(w.database, func(db *database) {
		rows, err := db.QueryContext(w.t.Context(), query)
		check(w.t, err)
		defer func() { check(w.t, rows.Close()) }()
		for rows.Next() {
			var v string
			check(w.t, rows.Scan(&v))
			values = append(values, v)
		}
		check(w.t, rows.Err())
	})
	slices.Sort(values)
	return values
}

// hold has a session do something, and keeps it until the returned function is called.
func (w *warehouse) hold(statement string) (letGo func()) {
	w.t.Helper()
	begun, end := make(chan struct{}), make(chan struct{})
	var holding sync.WaitGroup
	holding.Go(func() {
		w.as(w.database, func(db *database) {
			if _, err := db.ExecContext(context.Background(), statement); err != nil {
				w.t.Error(err)
			}
			close(begun)
			<-end
		})
	})
	<-begun
	return sync.OnceFunc(func() { close(end); holding.Wait() })
}

// rows is what is in the table, by the last part of the objects' names.
func (w *warehouse) rows() string {
	w.t.Helper()
	return strings.Join(w.column("SELECT substring(object from '[^/]*$') FROM events"), " ")
}

// noted is what is in the ledger.
func (w *warehouse) noted() string {
	w.t.Helper()
	return strings.Join(w.column("SELECT batch_id FROM hydrant_ledger"), " ")
}

func (w *warehouse) loader() *loader {
	l, err := newLedger(w.cfg.LedgerSchema, w.cfg.LedgerTable)
	check(w.t, err)
	made := &loader{cfg: w.cfg, ledger: l, manifests: manifests{store: w.store, installation: "test"}, log: testLog(w.t), now: time.Now}
	w.t.Cleanup(made.close)
	return made
}

// objects are staged objects by their names, which are their batches' too.
func (w *warehouse) objects(text string) (objects []*object) {
	for name := range strings.FieldsSeq(text) {
		o := &object{Object: &staging.Object{}}
		o.Batch, o.Location, o.Oldest = batch.ID(name), "s3://data/staged/"+name, time.Date(2026, 11, 27, 4, 5, 6, 0, time.UTC)
		o.Records, o.Bytes = 10, 1000
		objects = append(objects, o)
	}
	return objects
}

func always() error { return nil }
