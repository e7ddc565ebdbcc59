package redshiftstandin

import (
	"reflect"
	"strings"
	"testing"
)

const keys = "CREDENTIALS 'aws_access_key_id=id;aws_secret_access_key=secret'"

func parsed(sql string) (*copyStatement, *dbError) {
	statements, err := split(sql)
	if err != nil {
		return nil, failed(codeSyntax, "%v", err)
	}
	return parseCopy(statements[0])
}

// plain is a COPY of table t without options.
func plain(change func(*copyStatement)) *copyStatement {
	c := &copyStatement{
		table: "t", source: location{"b", "k/l"}, credentials: credentials{accessKey: "id", secretKey: "secret"},
		delimiter: '|', quote: '"', null: `\N`, invalidChar: '?',
	}
	change(c)
	return c
}

func TestParseCopy(t *testing.T) {
	for _, c := range []struct {
		sql    string
		change func(*copyStatement)
	}{
		{"COPY t FROM 's3://b/k/l' " + keys, func(*copyStatement) {}},
		{"copy S.T from 's3://b/k/l' with credentials as 'aws_access_key_id=id;aws_secret_access_key=secret;token=tok'", func(c *copyStatement) {
			c.schema, c.credentials.token = "s", "tok"
		}},
		{`COPY "S a"."T""b" ("A", b) FROM 's3://b/k/l' ` + keys, func(c *copyStatement) {
			c.schema, c.table, c.columns = "S a", `T"b`, []string{"A", "b"}
		}},
		{"COPY t FROM 's3://b/k/l' IAM_ROLE 'arn:aws:iam::1:role/r'", func(c *copyStatement) { c.credentials = credentials{role: "arn:aws:iam::1:role/r"} }},
		{"COPY t FROM 's3://b/k/l' IAM_ROLE default", func(c *copyStatement) { c.credentials = credentials{role: "default"} }},
		{"COPY t FROM 's3://b/k/l' CREDENTIALS 'aws_iam_role=arn'", func(c *copyStatement) { c.credentials = credentials{role: "arn"} }},
		{"COPY t FROM 's3://b/k/l' ACCESS_KEY_ID 'id' SECRET_ACCESS_KEY AS 'secret' SESSION_TOKEN 'tok'", func(c *copyStatement) { c.credentials.token = "tok" }},
		{"COPY t FROM 's3://b/k/l' " + keys + " MANIFEST GZIP JSON 'auto' REGION 'eu-west-1'", func(c *copyStatement) {
			c.manifest, c.gzip, c.format, c.json, c.region, c.delimiter = true, true, formatJSON, "auto", "eu-west-1", 0
		}},
		{"COPY t FROM 's3://b/k/l' " + keys + " FORMAT AS JSON 'Auto IgnoreCase'", func(c *copyStatement) { c.format, c.json, c.delimiter = formatJSON, "auto ignorecase", 0 }},
		{"COPY t FROM 's3://b/k/l' " + keys + " JSON AS 's3://b/paths'", func(c *copyStatement) { c.format, c.json, c.delimiter = formatJSON, "s3://b/paths", 0 }},
		{"COPY t FROM 's3://b/k/l' " + keys + " CSV QUOTE AS '%' IGNOREHEADER 2", func(c *copyStatement) {
			c.format, c.delimiter, c.quote, c.ignoreHeader = formatCSV, ',', '%', 2
		}},
		{"COPY t FROM 's3://b/k/l' " + keys + ` DELIMITER '\t' NULL AS '\0' ESCAPE REMOVEQUOTES`, func(c *copyStatement) {
			c.delimiter, c.null, c.escape, c.removeQuotes = '\t', "\x00", true, true
		}},
		{"COPY t FROM 's3://b/k/l' " + keys + ` DELIMITER AS '\001' MAXERROR AS 10 TIMEFORMAT 'epochmillisecs' DATEFORMAT 'auto'`, func(c *copyStatement) {
			c.delimiter, c.maxError, c.timeFormat = 1, 10, "epochmillisecs"
		}},
		{"COPY t FROM 's3://b/k/l' " + keys + " TRUNCATECOLUMNS BLANKSASNULL EMPTYASNULL ACCEPTINVCHARS AS '^' COMPUPDATE OFF STATUPDATE ON", func(c *copyStatement) {
			c.truncateColumns, c.blanksAsNull, c.emptyAsNull, c.acceptInvalidChars, c.invalidChar = true, true, true, true, '^'
		}},
		{"COPY t FROM 's3://b/k/l' " + keys + " TRIMBLANKS FILLRECORD IGNOREBLANKLINES EXPLICIT_IDS ROUNDEC COMPUPDATE ACCEPTINVCHARS", func(c *copyStatement) {
			c.trimBlanks, c.fillRecord, c.ignoreBlankLines, c.explicitIDs, c.acceptInvalidChars = true, true, true, true, true
		}},
	} {
		got, failure := parsed(c.sql)
		if failure != nil || !reflect.DeepEqual(got, plain(c.change)) {
			t.Errorf("%s\nis %+v, %v\nnot %+v", c.sql, got, failure, plain(c.change))
		}
	}
}

func TestParseCopyErrors(t *testing.T) {
	for _, c := range []struct{ sql, code, message string }{
		{"COPY", codeSyntax, "syntax error at end of input"},
		{"COPY t FROM STDIN", codeSyntax, `at or near "STDIN"`},
		{"COPY t TO 's3://b/k'", codeSyntax, `at or near "TO"`},
		{"COPY t (a,) FROM 's3://b/k' " + keys, codeSyntax, `at or near ")"`},
		{"COPY t (a, a) FROM 's3://b/k' " + keys, codeTwice, `column "a" specified more than once`},
		{"COPY t FROM 'emr://b/k' " + keys, codeUnsupported, "not known to the Redshift stand-in"},
		{"COPY t FROM 's3://b/k' " + keys + " JSONN 'auto'", codeSyntax, `at or near "JSONN"`},
		{"COPY t FROM 's3://b/k' " + keys + " NOLOAD", codeUnsupported, "NOLOAD is not known"},
		{"COPY t FROM 's3://b/k' " + keys + " FORMAT AS PARQUET", codeUnsupported, "PARQUET is not known"},
		{"COPY t FROM 's3://b/k' " + keys + " GZIP gzip", codeSyntax, "conflicting or redundant options"},
		{"COPY t FROM 's3://b/k' " + keys + " CSV JSON 'auto'", codeSyntax, "conflicting or redundant options"},
		{"COPY t FROM 's3://b/k' " + keys + " CSV ESCAPE", codeSyntax, "conflicting or redundant options"},
		{"COPY t FROM 's3://b/k' " + keys + " IAM_ROLE 'a'", codeSyntax, "conflicting or redundant options"},
		{"COPY t FROM 's3://b/k' " + keys + " DELIMITER 'ab'", codeSyntax, "single ASCII character"},
		{"COPY t FROM 's3://b/k' " + keys + " MAXERROR x", codeSyntax, `at or near "x"`},
		{"COPY t FROM 's3://b/k' " + keys + " MAXERROR", codeSyntax, "end of input"},
		{"COPY t FROM 's3://b/k' " + keys + " TIMEFORMAT 'MM/DD'", codeUnsupported, "MM/DD"},
		{"COPY t FROM 's3://b/k' " + keys + " JSON 'noshred'", codeUnsupported, "noshred"},
		{"COPY t FROM 's3://b/k'", codeDataLoad, "Invalid credentials"},
		{"COPY t FROM 's3://b/k' ACCESS_KEY_ID 'id'", codeDataLoad, "Invalid credentials"},
		{"COPY t FROM 's3://b/k' CREDENTIALS 'secret-thing'", codeDataLoad, "Invalid credentials"},
	} {
		_, failure := parsed(c.sql)
		if failure == nil || failure.code != c.code || !strings.Contains(failure.message, c.message) {
			t.Errorf("%s\nis %v, not %s %s", c.sql, failure, c.code, c.message)
		}
		if failure != nil && strings.Contains(failure.message+failure.detail, "secret-thing") {
			t.Errorf("%s tells a secret: %s", c.sql, failure.message)
		}
	}
}

func TestSyntaxErrorPosition(t *testing.T) {
	if _, failure := parsed("COPY größe FROM STDIN"); failure == nil || failure.position != 17 {
		t.Errorf("got %+v", failure)
	}
}

// Whatever the bytes: a COPY is understood or refused, and its credentials are in no error.
func FuzzParseCopy(f *testing.F) {
	f.Add("t (a) FROM 's3://b/k' " + keys + " MANIFEST GZIP JSON 'auto'")
	f.Add(`"s"."t" FROM 's3://b/k' IAM_ROLE default CSV QUOTE '"' DELIMITER '\t' NULL AS '\0' MAXERROR 3`)
	f.Add("t FROM 's3://b/' ACCESS_KEY_ID 'a' SECRET_ACCESS_KEY 'b' ACCEPTINVCHARS '^' IGNOREHEADER AS 1")
	f.Fuzz(func(t *testing.T, rest string) {
		statements, err := split("COPY " + rest)
		if err != nil || len(statements) == 0 {
			return
		}
		c, failure := parseCopy(statements[0])
		switch {
		case failure != nil && (failure.code == "" || failure.message == ""):
			t.Fatalf("an error of nothing: %+v", failure)
		case failure == nil && (c.table == "" || c.source.bucket == "" || !c.credentials.given()):
			t.Fatalf("understood as %+v", c)
		}
	})
}
