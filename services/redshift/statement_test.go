package redshift

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"hydrant/shared/batch"
)

func TestCopyStatement(t *testing.T) {
	as := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "s/e+c='ret"}
	for _, c := range []struct {
		name string
		copy copyOf
		want string
	}{
		{"a table alone", copyOf{Table: "events", Manifest: "s3://data/m"},
			`COPY "events" FROM 's3://data/m' CREDENTIALS 'aws_access_key_id=AKID;aws_secret_access_key=s/e+c=''ret' MANIFEST`},
		{"a schema, columns and options", copyOf{Table: "Web.Events", Columns: `id, "When", Text`, Options: "JSON 'auto' GZIP", Manifest: "s3://data/it's"},
			`COPY "web"."events" ("id", "When", "text") FROM 's3://data/it''s' CREDENTIALS 'aws_access_key_id=AKID;aws_secret_access_key=s/e+c=''ret' MANIFEST JSON 'auto' GZIP`},
		{"options that have a MANIFEST", copyOf{Table: "t", Options: "manifest csv", Manifest: "s3://data/m"},
			`COPY "t" FROM 's3://data/m' CREDENTIALS 'aws_access_key_id=AKID;aws_secret_access_key=s/e+c=''ret' manifest csv`},
		{"options that say who asks", copyOf{Table: "t", Options: "iam_role 'arn:aws:iam::1:role/load'", Manifest: "s3://data/m"},
			`COPY "t" FROM 's3://data/m' MANIFEST iam_role 'arn:aws:iam::1:role/load'`},
		{"a word between quotes is no option", copyOf{Table: "t", Options: "NULL AS 'MANIFEST IAM_ROLE'", Manifest: "s3://data/m"},
			`COPY "t" FROM 's3://data/m' CREDENTIALS 'aws_access_key_id=AKID;aws_secret_access_key=s/e+c=''ret' MANIFEST NULL AS 'MANIFEST IAM_ROLE'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.copy.As = as
			got, err := c.copy.text()
			check(t, err)
			wantEqual(t, "the statement", got, c.want)
		})
	}
}

func TestCopyWithASessionToken(t *testing.T) {
	got, err := copyOf{Table: "t", Manifest: "s3://b/k", As: aws.Credentials{AccessKeyID: "A", SecretAccessKey: "S", SessionToken: "T"}}.text()
	check(t, err)
	wantEqual(t, "the statement", got, `COPY "t" FROM 's3://b/k' CREDENTIALS 'aws_access_key_id=A;aws_secret_access_key=S;token=T' MANIFEST`)
}

func TestTableNames(t *testing.T) {
	for name, want := range map[string]string{
		"events":               `"events"`,
		"EVENTS":               `"events"`,
		` "Events" `:           `"Events"`,
		`"a""b" . c`:           `"a""b"."c"`,
		"dev.public.t$1":       `"dev"."public"."t$1"`,
		"my-Table":             `"my-Table"`,
		"1st":                  `"1st"`,
		"tür":                  `"tür"`,
		"select":               `"select"`,
		`t; drop table x`:      `"t; drop table x"`,
		`"x"; drop table y --`: "",
		`"open`:                "",
		`""`:                   "",
		"a.b.c.d":              "",
		"a..b":                 "",
		"a.":                   "",
		"":                     "",
		`a"b`:                  "",
	} {
		got, err := quotedTable(name)
		if want == "" {
			if err == nil {
				t.Errorf("%q became %q, want it refused", name, got)
			}
			continue
		}
		check(t, err)
		wantEqual(t, name, got, want)
	}
}

func TestOptionsThatWouldNotEndWithTheStatement(t *testing.T) {
	for name, text := range map[string]string{
		"a semicolon":                       "GZIP; DROP TABLE x",
		"a string that does not end":        "DELIMITER '",
		"a name that does not end":          `REGION "eu`,
		"a line comment":                    "GZIP -- and",
		"a comment":                         "GZIP /* and",
		"a dollar quote":                    "NULL AS $$'$$ ; DROP TABLE x; --'",
		"escaped for Redshift alone":        `NULL AS 'a\'; DROP TABLE x; --'`,
		"escaped for PostgreSQL otherwise":  `NULL AS '\' ; DROP TABLE x; --'`,
		"two quotes, the first after a \\ ": `NULL AS '\''; DROP TABLE x; --'`,
		"a dollar quote after a string":     "NULL AS 'x'$$'$$ ; DROP TABLE x; --'",
		"a zero byte":                       "GZIP\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readOptions(text); !errors.Is(err, errOptions) {
				t.Errorf("%q is accepted", text)
			}
		})
	}
}

func TestOptionsThatAreTheOwnersOwn(t *testing.T) {
	for _, text := range []string{
		"", "json 'auto' gzip region 'eu-west-1'", `delimiter '\t' escape`, `csv quote as '"' ignoreheader 1`, "null as ';' delimiter as '|'",
		`null as '\\N'`, "json 's3://data/paths;1.json'",
	} {
		_, err := readOptions(text)
		check(t, err)
	}
}

func TestLiteralsThatServersReadDifferently(t *testing.T) {
	for _, text := range []string{`a\b`, "a\nb", "a\x00b"} {
		if got, err := literal(text); !errors.Is(err, errBackslash) {
			t.Errorf("%q became %s", text, got)
		}
	}
	_, err := batchList([]batch.ID{"a", `b\`})
	if !errors.Is(err, errBackslash) {
		t.Errorf("the list ended with %v", err)
	}
}

// FuzzStatement checks that whatever an owner writes, the statement is one.
func FuzzStatement(f *testing.F) {
	f.Add("events", "a, b", "JSON 'auto'", "s3://b/k")
	f.Add(`"a""b".c`, `"x"`, `NULL AS '\'`, "s3://b/it's")
	f.Add("t; --", `"`, "$$", `\`)
	f.Fuzz(func(t *testing.T, table, columns, options, manifest string) {
		text, err := copyOf{Table: table, Columns: columns, Options: options, Manifest: manifest, As: aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}}.text()
		if err != nil {
			return
		}
		for _, backslash := range []bool{false, true} {
			outside, ok := outsideQuotes(text, backslash)
			if !ok || unsafe(outside) || !strings.HasPrefix(outside, "COPY ") {
				t.Errorf("%q is more than one statement", text)
			}
		}
	})
}

func FuzzIdentifiers(f *testing.F) {
	f.Add("a.b")
	f.Add(`"a""b","c"`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, separator := range []byte{'.', ','} {
			quoted, err := identifiers(text, separator)
			if err != nil {
				continue
			}
			for _, name := range quoted {
				inside := strings.TrimSuffix(strings.TrimPrefix(name, `"`), `"`)
				if len(name) < 3 || len(inside) != len(name)-2 || strings.Contains(strings.ReplaceAll(inside, `""`, ""), `"`) {
					t.Errorf("%q made %q", text, name)
				}
			}
		}
	})
}

func TestScrub(t *testing.T) {
	s := secrets{"AKID1234", "s3cr3t/+=", "tok3n", "pa55word", ""}
	for text, want := range map[string]string{
		"syntax error at or near \"GZIPP\"":                                     "syntax error at or near \"GZIPP\"",
		"at or near \"'aws_access_key_id=AKID1234;aws_secret_access_key=s3c\"":  "at or near \"'aws_access_key_id=***;aws_secret_access_key=***\"",
		"context: CREDENTIALS 'aws_access_key_id=X;aws_secret_access_key=Y''Z'": "context: CREDENTIALS 'aws_access_key_id=***;aws_secret_access_key=***''Z'",
		"password authentication failed for user \"pa55word\"":                  "password authentication failed for user \"***\"",
		"token=tok3n; s3cr3t/+=":                                                "token=***; ***",
	} {
		wantEqual(t, "what is left of "+text, s.scrub(text), want)
	}
}
