package redshiftstandin_test

import (
	"fmt"
	"strings"
	"testing"

	"hydrant/e2e/internal/redshiftstandin"
)

// Each option does what it does in Redshift, in a COPY of its own and in one query string with a transaction around it.
func TestOptions(t *testing.T) {
	r := start(t)
	r.exec(`CREATE TABLE t (id int, name varchar(10), at timestamp, ok boolean, amount numeric(8,2))`)
	for _, c := range []struct{ name, options, content, want string }{
		{"text", "", "1|x|2016-11-23 10:00:00|t|1.50\n2||||\n", "1|x|2016-11-23T10:00:00Z|true|1.50;2||NULL|NULL|NULL"},
		{"a delimiter", `DELIMITER AS '\t' NULL AS 'nil'`, "1\tnil\t\tf\t2\n", "1|NULL|NULL|false|2.00"},
		{"escapes", "ESCAPE", "1|a\\|b\\\\|||\n", `1|a|b\|NULL|NULL|NULL`},
		{"quotes removed", "REMOVEQUOTES", "1|\"a|b\"|||\n", "1|a|b|NULL|NULL|NULL"},
		{"a backslash and a tab", "", "1|a\\b\tc|||\n", "1|a\\b\tc|NULL|NULL|NULL"},
		{"CSV with a header", "CSV IGNOREHEADER 1", "id,name,at,ok,amount\n1,\"a,\"\"b\nc\",,,\n", "1|a,\"b\nc|NULL|NULL|NULL"},
		{"JSON", "JSON 'auto' TIMEFORMAT 'auto'", `{"id":1,"name":{"a": 1},"at":"2016-11-23T10:00:00Z","more":2}{"id":2,"ok":true,"amount":1e2}`, "1|{\"a\":1}|2016-11-23T10:00:00Z|NULL|NULL;2|NULL|NULL|true|100.00"},
		{"JSON in any case", "FORMAT AS JSON 'auto ignorecase'", `{"ID":1,"Name":"x"}`, "1|x|NULL|NULL|NULL"},
		{"JSON by default", "JSON", `{"id":1}`, "1|NULL|NULL|NULL|NULL"},
		{"seconds", "JSON 'auto' TIMEFORMAT 'epochsecs'", `{"id":1,"at":1479895200}`, "1|NULL|2016-11-23T10:00:00Z|NULL|NULL"},
		{"milliseconds", "JSON 'auto' TIMEFORMAT 'epochmillisecs'", `{"id":1,"at":1479895200500}`, "1|NULL|2016-11-23T10:00:00.5Z|NULL|NULL"},
		{"truncated", "TRUNCATECOLUMNS", "1|12345678901|||\n", "1|1234567890|NULL|NULL|NULL"},
		{"empty as null", "EMPTYASNULL", "1||||\n2| |||\n", "1|NULL|NULL|NULL|NULL;2| |NULL|NULL|NULL"},
		{"blanks as null", "BLANKSASNULL", "1| |||\n", "1|NULL|NULL|NULL|NULL"},
		{"other characters", "ACCEPTINVCHARS AS '!'", "1|a\xff|||\n", "1|a!|NULL|NULL|NULL"},
		{"what changes nothing", "REGION 'us-east-1' COMPUPDATE OFF STATUPDATE ON DATEFORMAT 'auto' ROUNDEC", "1|x|||\n", "1|x|NULL|NULL|NULL"},
		{"rows that end early", "FILLRECORD IGNOREBLANKLINES TRIMBLANKS", "1|x \n\n", "1|x|NULL|NULL|NULL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r.of(t)
			r.put("option", c.content)
			r.exec(copied("t", "option", c.options))
			r.want("SELECT * FROM t ORDER BY id", c.want)
			r.exec("BEGIN; DELETE FROM t; " + copied("t", "option", c.options) + "; COMMIT")
			r.want("SELECT * FROM t ORDER BY id", c.want)
			r.exec("TRUNCATE t")
		})
	}
}

// of is the rig for a part of its test.
func (r *rig) of(t *testing.T) *rig {
	return &rig{t: t, server: r.server, name: r.name, s3: r.s3, addr: r.addr, db: r.db}
}

func TestSources(t *testing.T) {
	r := start(t)
	r.exec(`CREATE SCHEMA "S a"; CREATE TABLE "S a"."T""b" ("Id" int, name varchar(10) DEFAULT 'none', "N o" int)`)
	r.put("p/1", "1|1\n")
	r.put("p/2", "2|2\n")
	r.put("q/3", "3|3\n")
	r.manifest("m", "s3://data/p/2", "s3://data/q/3")
	const table = `"S a"."T""b" ("N o", "Id")`
	all := func() string { return r.query(`SELECT * FROM "S a"."T""b" ORDER BY "Id"`) }

	r.exec(copied(table, "p/", ""))
	if got := all(); got != "1|none|1;2|none|2" {
		t.Errorf("by prefix: %q", got)
	}
	r.exec(`TRUNCATE "S a"."T""b"`)
	r.exec(copied(table, "m", "MANIFEST"))
	if got := all(); got != "2|none|2;3|none|3" {
		t.Errorf("by manifest: %q", got)
	}
	r.exec(`TRUNCATE "S a"."T""b"`)
	r.put("z", zipped("4|4\n")+zipped("5|5\n")) // two members, as services write that compress in parts
	r.exec(copied(table, "z", "GZIP"))
	if got := all(); got != "4|none|4;5|none|5" {
		t.Errorf("compressed: %q", got)
	}
	r.put("paths", `{"jsonpaths":["$.a.b","$['c'][1]"]}`)
	r.put("j", `{"a":{"b":6},"c":[0,7]}`)
	r.exec(copied(table, "j", "JSON 's3://data/paths'"))
	r.want(`SELECT "Id", "N o" FROM "S a"."T""b" WHERE "N o" = 6`, "7|6")
	r.put("some", `{"entries":[{"url":"s3://data/none"},{"url":"s3://data/p/1","mandatory":true}]}`)
	r.exec(copied(table, "some", "MANIFEST"))
	r.want(`SELECT count(*) FROM "S a"."T""b" WHERE "Id" = 1`, "1")
}

// An identity gets its own values, unless it is asked for.
func TestIdentity(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (id bigint IDENTITY(1, 1), a int, b int DEFAULT 7)")
	r.put("a", "5|6\n")
	r.put("ids", "40|5|6\n")
	r.exec(copied("t", "a", ""))
	r.exec(copied("t", "ids", "EXPLICIT_IDS"))
	r.exec("COPY t (b, id) FROM 's3://data/a'" + keys + "EXPLICIT_IDS")
	r.put("a", "5\n")
	r.exec("COPY t (a) FROM 's3://data/a'" + keys)
	r.want("SELECT * FROM t ORDER BY id", "1|5|6;2|5|7;6|NULL|5;40|5|6")
}

// What a COPY did can be asked for in its session, and by who is told of it.
func TestAfterACopy(t *testing.T) {
	r := start(t)
	conn, err := r.db.Conn(t.Context())
	r.must(err)
	defer func() { _ = conn.Close() }()
	last := func() string {
		t.Helper()
		got, err := ask(t.Context(), conn, "SELECT pg_last_copy_count(), pg_last_copy_id() > 0, pg_last_copy_id() = pg_last_query_id()")
		r.must(err)
		return got
	}
	if got := last(); got != "-1|false|true" {
		t.Errorf("before the first: %s", got)
	}
	_, err = conn.ExecContext(t.Context(), "CREATE TABLE t (a int)")
	r.must(err)
	r.put("k", "1\n2\n3\n")
	result, err := conn.ExecContext(t.Context(), copied("t", "k", ""))
	r.must(err)
	if n, err := result.RowsAffected(); n != 0 {
		t.Errorf("Redshift's tag has no count: %d, %v", n, err)
	}
	if got, want := r.heard(), "INFO: Load into table 't' completed, 3 record(s) loaded successfully."; got != want {
		t.Errorf("the notices are %q", got)
	}
	if got := last(); got != "3|true|true" {
		t.Errorf("after a COPY: %s", got)
	}
	if got := last(); got != "3|true|false" {
		t.Errorf("after a query: %s", got)
	}
	// It holds for a statement with parameters too.
	if got, err := ask(t.Context(), conn, "SELECT pg_last_copy_count() = $1", 3); err != nil || got != "true" {
		t.Errorf("with a parameter: %s, %v", got, err)
	}
	// A rollback does not make it forget, nor does a failure.
	r.put("bad", "x\n")
	_, err = conn.ExecContext(t.Context(), "BEGIN; "+copied("t", "bad", ""))
	if err == nil {
		t.Error("a bad row was loaded")
	}
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	r.must(err)
	got, err := ask(t.Context(), conn, "SELECT pg_last_copy_count(), trim(filename), trim(err_reason) FROM stl_load_errors WHERE query = pg_last_copy_id()")
	if want := "0|s3://data/bad|Invalid digit, Value 'x', Pos 0, Type: Integer"; err != nil || got != want {
		t.Errorf("after a failure: %s, %v", got, err)
	}
}

// More data than any buffer on the way holds is loaded, and one bad row at its end undoes it all.
func TestMuchData(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (n int, name varchar(1000))")
	var content strings.Builder
	for i := range 2_000 {
		_, _ = fmt.Fprintf(&content, "{\"n\":%d,\"name\":\"%0300d\"}\n", i, i)
	}
	r.put("much/1", zipped(content.String()))
	r.put("much/2", zipped(content.String()+"{\"n\":\"bad\"}\n"+content.String()))
	r.put("more/1", zipped(content.String()))
	r.put("more/2", zipped(content.String()))
	r.wantError(copied("t", "much/", "GZIP JSON 'auto'"), "XX000", "Load into table 't' failed.")
	r.want("SELECT trim(filename), line_number, trim(colname) FROM stl_load_errors", "s3://data/much/2|2001|n")
	r.want("SELECT count(*) FROM t", "0")
	r.exec(copied("t", "more/", "GZIP JSON 'auto'"))
	r.want("SELECT count(*), sum(n), max(name) FROM t", fmt.Sprintf("4000|3998000|%0300d", 1_999))
}

// The credentials are those of the statement, or with a role the stand-in's own.
func TestCredentials(t *testing.T) {
	r := start(t)
	r.exec("CREATE TABLE t (a int)")
	r.put("k", "1\n")
	r.exec("COPY t FROM 's3://data/k' IAM_ROLE 'arn:aws:iam::1:role/r'")
	r.exec("COPY t FROM 's3://data/k' ACCESS_KEY_ID 'local' SECRET_ACCESS_KEY 'localsecret'")
	r.want("SELECT count(*) FROM t", "2")
	r.wantError("COPY t FROM 's3://data/k' CREDENTIALS 'aws_access_key_id=local;aws_secret_access_key=wrong-secret'", "XX000", "Status 403,Error SignatureDoesNotMatch")
	r.wantError("COPY t FROM 's3://data/k' CREDENTIALS 'aws_access_key_id=other;aws_secret_access_key=x'", "XX000", "Status 403,Error InvalidAccessKeyId")
	r.serve(func(c *redshiftstandin.Config) { c.S3.AccessKeyID, c.S3.SecretAccessKey = "", "" })
	r.wantError("COPY t FROM 's3://data/k' IAM_ROLE 'arn:aws:iam::1:role/r'", "XX000", "Not authorized to get credentials of role arn:aws:iam::1:role/r")
}
