package redshiftstandin_test

import (
	"net/http"
	"strings"
	"testing"

	"hydrant/shared/pgtest"
	"hydrant/shared/s3test"
)

// Errors have Redshift's words and codes, whether the COPY is alone or in a transaction, which then has failed.
func TestErrors(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int NOT NULL, b varchar(5)); CREATE TABLE i (n int IDENTITY(1, 1), a int)")
	r.put("good", "1|x\n")
	r.put("notgzip", "1|x\n")
	r.put("short", zipped(strings.Repeat("1|x\n", 1000))[:20])
	r.put("m/notjson", "{")
	r.put("m/noobject", "[]")
	r.put("m/nourl", `{"entries":[{"mandatory":true}]}`)
	r.put("m/prefix", `{"entries":[{"url":"s3://data/"}]}`)
	r.manifest("m/missing", "s3://data/good", "s3://data/gone")
	r.put("paths", `{"jsonpaths":["$.a"]}`)
	r.put("nopaths", `{}`)
	for _, c := range []struct{ name, copy, code, message, detail string }{
		{"a table that is not there", copied("none", "good", ""), "XX000", "Cannot COPY into nonexistent table none", ""},
		{"a schema that is not there", copied("no.t", "good", ""), "XX000", "Cannot COPY into nonexistent table t", ""},
		{"a column that is not there", copied("t (a, c)", "good", ""), "42703", `column "c" of relation "t" does not exist`, ""},
		{"a column left out", copied("t (b)", "good", ""), "XX000", "NOT NULL column without DEFAULT must be included in column list", ""},
		{"an identity", copied("i (n, a)", "good", ""), "XX000", "cannot set an identity column to a value", ""},
		{"a syntax error", copied("t", "good", "JSONN"), "42601", `syntax error at or near "JSONN"`, ""},
		{"options twice", copied("t", "good", "GZIP GZIP"), "42601", "conflicting or redundant options", ""},
		{"an option of Redshift alone", copied("t", "good", "PARQUET"), "0A000", "PARQUET is not known to the Redshift stand-in", ""},
		{"COPY of PostgreSQL", "COPY t FROM STDIN", "42601", `syntax error at or near "STDIN"`, ""},
		{"no object", copied("t", "none", ""), "XX000", "The specified S3 prefix 'none' does not exist", "code:      8001"},
		{"no bucket", "COPY t FROM 's3://none/k'" + keys, "XX000", "Status 404,Error NoSuchBucket,Rid ", "Listing bucket=none prefix=k"},
		{"no manifest", copied("t", "m/none", "MANIFEST"), "XX000", "Problem reading manifest file - S3ServiceException:", "s3://data/m/none"},
		{"a manifest that is no JSON", copied("t", "m/notjson", "MANIFEST"), "XX000", "Manifest file is not in correct json format", ""},
		{"a manifest that is no object", copied("t", "m/noobject", "MANIFEST"), "XX000", "Root must be a json object in the manifest file", ""},
		{"a manifest without names", copied("t", "m/nourl", "MANIFEST"), "XX000", "'url' field missing", ""},
		{"a manifest of a prefix", copied("t", "m/prefix", "MANIFEST"), "XX000", "requires full path of an S3 object", ""},
		{"an object of the manifest that is gone", copied("t", "m/missing", "MANIFEST"), "XX000", "Mandatory url is not present in manifest file.", "s3://data/gone"},
		{"an object that is not compressed", copied("t", "notgzip", "GZIP"), "XX000", "zlib error code", "code:      9001"},
		{"an object that ends too soon", copied("t", "short", "GZIP"), "XX000", "zlib error code", "code:      9001"},
		{"too few paths", copied("t", "good", "JSON 's3://data/paths'"), "XX000", "Number of jsonpaths and the number of columns should match. JSONPath size: 1, Number of columns in table or column list: 2", ""},
		{"paths that are none", copied("t", "good", "JSON 's3://data/nopaths'"), "XX000", "Invalid JSONPath format", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r.of(t)
			for _, statements := range []string{c.copy, "BEGIN; INSERT INTO t VALUES (5, 'a'); " + c.copy + "; COMMIT", "INSERT INTO t VALUES (6); " + c.copy} {
				failure := r.fails(statements)
				if string(failure.Code) != c.code || !strings.Contains(failure.Message, c.message) || !strings.Contains(failure.Detail, c.detail) {
					t.Errorf("%s: %s %q %q", statements, failure.Code, failure.Message, failure.Detail)
				}
				_, err := r.db.ExecContext(t.Context(), "ROLLBACK") // on whatever connection: lib/pq drops none that is in a transaction
				r.must(err)
			}
			r.want("SELECT count(*) FROM t", "0")
		})
	}
}

// What S3 answers is passed on, and so is that it does not.
func TestS3Refuses(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("k", "1\n")
	r.manifest("m", "s3://data/k")
	heal := r.s3.Fail("GETBucket", -1, s3test.AnswerWith(http.StatusForbidden, "AccessDenied", "Access Denied"))
	failure := r.fails(copied("t", "k", ""))
	if want := "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid REQUEST-AccessDenied,ExtRid HOST,CanRetry 1"; failure.Message != want {
		t.Errorf("got %q", failure.Message)
	}
	heal()
	heal = r.s3.FailAt("GetObject", "/k", -1, s3test.AnswerWith(http.StatusForbidden, "AccessDenied", "Access Denied"))
	failure = r.fails(copied("t", "m", "MANIFEST"))
	if !strings.HasPrefix(failure.Message, "S3ServiceException:Access Denied,Status 403") || !strings.Contains(failure.Detail, "S3 key being read : s3://data/k") {
		t.Errorf("got %q %q", failure.Message, failure.Detail)
	}
	heal()
	heal = r.s3.FailAt("GetObject", "/m", -1, s3test.Answer(http.StatusForbidden, "AccessDenied"))
	r.wantError(copied("t", "m", "MANIFEST"), "XX000", "Problem reading manifest file - S3ServiceException:")
	heal()
	// Listed, and deleted before it is read.
	heal = r.s3.FailAt("GetObject", "/k", -1, s3test.AnswerWith(http.StatusNotFound, "NoSuchKey", "The specified key does not exist."))
	r.wantError(copied("t", "k", ""), "XX000", "S3ServiceException:The specified key does not exist.,Status 404,Error NoSuchKey,Rid ")
	heal()
	heal = r.s3.FailAt("GetObject", "/k", -1, s3test.Reset)
	r.wantError(copied("t", "k", ""), "XX000", "S3CurlException: ")
	heal()
	r.exec(copied("t", "k", ""))
	r.want("SELECT count(*) FROM t", "1")
}

// A row that does not load is in the system tables with its place, its column and the reason.
func TestLoadErrors(t *testing.T) {
	r := start(t)
	r.exec(`CREATE TABLE t (i int, s smallint, d decimal(5,2), f float, b boolean, day date, at timestamp, name varchar(5) NOT NULL)`)
	const columns = "trim(filename), line_number, trim(colname), trim(type), trim(raw_line), trim(raw_field_value), err_code, trim(err_reason)"
	for _, c := range []struct{ name, options, content, want string }{
		{"no number", "", "1|1|1|1|t|||x\n1x|1|1|1|t|||x\n", "2|i|int4|1x|1|1|1|t|||x|1x|1207|Invalid digit, Value 'x', Pos 1, Type: Integer"},
		{"too large", "", "1|70000||||||x\n", "1|s|int2|1|70000||||||x|70000|1222|Overflow, Column type: Short"},
		{"no decimal", "CSV", "1,1,a,,,,,x\n", "1|d|numeric|1,1,a,,,,,x|a|1209|Invalid digit, Value 'a', Pos 0, Type: Decimal"},
		{"no boolean", "CSV", "1,1,,,maybe,,,x\n", "1|b|bool|1,1,,,maybe,,,x|maybe|1210|Unknown boolean format"},
		{"no date", "CSV", "1,1,,,,soon,,x\n", "1|day|date|1,1,,,,soon,,x|soon|1205|Invalid Date Format - length must be 10 or more"},
		{"no time", "CSV", "1,1,,,,,soon,x\n", "1|at|timestamp|1,1,,,,,soon,x|soon|1206|Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"},
		{"too long", "CSV", "1,1,,,,,,abcdef\n", "1|name|varchar|1,1,,,,,,abcdef|abcdef|1204|String length exceeds DDL length"},
		{"not there", "JSON 'auto'", "{\"name\":\"x\"}\n\n{\"i\":1}", "3|name|varchar|{\"i\":1}||1213|Missing data for not-null field"},
		{"no JSON", "JSON 'auto'", "{\"name\":\"x\"}\n{\"name\":}", "2|||{\"name\":}||1216|Invalid value."},
		{"too few fields", "", "1|x\n", "1|||1|x||1203|Delimiter not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r.of(t)
			r.put("e/1", "")
			r.put("e/2", c.content)
			// The rows survive that the client's transaction is rolled back.
			r.wantError("BEGIN; "+copied("t", "e/", c.options)+"; COMMIT", "XX000", "Load into table 't' failed.  Check 'stl_load_errors' system table for details.")
			r.exec("ROLLBACK")
			r.want("SELECT "+columns+" FROM stl_load_errors ORDER BY query DESC LIMIT 1", "s3://data/e/2|"+c.want)
			r.want("SELECT count(*) FROM t", "0")
		})
	}
	r.want(`SELECT trim(file_name), line_number, trim(column_name), error_code, trim(error_message), trim(database_name) = current_database(), table_id = 't'::regclass::oid::int
		FROM sys_load_error_detail ORDER BY query_id LIMIT 1`, "s3://data/e/2|2|i|1207|Invalid digit, Value 'x', Pos 1, Type: Integer|true|true")
}

func TestMaxError(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int, b varchar(3))")
	r.put("k/1", "1|x\nbad|x\n2|long\n3|x\n")
	r.put("k/2", "4|x\n5\nworse|x\n6|x\n")
	r.wantError(copied("t", "k/", "MAXERROR 4"), "XX000", "Load into table 't' failed.")
	r.want("SELECT count(*) FROM t", "0")
	r.want("SELECT count(*) FROM stl_load_errors", "4")
	r.heard()
	r.exec("BEGIN; INSERT INTO t VALUES (0); " + copied("t", "k/", "MAXERROR 5") + "; COMMIT")
	r.want("SELECT a FROM t ORDER BY a", "0;1;3;4;6")
	if got := r.heard(); !strings.Contains(got, "completed, 4 record(s) loaded successfully.") || !strings.Contains(got, "completed, 4 record(s) could not be loaded.") {
		t.Errorf("notices: %s", got)
	}
	r.want("SELECT trim(filename) || ':' || line_number FROM stl_load_errors WHERE query = (SELECT max(query) FROM stl_load_errors) ORDER BY 1",
		"s3://data/k/1:2;s3://data/k/1:3;s3://data/k/2:2;s3://data/k/2:3")
}

// Who may not, is told so; and sees no other's load errors.
func TestUsers(t *testing.T) {
	r := start(t)
	user := "loader_" + r.name // users are of all databases
	r.exec("CREATE TABLE t (a int); CREATE TABLE u (a int); CREATE USER " + user + " PASSWORD 'loader-secret'; GRANT INSERT, SELECT ON u TO " + user)
	r.put("k", "1\n")
	r.put("bad", "x\n")
	r.wantError(copied("t", "bad", ""), "XX000", "Load into table 't' failed.")
	loader := r.of(t)
	loader.db = r.connect(user, "loader-secret", r.name)
	loader.wantError(copied("t", "k", ""), "42501", "permission denied for relation t")
	loader.exec(copied("u", "k", ""))
	loader.exec("CREATE TABLE own (a int); " + copied("own", "k", "") + "; DROP TABLE own")
	loader.want("SELECT count(*) FROM stl_load_errors", "0")
	loader.wantError(copied("u", "bad", ""), "XX000", "Load into table 'u' failed.")
	loader.want("SELECT count(*) FROM sys_load_error_detail", "1")
	r.want("SELECT count(*) FROM stl_load_errors", "2")

	for _, c := range []struct{ user, password, database, code string }{
		{user, "wrong", r.name, "28P01"}, {"nobody", "wrong", r.name, "28P01"}, {pgtest.User, pgtest.Password, "none", "3D000"},
	} {
		other := r.of(t)
		other.db = r.connect(c.user, c.password, c.database)
		other.wantError("SELECT 1", c.code, "")
	}
}
