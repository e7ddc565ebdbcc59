package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/firehose/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"hydrant/e2e/internal/deploy"
	"hydrant/e2e/internal/redshiftstandin"
	"hydrant/shared/delivery"
	"hydrant/shared/pgtest"
	"hydrant/shared/proc"
	"hydrant/shared/s3test"
)

// refused is a delivery stream whose load fails, and what is told of it.
type refused struct {
	stream string // and its table, which is there unless change says otherwise
	change func(*types.RedshiftDestinationConfiguration)
	record string // one that loads, if empty
	code   string
	says   string // the server's own words, in part
}

// secretValue is in the records that do not load.
const secretValue = "value-of-a-record"

// errorsOfTheGuide has each error of the guide's list that PostgreSQL, or the stand-in before it, can produce: one delivery stream each,
// all at once, with one try, after which its object is named in an error manifest.
func errorsOfTheGuide(w *warehouse, d *deploy.Deployment) {
	w.prepareErrors(d)
	cases := slices.Concat(w.refusedStatements(), w.refusedClients(), refusedData())
	for _, c := range cases {
		c.begin(w, d)
	}
	for _, c := range cases {
		w.t.Run(c.stream, func(t *testing.T) { c.check(w.in(t), d) })
	}
	w.t.Run("removed", func(t *testing.T) { removedObjects(w.in(t), d) })
	w.t.Run("canceled", func(t *testing.T) { canceledByAnOperator(w.in(t), d) })
}

func (c refused) begin(w *warehouse, d *deploy.Deployment) {
	w.t.Helper()
	to := w.to(c.stream, "JSON 'auto'", 0)
	if c.change != nil {
		c.change(to)
	}
	createRedshift(w.t, d, c.stream, to)
	record := c.record
	if record == "" {
		record = rowsFrom(0, 1)[0]
	}
	putAll(w.t, d, c.stream, []string{record})
}

func (c refused) check(w *warehouse, d *deploy.Deployment) {
	w.t.Helper()
	entry := awaitLoadLogged(w.t, d, c.stream, c.code)
	if !strings.Contains(entry.Detail, c.says) || entry.Message == "" || !strings.HasPrefix(entry.SetAsideAt, "s3://"+stagingBucket+"/errors/manifests/") {
		w.t.Errorf("it is told as %+v, want the words %q", entry, c.says)
	}
	if c.record != "" {
		toldByTheTool(w.t, d, entry, c.stream)
	}
}

func wantNoSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{pgtest.Password, "localsecret", wrongPassword, secretValue} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
}

const wrongPassword = "wrong-pa55word"

// prepareErrors makes tables, and users who may not.
func (w *warehouse) prepareErrors(d *deploy.Deployment) {
	w.t.Helper()
	makeBucket(w.t, d, stagingBucket)
	for _, table := range []string{
		"columns", "options", "twice", "privilege", "nodisk", "role", "keys", "signature", "bucket", "password", "crowd", "nobody", "databases", "paths", "nopaths",
		"digits", "lengths", "syntax", "canceled", "leftout",
	} {
		w.exec("CREATE TABLE " + table + " (n INT NOT NULL, text VARCHAR(100) NOT NULL)")
	}
	w.exec("CREATE USER nothing PASSWORD 'nothing-pa55word'; CREATE USER crowd PASSWORD 'crowd-pa55word' CONNECTION LIMIT 0")
	w.database("frozen", "CREATE TABLE readonly (n INT, text VARCHAR(100)); ALTER DATABASE frozen SET default_transaction_read_only = on")
	// What a server without disk says: there is no other way to have one here.
	direct := w.connect(w.node.Addr, "postgres")
	w.run(direct, `CREATE FUNCTION no_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		RAISE 'could not extend file "base/5/16384": No space left on device' USING ERRCODE = 'disk_full', HINT = 'Check free disk space.'; END$$`)
	w.run(direct, `CREATE TRIGGER no_disk BEFORE INSERT ON nodisk FOR EACH ROW EXECUTE FUNCTION no_disk()`)
	// Users who cannot read STL_LOAD_ERRORS, and have the newer view alone.
	w.exec("CREATE USER newer PASSWORD 'newer-pa55word'")
	w.database("newer", "CREATE TABLE newer (n INT, text VARCHAR(100)); GRANT INSERT, SELECT ON newer TO newer; REVOKE SELECT ON pg_catalog.stl_load_errors FROM PUBLIC")
	for key, body := range map[string]string{"paths": `{"jsonpaths":["$.n"]}`, "nopaths": `{"a":1}`} {
		_, err := d.S3Client().PutObject(w.t.Context(), &s3.PutObjectInput{Bucket: aws.String(stagingBucket), Key: aws.String("jsonpaths/" + key), Body: strings.NewReader(body)})
		must(w.t, err)
	}
}

// database makes one more.
func (w *warehouse) database(name, statements string) {
	w.t.Helper()
	w.exec("CREATE DATABASE " + name)
	w.run(w.connect(w.addr, name), statements)
}

func (w *warehouse) run(db *sql.DB, statement string) {
	w.t.Helper()
	_, err := db.ExecContext(w.t.Context(), statement)
	must(w.t, err)
}

// with changes the COPY of a destination.
func with(options, columns string) func(*types.RedshiftDestinationConfiguration) {
	return func(to *types.RedshiftDestinationConfiguration) {
		to.CopyCommand.CopyOptions = &options
		if columns != "" {
			to.CopyCommand.DataTableColumns = &columns
		}
	}
}

// keys are options with the wrong secret for S3.
func keys(id string) string {
	return "JSON 'auto' CREDENTIALS 'aws_access_key_id=" + id + ";aws_secret_access_key=" + wrongPassword + "'"
}

// as changes who loads.
func as(user, password string) func(*types.RedshiftDestinationConfiguration) {
	return func(to *types.RedshiftDestinationConfiguration) { to.Username, to.Password = &user, &password }
}

// at changes where to.
func at(addr, database, parameters string) func(*types.RedshiftDestinationConfiguration) {
	return func(to *types.RedshiftDestinationConfiguration) {
		to.ClusterJDBCURL = aws.String("jdbc:redshift://" + addr + "/" + database + "?" + parameters)
	}
}

// refusedStatements are those that the server refuses whatever the data.
func (w *warehouse) refusedStatements() []refused {
	elsewhere := w.standIn(func(c *redshiftstandin.Config) { c.S3.Endpoint = s3test.Start(w.t).URL() })
	return []refused{
		{stream: "absent", code: "Redshift.TableNotFound", says: "Cannot COPY into nonexistent table absent"},
		{stream: "columns", change: with("JSON 'auto'", "n, nothing"), code: "Redshift.ColumnNotFound", says: `column "nothing" of relation "columns" does not exist`},
		{stream: "leftout", change: with("JSON 'auto'", "n"), code: "Redshift.MissingColumn", says: "NOT NULL"},
		{stream: "syntax", change: with("JSON 'auto' NONSENSE", ""), code: "Redshift.SyntaxError", says: `syntax error at or near "NONSENSE"`},
		{stream: "twice", change: with("JSON 'auto' GZIP GZIP", ""), code: "Redshift.IncorrectCopyOptions", says: "conflicting or redundant options"},
		{stream: "paths", change: with("JSON 's3://staging/jsonpaths/paths'", ""), code: "Redshift.ColumnMismatch", says: "Number of jsonpaths"},
		{stream: "nopaths", change: with("JSON 's3://staging/jsonpaths/nopaths'", ""), code: "Redshift.IncorrectJsonPathsFile", says: "Invalid JSONPath format"},
		{stream: "privilege", change: as("nothing", "nothing-pa55word"), code: "Redshift.InsufficientPrivilege", says: "permission denied for relation privilege"},
		{stream: "readonly", change: at(w.addr, "frozen", "ssl=false"), code: "Redshift.ReadOnlyCluster", says: "read-only transaction"},
		{stream: "nodisk", code: "Redshift.DiskFull", says: "No space left on device"},
		{stream: "role", change: with("JSON 'auto' IAM_ROLE '"+role+"'", ""), code: "Redshift.AccessDenied", says: "Not authorized"},
		{stream: "keys", change: with(keys("other"), ""), code: "Redshift.S3BucketAccessDenied", says: "No user exists with the provided access key ID"},
		{stream: "signature", change: with(keys("local"), ""), code: "Redshift.S3BucketAccessDenied", says: "SignatureDoesNotMatch"},
		{stream: "bucket", change: at(elsewhere, "postgres", "ssl=false"), code: "Redshift.S3BucketAccessDenied", says: "NoSuchBucket"},
	}
}

// refusedClients are those that do not get as far as a statement.
func (w *warehouse) refusedClients() []refused {
	port, err := proc.FreePort()
	must(w.t, err)
	return []refused{
		{stream: "password", change: as(pgtest.User, wrongPassword), code: "Redshift.AuthenticationFailed", says: "password authentication failed"},
		{stream: "databases", change: at(w.addr, "absent", "ssl=false"), code: "Redshift.DatabaseNotFound", says: `database "absent" does not exist`},
		{stream: "crowd", change: as("crowd", "crowd-pa55word"), code: "Redshift.ConnectionFailed", says: "too many connections for role"},
		{stream: "nobody", change: at(fmt.Sprintf("127.0.0.1:%d", port), "postgres", "ssl=false"), code: "Redshift.ConnectionFailed", says: "connection refused"},
	}
}

// refusedData are records that do not load. Where and why is told, from the tables of the server, and nothing of the records.
func refusedData() []refused {
	newer := func(to *types.RedshiftDestinationConfiguration) {
		to.ClusterJDBCURL = aws.String(strings.Replace(*to.ClusterJDBCURL, "/postgres", "/newer", 1))
		as("newer", "newer-pa55word")(to)
	}
	return []refused{
		{
			stream: "digits", record: rowsFrom(0, 1)[0] + `{"n":"` + secretValue + `","text":"x"}` + "\n", code: "Redshift.DataLoadFailed",
			says: ` line 2 column "n": Invalid digit, Value (not shown), Pos 0, Type: Integer (1207)`,
		},
		{
			stream: "lengths", record: `{"n":1,"text":"` + strings.Repeat(secretValue, 9) + `"}` + "\n", code: "Redshift.DataLoadFailed",
			says: ` line 1 column "text": String length exceeds DDL length (1204)`,
		},
		{stream: "options", record: `{"n":` + secretValue + "}\n", code: "Redshift.DataLoadFailed", says: ` line 1 column "": Invalid value. (1216)`},
		{
			stream: "newer", change: newer, record: `{"n":"` + secretValue + `"}` + "\n", code: "Redshift.DataLoadFailed",
			says: ` line 1 column "n": Invalid digit, Value (not shown), Pos 0, Type: Integer (1207)`,
		},
	}
}

// removedObjects has staged objects go before they are loaded.
func removedObjects(w *warehouse, d *deploy.Deployment) {
	createRedshift(w.t, d, "removed", w.to("removed", "JSON 'auto'", 3600))
	putAll(w.t, d, "removed", rowsFrom(0, 1))
	awaitLoadLogged(w.t, d, "removed", "Redshift.TableNotFound")
	for _, o := range d.Objects(stagingBucket, "removed/") {
		_, err := d.S3Client().DeleteObject(w.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(stagingBucket), Key: &o.Key})
		must(w.t, err)
	}
	w.exec("CREATE TABLE removed (n INT, text VARCHAR(100))")
	if entry := awaitLoadLogged(w.t, d, "removed", "Redshift.MissingS3File"); !strings.Contains(entry.Detail, "Mandatory url") {
		w.t.Errorf("it is told as %+v", entry)
	}
}

// canceledByAnOperator has a COPY that waits for its table be canceled. It is tried again, and loads.
func canceledByAnOperator(w *warehouse, d *deploy.Deployment) {
	direct := w.connect(w.node.Addr, "postgres")
	tx, err := direct.BeginTx(w.t.Context(), nil)
	must(w.t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(w.t.Context(), "LOCK TABLE canceled")
	must(w.t, err)
	createRedshift(w.t, d, "canceled", w.to("canceled", "JSON 'auto'", 3600))
	putAll(w.t, d, "canceled", rowsFrom(0, 100))
	deploy.Eventually(w.t, "its COPY waits, and is canceled", func() bool {
		var n int
		row := direct.QueryRowContext(context.WithoutCancel(w.t.Context()), "SELECT count(pg_cancel_backend(pid)) FROM pg_locks WHERE NOT granted AND relation = 'canceled'::regclass")
		return row.Scan(&n) == nil && n == 1
	})
	must(w.t, tx.Rollback())
	awaitLoadLogged(w.t, d, "canceled", "InternalError")
	w.want("canceled", 100)
}

// toldByTheTool is what the command-line tool says of a delivery stream's last error.
func toldByTheTool(t *testing.T, d *deploy.Deployment, e delivery.LogEntry, stream string) {
	t.Helper()
	text := words(tool(t, d, "logs", stream))
	wantNoSecrets(t, text)
	if !strings.Contains(text, e.ErrorCode) || !strings.Contains(text, words(e.Detail)) {
		t.Errorf("the tool says %s\nof %+v", text, e)
	}
}
