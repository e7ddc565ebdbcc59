package redshiftstandin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/lib/pq"
	"go.uber.org/goleak"

	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/pgtest"
	"hydrant/shared/s3test"
)

// serverVariable makes the test binary a stand-in with the configuration in it, as JSON.
const serverVariable = "HYDRANT_TEST_STANDIN_CONFIG"

// sqlVariable makes the test binary a client that runs the SQL in it, at the address of its argument.
const sqlVariable = "HYDRANT_TEST_STANDIN_SQL"

func TestMain(m *testing.M) {
	if config := os.Getenv(serverVariable); config != "" {
		if err := serveAs(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		return
	}
	if statements := os.Getenv(sqlVariable); statements != "" {
		if err := play(os.Args[1], statements); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		return
	}
	goleak.VerifyTestMain(withServer{m})
}

// shared is the PostgreSQL of all tests that do it no harm; each has a database of its own in it.
var (
	shared    *pgtest.Server
	errShared error
	databases atomic.Int64
)

// withServer runs the tests with the shared PostgreSQL.
type withServer struct{ *testing.M }

func (m withServer) Run() int {
	var remove func() error
	if shared, remove, errShared = pgtest.Run(context.Background()); errShared != nil {
		return m.M.Run()
	}
	defer func() {
		shared.Kill()
		_ = remove()
	}()
	return m.M.Run()
}

// serveAs is a stand-in in a process of its own.
func serveAs(text string) error {
	var config redshiftstandin.Config
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	server, err := redshiftstandin.New(config, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	return server.Run(context.Background())
}

// play is a client in a process of its own: it runs one statement a line, and stays when it has.
func play(url, statements string) error {
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	for _, statement := range strings.Split(statements, "\n") {
		if _, err := conn.ExecContext(context.Background(), statement); err != nil {
			return err
		}
	}
	select {}
}

// rig is a stand-in before a PostgreSQL and an S3 server, and a client of it.
type rig struct {
	t       *testing.T
	server  *pgtest.Server
	name    string // of the database
	s3      *s3test.Server
	addr    string
	db      *sql.DB
	stop    func() error // ends the stand-in
	mu      sync.Mutex
	notices []string
}

// start runs a stand-in before a new database of the shared PostgreSQL until the test ends.
func start(t *testing.T, change ...func(*redshiftstandin.Config)) *rig {
	t.Helper()
	if errShared != nil {
		pgtest.Missing(t, errShared)
	}
	r := &rig{t: t, server: shared, name: fmt.Sprintf("test%d", databases.Add(1)), s3: s3test.Start(t)}
	direct, err := sql.Open("postgres", shared.URL("postgres"))
	r.must(err)
	defer func() { _ = direct.Close() }()
	_, err = direct.ExecContext(t.Context(), "CREATE DATABASE "+r.name)
	r.must(err)
	r.serve(change...)
	return r
}

// startAlone is start with a PostgreSQL of the test's own, to be killed and stopped.
func startAlone(t *testing.T) (*rig, *pgtest.Node) {
	t.Helper()
	node := pgtest.Start(t)
	r := &rig{t: t, server: node.Server, name: "postgres", s3: s3test.Start(t)}
	r.serve()
	return r, node
}

// serve runs a stand-in until the test ends, or stop is called, and connects to it.
func (r *rig) serve(change ...func(*redshiftstandin.Config)) {
	r.t.Helper()
	config := r.config()
	for _, c := range change {
		c(&config)
	}
	server, err := redshiftstandin.New(config, slog.New(slog.NewTextHandler(r.t.Output(), nil)))
	r.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	r.t.Cleanup(func() { r.must(stop()) })
	r.stop = stop
	r.addr = server.Addr()
	r.db = r.connect(pgtest.User, pgtest.Password, r.name)
}

func (r *rig) config() redshiftstandin.Config {
	return redshiftstandin.Config{
		Listen: "127.0.0.1:0", Upstream: r.server.Addr, Admin: redshiftstandin.Admin{User: pgtest.User, Password: pgtest.Password},
		S3: redshiftstandin.S3{Endpoint: r.s3.URL(), Region: s3test.Region, AccessKeyID: s3test.AccessKey, SecretAccessKey: s3test.SecretKey},
	}
}

// connect makes a client of a user.
func (r *rig) connect(user, password, database string) *sql.DB {
	r.t.Helper()
	connector, err := pq.NewConnector(pgtest.URL(r.addr, user, password, database))
	r.must(err)
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(notice *pq.Error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notices = append(r.notices, notice.Severity+": "+notice.Message)
	}))
	r.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// heard returns the notices since the last call.
func (r *rig) heard() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	heard := strings.Join(r.notices, "; ")
	r.notices = nil
	return heard
}

func (r *rig) exec(statements string) {
	r.t.Helper()
	if _, err := r.db.ExecContext(r.t.Context(), statements); err != nil {
		r.t.Fatalf("%s: %v", statements, err)
	}
}

// query returns the rows of a query as text, with | between columns and ; between rows.
func (r *rig) query(q string) string {
	r.t.Helper()
	text, err := ask(r.t.Context(), r.db, q)
	if err != nil {
		r.t.Fatalf("%s: %v", q, err)
	}
	return text
}

// asker is a *sql.DB or a *sql.Conn.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func ask(ctx context.Context, db asker, q string, args ...any) (string, error) {
	found, err := db.QueryContext(ctx, q, args...)
	if err != nil {
		return "", err
	}
	defer func() { _ = found.Close() }()
	columns, err := found.Columns()
	if err != nil {
		return "", err
	}
	var rows []string
	for found.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return "", err
		}
		var texts []string
		for _, v := range values {
			if !v.Valid {
				v.String = "NULL"
			}
			texts = append(texts, v.String)
		}
		rows = append(rows, strings.Join(texts, "|"))
	}
	return strings.Join(rows, ";"), found.Err()
}

func (r *rig) want(query, want string) {
	r.t.Helper()
	if got := r.query(query); got != want {
		r.t.Errorf("%s\ngot  %q\nwant %q", query, got, want)
	}
}

// put writes an object.
func (r *rig) put(key, content string) {
	r.t.Helper()
	bucket := "data"
	_, err := r.s3.Client.PutObject(r.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)})
	r.must(err)
}

func zipped(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return b.String()
}

// manifest writes one of objects that have to be there.
func (r *rig) manifest(key string, urls ...string) {
	r.t.Helper()
	var entries []string
	for _, u := range urls {
		entries = append(entries, fmt.Sprintf(`{"url": %q, "mandatory": true}`, u))
	}
	r.put(key, `{"entries": [`+strings.Join(entries, ",")+`]}`)
}

// keys are the credentials of the S3 server, for a COPY.
const keys = " CREDENTIALS 'aws_access_key_id=" + s3test.AccessKey + ";aws_secret_access_key=" + s3test.SecretKey + "' "

// copied is a COPY of an object with options.
func copied(table, key, options string) string {
	return "COPY " + table + " FROM 's3://data/" + key + "'" + keys + options
}

// fails runs a statement and returns its error.
func (r *rig) fails(statements string) *pq.Error {
	r.t.Helper()
	_, err := r.db.ExecContext(r.t.Context(), statements)
	var failure *pq.Error
	if !errors.As(err, &failure) {
		r.t.Fatalf("%s: %v", statements, err)
	}
	return failure
}

func (r *rig) wantError(statements, code, message string) {
	r.t.Helper()
	failure := r.fails(statements)
	if string(failure.Code) != code || !strings.Contains(failure.Message, message) {
		r.t.Errorf("%s\ngot  %s %q\nwant %s %q", statements, failure.Code, failure.Message, code, message)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
